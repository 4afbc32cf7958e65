"""The command ``kwta attack``. Nothing heavy is imported at the top."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kwta_theory.cli_files import check_target
from kwta_theory.exits import sentences

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kwta_theory.attacks import Attacked
    from kwta_theory.networks import Dataset
    from kwta_theory.robustness import Attack, Evaluation, Row

QUIET_SECONDS = 20.0  # between two lines about one attack where there is no terminal


def register(app: typer.Typer) -> None:
    """Add the command to the command ``kwta``."""
    app.command()(attack)


def failures() -> Mapping[type[Exception], str]:
    """How an attack fails, for :func:`kwta_theory.exits.sentences`."""
    import torch

    from kwta_theory.attacks.foreign import MissingPackageError
    from kwta_theory.networks import DatasetError
    from kwta_theory.networks.training import CheckpointError

    return {
        **{CheckpointError: "", DatasetError: "", MissingPackageError: ""},
        torch.OutOfMemoryError: "the device has not enough memory: give a smaller --batch-size.",
    }


def attack(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A checkpoint.pt, as kwta train writes it, or its directory.", show_default=False),
    ],
    suite: Annotated[
        str,
        typer.Option(
            help="paper (its attacks, its settings), adaptive (made for discontinuous networks) or full (and others)."
        ),
    ] = "adaptive",
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Radius of the ball, maximum norm, pixels in \\[0, 1]. \\[default: the paper's for the data set]",
            show_default=False,
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="How many test images, the first ones.")] = 200,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results to FILE, after each attack.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Every random number follows from it.")] = 0,
    transfer_from: Annotated[
        list[Path] | None,
        typer.Option(metavar="CHECKPOINT", help="Hand over points found on this network, too. Repeatable."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory with the published files of the data set that it was trained on."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Images that an attack sees at once.")] = 100,
    judge_dtype: Annotated[
        str, typer.Option(help="float64, or float32 where that is too slow: precision in which points are judged.")
    ] = "float64",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """Attack a trained network and print how much of its accuracy is left.

    kwta attack runs/at/checkpoint.pt --suite adaptive --epsilon 0.3 --n 200

    Each attack sees every test image that is classified correctly; the points
    that it finds are judged anew, one at a time. What is left is an upper bound:
    a better attack may leave less.

    Exit code 0: finished. 1: the checkpoint, the data or a package is not as
    needed. 2: bad use. 130: interrupted.
    """
    with sentences("kwta attack", failures, f"what was finished is in {str(json_file)!r}" if json_file else ""):
        run(
            checkpoint, suite, epsilon, n, json_file, seed, transfer_from or [], data_dir, device, batch_size,
            judge_dtype, quiet,
        )  # fmt: skip


def run(
    checkpoint: Path,
    suite_name: str,
    epsilon: float | None,
    n: int,
    json_file: Path | None,
    seed: int,
    transfer_from: Sequence[Path],
    data_dir: Path | None,
    device_name: str,
    batch_size: int,
    judge_name: str,
    quiet: bool,
) -> None:
    """The run behind ``kwta attack``."""
    from kwta_theory import checks, networks, robustness, seeding
    from kwta_theory.attacks import suites
    from kwta_theory.networks.training.recipe import EPSILON
    from kwta_theory.report import files
    from kwta_theory.robustness import report

    checks.check_integer("batch_size", batch_size, minimum=1)
    judge_dtype = named_dtype(judge_name)
    device = seeding.resolve_device(device_name, judge_dtype)
    seed = checks.check_integer("seed", seed)
    if json_file:
        check_target(json_file)
    model, record = network_of(checkpoint)
    name = record["data"]["name"]
    suites.suite(suite_name, name)  # bad use and missing packages, before anything is read or computed
    data = networks.load(name, data_dir)
    check_same_images(checkpoint, record, data)
    epsilon = checks.check_number("epsilon", EPSILON[name] if epsilon is None else epsilon, 0.0)
    sources = {label: net.to(device) for label, net in read_sources(transfer_from, record).items()}
    attacks = suites.suite(suite_name, name, sources)
    test = data.test.first(n)
    model, images, labels = model.to(device), test.images(device=device), test.labels.to(device)
    clean = robustness.Judge(model, images, labels, epsilon, judge_dtype).correct(images).cpu()
    rows: list[Row] = []
    head = described(checkpoint, record, suite_name, test_of=data.description)

    def so_far() -> Evaluation:
        return robustness.Evaluation(epsilon, clean, tuple(rows), seed, judge_dtype=judge_dtype)

    def keep(result: Evaluation, *, complete: bool) -> None:
        if json_file:
            told = report.as_json(result, suites.notes(attacks, epsilon))
            text = json.dumps({**head, "complete": complete, **told}, indent=1, allow_nan=False)
            files.write_text(json_file, text + "\n")

    keep(so_far(), complete=False)
    with progress(quiet, len(attacks), int(clean.sum())) as (tick, done):

        def finished(row: Row) -> None:
            rows.append(row)
            keep(so_far(), complete=False)
            done(report.sentence(so_far(), row))

        result = robustness.evaluate(
            model, images, labels, [Watched(a, tick) for a in attacks], epsilon,
            seed=seed, batch_size=batch_size, judge_dtype=judge_dtype, report=finished,
        )  # fmt: skip
    keep(result, complete=True)
    show(result, head, {**suites.notes(attacks, epsilon)}, suites.missing_from(suite_name))


def named_dtype(name: str) -> torch.dtype:
    """float64 or float32."""
    import torch

    from kwta_theory.checks import InvalidArgumentError

    if name not in ("float64", "float32"):
        raise InvalidArgumentError(f"judge_dtype={name!r} is not known: it must be float64 or float32.")
    return torch.float64 if name == "float64" else torch.float32


def network_of(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint; a directory is the one that ``kwta train`` wrote to."""
    from kwta_theory.networks.training import load_network
    from kwta_theory.networks.training.trainer import CHECKPOINT

    return load_network(path / CHECKPOINT if path.is_dir() else path)


