"""The command line that ``experiments/table_1.py`` to ``table_4.py`` share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from kwta_theory import exits
from kwta_theory.attacks.foreign import MissingPackageError
from kwta_theory.checks import InvalidArgumentError, check_integer
from kwta_theory.networks import DatasetError
from kwta_theory.networks.training import CheckpointError, Options, TrainingError
from kwta_theory.robustness import table_files
from kwta_theory.robustness.tables import SCALES, Bench, Line, Row, Table, adaptive_attacks, measured, orderings
from kwta_theory.robustness.zoo import is_finished


def main(table: Table, arguments: Sequence[str] | None = None) -> int:
    """Train, attack, print and write a table.

    Returns:
        0 when it is finished or planned, 1 when data, a package or a checkpoint is not as needed, 2 for bad use, 130
        when interrupted: what was finished is kept and not computed again.
    """
    options = _parser(table).parse_args(arguments)
    for name, extra in table.extras.items():
        if getattr(options, name):
            table = extra
    try:
        code = _run(table, options)
        sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        return exits.told(table.name, error, failures, f"what was finished is in {str(options.results)!r}")


def failures() -> Mapping[type[Exception], str]:
    """How a table fails, for :func:`kwta_theory.exits.told`."""
    return {
        **{CheckpointError: "", DatasetError: "", MissingPackageError: "", TrainingError: ""},
        torch.OutOfMemoryError: "the device has not enough memory.",
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser(table: Table) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=table.summary, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="small", help="small: on a CPU, offline; paper: on a GPU")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="directory with the published files of the data")
    parser.add_argument("--seed", type=int, default=0, help="of the trainings and of the attacks")
    parser.add_argument("--n", type=int, help="test images, the first so many (small: 200, paper: all)")
    parser.add_argument("--results", type=Path, metavar="DIR", default=Path("results"), help="default: ./results")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--bfloat16", action="store_true", help="train in mixed precision")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="lines with this word; repeatable")
    parser.add_argument("--finished", action="store_true", help="only lines whose networks are trained already")
    parser.add_argument("--plan", action="store_true", help="print what would be trained and attacked, and stop")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    for name, extra in table.extras.items():
        parser.add_argument(f"--{name}", action="store_true", help=extra.summary)
    return parser


def _run(table: Table, options: argparse.Namespace) -> int:
    seed = check_integer("seed", options.seed)
    n = table.n[options.scale] if options.n is None else check_integer("n", options.n, 1)
    lines = _chosen(table.plan(options.scale, seed), options.only)
    if options.plan:
        print(planned(table.name, lines, n), end="")
        return 0
    bench = Bench(
        options.results,
        options.data_dir,
        n,
        seed,
        Options(device=options.device, bfloat16=options.bfloat16),
        (lambda _line: None) if options.quiet else _say,
    )
    if options.finished:
        lines = _finished(lines, bench)
    rows: list[Row] = []
    name = table.name if options.scale == "small" else f"{table.name}_paper"
    for line in lines:
        found = measured(line, bench)
        rows += found
        print(line.training.title + (f" ({line.remark})" if line.remark else ""))
        for row in found:
            print(f"  {table_files.in_words(row)}")
        sys.stdout.flush()
        written = table_files.write(
            name, rows, options.results / table.name
        )  # after each line: a killed table keeps it
    print()
    print(table_files.page(rows, orderings(rows)), end="")
    if options.scale == "small":
        print("Data, sizes and training are not the paper's: compare the order of networks, not the values.")
    for path in written:
        print(path)
    return 0


def _chosen(lines: tuple[Line, ...], words: Sequence[str]) -> tuple[Line, ...]:
    chosen = tuple(
        line for line in lines if all(word in line.training.title.replace(",", "").split() for word in words)
    )
    if not chosen:
        titles = "; ".join(line.training.title for line in lines)
        raise InvalidArgumentError(f"--only {' --only '.join(words)} leaves no line of: {titles}.")
    return chosen


def _finished(lines: tuple[Line, ...], bench: Bench) -> tuple[Line, ...]:
    folder = bench.results / "networks"
    chosen = tuple(
        line
        for line in lines
        if all(
            is_finished(t, folder, bench.images(t.data).description) for t in (line.training, *line.sources.values())
        )
    )
    if not chosen:
        raise InvalidArgumentError(f"--finished leaves no line: {str(folder)!r} has none of the networks.")
    return chosen


def planned(table: str, lines: Sequence[Line], n: int | None) -> str:
    """What would be done: every training once, then every evaluation."""
    trainings = dict.fromkeys(t for line in lines for t in (line.training, *line.sources.values()))
    text = [f"{table}: {len(trainings)} trainings"]
    for wanted in trainings:
        schedule = f"{wanted.recipe.epochs} epochs, batch {wanted.recipe.batch_size}"
        text.append(f"  train    {wanted.title}: {schedule}")
    hard = ", ".join(attack.name for attack in adaptive_attacks())
    images = "all test images" if n is None else f"{check_integer('n', n, 1):,} test images"
    text.append(f"{table}: {len(lines)} evaluations on {images}")
    for line in lines:
        names = ", ".join(attack.name for attack in line.attacks.values())
        names += "".join(f", {column} from {source.title}" for column, source in line.sources.items())
        text.append(f"  evaluate {line.training.title}: epsilon {line.epsilon:g}; {names}; adaptive: {hard}")
    return "\n".join(text) + "\n"