def check_same_images(checkpoint: Path, record: Mapping[str, Any], data: Dataset) -> None:
    """Refuse images other than those that the training set aside: some of them may have been trained on."""
    from kwta_theory.checks import InvalidArgumentError

    if record["data"]["description"] != data.description:
        raise InvalidArgumentError(
            f"checkpoint {str(checkpoint)!r} was trained on {record['data']['description']}. There are only "
            f"{data.description}, of which it may have seen the test images: give the --data-dir of its training."
        )


def read_sources(paths: Sequence[Path], record: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The networks of ``--transfer-from``, for images like those of the attacked one, each under a name of its own."""
    from kwta_theory.checks import InvalidArgumentError

    found: dict[str, nn.Module] = {}
    for path in paths:
        network, other = network_of(path)
        for part in ("channels", "image_size", "classes"):
            theirs, ours = other["architecture"][part], record["architecture"][part]
            if theirs != ours:
                raise InvalidArgumentError(
                    f"--transfer-from {str(path)!r} is for images of another kind: its {part} is {theirs}, and the "
                    f"attacked network's {ours}."
                )
        if str(path) in found:
            raise InvalidArgumentError(f"--transfer-from {str(path)!r} is given twice.")
        found[str(path)] = network
    return found


def described(checkpoint: Path, record: Mapping[str, Any], suite: str, test_of: str) -> dict[str, Any]:
    """What was attacked, for JSON and for the head of the table."""
    from kwta_theory import __version__

    return {
        "version": __version__,
        "checkpoint": str(checkpoint),
        "architecture": dict(record["architecture"]),
        "method": record["recipe"]["method"],
        "trained_epochs": record["epoch"],
        "data": test_of,
        "suite": suite,
    }


@dataclass(frozen=True, repr=False)
class Watched:
    """An attack that says which batch it is at."""

    attack: Attack
    tick: Callable[[str, int], None]

    @property
    def name(self) -> str:
        """Of the attack."""
        return self.attack.name

    @property
    def budget(self) -> int | None:
        """Of the attack, where it has one."""
        return getattr(self.attack, "budget", None)

    def __repr__(self) -> str:
        return repr(self.attack)

    def run(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int) -> Attacked:
        """The attack."""
        self.tick(self.name, 0)
        found = self.attack.run(model, images, labels, epsilon, seed)
        self.tick(self.name, len(images))
        return found


Tick = Callable[[str, int], None]
Done = Callable[[str], None]


@contextlib.contextmanager
def progress(quiet: bool, attacks: int, images: int) -> Iterator[tuple[Tick, Done]]:
    """Called with each batch and with each finished attack: live in a terminal, plain lines elsewhere."""
    if quiet:
        yield (lambda _name, _count: None), (lambda _line: None)
        return
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as live:
            task = live.add_task("starting", total=max(1, attacks * images))
            yield (
                lambda name, count: live.update(task, advance=count, description=escape(name)),
                lambda line: live.console.print(line, markup=False, highlight=False, soft_wrap=True),
            )
        return
    started = last = time.perf_counter()
    finished, seen, current = 0, 0, ""

    def tick(name: str, count: int) -> None:
        nonlocal last, seen, current
        seen, current = (seen + count if name == current else count), name
        if time.perf_counter() - last > QUIET_SECONDS:
            last = time.perf_counter()
            print(f"{last - started:.0f} s  {name}: {seen} of {images} images", file=sys.stderr, flush=True)

    def done(line: str) -> None:
        nonlocal finished, last
        finished, last = finished + 1, time.perf_counter()
        print(f"[{finished}/{attacks}] {last - started:.0f} s  {line}", file=sys.stderr, flush=True)

    yield tick, done


def show(result: Evaluation, head: Mapping[str, Any], notes: Mapping[str, str], left_out: str) -> None:
    """The result on standard output."""
    from rich.console import Console

    from kwta_theory.robustness import report

    console = Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True, force_terminal=False)
    network = f"{head['architecture']['name']}, {head['architecture']['activation']}, training: {head['method']}"
    lines = [
        f"{head['checkpoint']}: {network}",
        f"the first {result.n} test images; data: {head['data']}",
        f"suite {head['suite']}, epsilon {result.epsilon:g} (maximum norm), seed {result.seed}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print()
    console.print(report.table(result))
    console.print()
    said = [f"{name}: {note}" for name, note in notes.items()] + report.remarks(result)
    for line in [*said, *([left_out] if left_out else []), *caveats(str(head["suite"]))]:
        console.print(f"Note. {line}", markup=False, highlight=False, soft_wrap=True)


def caveats(suite: str) -> list[str]:
    """What must be known of a suite before its worst case is quoted."""
    bound = "The worst case is an upper bound for the accuracy that is left: a better attack may leave less."
    if suite == "paper":
        return [f"{bound} These attacks follow gradients, which k-WTA hides: run --suite adaptive before believing it."]
    return [bound]
