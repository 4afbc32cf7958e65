"""The command ``kwta regions``. Nothing heavy is imported at the top."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kwta_theory.cli_attack import check_same_images, failures, network_of
from kwta_theory.cli_files import check_target
from kwta_theory.exits import sentences

if TYPE_CHECKING:
    import torch
    from rich.table import Table
    from torch import nn

    from kwta_theory.networks import Dataset
    from kwta_theory.regions import Lines
    from kwta_theory.regions.report import Expected
    from kwta_theory.regions.survey import Samples

DIRECTIONS = ("random", "gradient", "data")
ERROR = 0.05  # of all intervals together
QUIET_SECONDS = 20.0  # between two lines of progress where there is no terminal
REGIONS_AT_ONCE, LINES_AT_ONCE = 2000, 32
BOX = (0.0, 1.0)


def register(app: typer.Typer) -> None:
    """Add the command to the command ``kwta``."""
    app.command()(regions)


def regions(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A checkpoint.pt, as kwta train writes it, or its directory.", show_default=False),
    ],
    lines: Annotated[
        int, typer.Option(help="How many lines in each direction, one from each of the first test images.")
    ] = 64,
    direction: Annotated[
        list[str] | None,
        typer.Option(help="random, gradient (of the loss) or data (to another image). Repeatable. By default all."),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Length of the lines in the norm, pixels in \\[0, 1]. \\[default: the attack's, maximum norm]",
            show_default=False,
        ),
    ] = None,
    norm: Annotated[str, typer.Option(help="maximum or euclidean.")] = "maximum",
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Draw the weights anew: the same architecture, not trained.")
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write the numbers of every line to FILE, and go on from there."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw counts, jumps and a plane through three images into DIR.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Every random number follows from it.")] = 0,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory with the published files of the data set that it was trained on."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """Count the linear regions of a trained network, and measure how far it jumps between them.

    kwta regions runs/at/checkpoint.pt --lines 256 --json regions.json

    Exact on every line, in float64: each place where an activation pattern
    changes. Lines lead from test images as far as an attack may go. How many
    boundaries there are and how large the jumps are is told apart.

    Killed or interrupted, the same command with the same --json goes on.

    Exit code 0: finished. 1: the checkpoint or the data is not as needed. 2: bad
    use. 130: interrupted.
    """
    kept = f"the same command goes on from {str(json_file)!r}" if json_file else "what was finished is above, if any"
    with sentences("kwta regions", failures, kept):
        run(
            checkpoint, lines, direction or list(DIRECTIONS), epsilon, norm, untrained, json_file, figures, seed,
            data_dir, device, quiet,
        )  # fmt: skip


@dataclass
class Job:
    """What is measured: a network, lines in several directions, and what is known of them so far."""

    head: dict[str, Any]
    model: nn.Module
    device: torch.device
    labels: torch.Tensor
    lines: dict[str, Lines]
    expected: dict[str, Expected]
    output_scale: float
    measured: dict[str, Samples] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether there is a number for every line."""
        return all(self.left(direction) == 0 for direction in self.lines)

    def left(self, direction: str) -> int:
        """Lines of a direction that are not measured yet."""
        from kwta_theory.regions import survey

        return len(self.lines[direction].start) - survey.lines_of(self.measured.get(direction, {}))

    def advance(self, direction: str, count: int) -> None:
        """Measure so many more lines of a direction."""
        from kwta_theory.regions import survey

        have, lines = self.measured.get(direction, {}), self.lines[direction]
        which = slice(survey.lines_of(have), survey.lines_of(have) + count)
        found = survey.measure(
            self.model, survey.part_of(lines, which), labels=self.labels[which], device=self.device
        )  # fmt: skip
        self.measured[direction] = survey.joined(have, found)

    def at_once(self, direction: str) -> int:
        """How many lines make a part: by their boundaries, not by the clock, so that numbers do not depend on it."""
        most = max(self.measured[direction]["boundaries"].values) + 1
        return max(1, min(LINES_AT_ONCE, int(REGIONS_AT_ONCE / most)))


def run(
    checkpoint: Path,
    count: int,
    directions: Sequence[str],
    epsilon: float | None,
    norm: str,
    untrained: bool,
    json_file: Path | None,
    folder: Path | None,
    seed: int,
    data_dir: Path | None,
    device_name: str,
    quiet: bool,
) -> None:
    """The run behind ``kwta regions``."""
    from kwta_theory import checks, networks, seeding
    from kwta_theory.regions import report
    from kwta_theory.report import files

    device = seeding.resolve_device(device_name, _float64())
    seed = checks.check_integer("seed", seed)
    check_directions(directions)
    if json_file:
        check_target(json_file)
    model, record = network_of(checkpoint)
    name = record["data"]["name"]
    radius = checked_radius(epsilon, norm, name)
    data = networks.load(name, data_dir)
    check_same_images(checkpoint, record, data)
    most = len(data.test) // 2 if "data" in directions else len(data.test)  # targets are images of their own
    count = checks.check_integer("lines", count, 1, most)
    if untrained:
        model = networks.build(model.architecture, seed)  # type: ignore[arg-type]
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        files.check_folder(folder)
    model = model.to(device).eval()
    labels = data.test.labels[:count]
    lines = drawn(model, data, labels, directions, count, radius, norm, seed, device)
    head = described(checkpoint, record, model, count, radius, norm, seed, data.description, untrained)
    expected = {name: report.expected(model, each, device) for name, each in lines.items()}
    scale = report.output_scale(model, data.test.images(slice(0, count)), device)
    job = Job(head, model, device, labels, lines, expected, scale)
    if json_file:
        go_on(job, json_file)
    try:
        measure(job, json_file, quiet)
    except KeyboardInterrupt:
        if job.measured:
            show(job)
        raise
    show(job)
    if folder:
        images = data.test.images(slice(0, 3))
        report.write_figures(folder, job.head, job.model, images, job.lines, job.measured, device)


def _float64() -> torch.dtype:
    import torch

    return torch.float64


def check_directions(directions: Sequence[str]) -> None:
    """Refuse what is no direction, and what is given twice."""
    from kwta_theory.checks import InvalidArgumentError

    for direction in directions:
        if direction not in DIRECTIONS:
            raise InvalidArgumentError(f"direction={direction!r} is not known: it must be one of {DIRECTIONS}.")
        if directions.count(direction) > 1:
            raise InvalidArgumentError(f"direction={direction!r} is given twice.")


def checked_radius(epsilon: float | None, norm: str, name: str) -> float:
    """The length of the lines: the attack's radius, where the norm is the attack's."""
    from kwta_theory.checks import InvalidArgumentError, check_number
    from kwta_theory.networks.training.recipe import EPSILON
    from kwta_theory.regions.first_layer import check_norm

    check_norm(norm)
    if epsilon is None and norm != "maximum":
        raise InvalidArgumentError(f"epsilon is missing: the paper's radii are of the maximum norm, not norm={norm!r}.")
    return check_number("epsilon", EPSILON[name] if epsilon is None else epsilon, 0.0, open_minimum=True)


def drawn(
    model: nn.Module,
    data: Dataset,
    labels: torch.Tensor,
    directions: Sequence[str],
    count: int,
    radius: float,
    norm: Any,
    seed: int,
    device: torch.device,
) -> dict[str, Lines]:
    """The lines of each direction, from the first test images; they end where pixels would leave [0, 1]."""
    from kwta_theory.regions import data_lines, gradient_lines, random_lines

    images = data.test.images(slice(0, count))

    def of(direction: str) -> Lines:
        if direction == "random":
            return random_lines(images, radius, seed=seed, norm=norm, bounds=BOX)
        if direction == "gradient":
            return gradient_lines(model, images, radius, norm=norm, labels=labels, bounds=BOX, device=device)
        return data_lines(images, data.test.images(slice(count, 2 * count)), radius, norm=norm, bounds=BOX)

    return {direction: of(direction) for direction in directions}


def described(
    checkpoint: Path,
    record: Mapping[str, Any],
    model: nn.Module,
    count: int,
    radius: float,
    norm: str,
    seed: int,
    data: str,
    untrained: bool,
) -> dict[str, Any]:
    """What is measured, for JSON and for the head of the table."""
    import hashlib

    from kwta_theory import __version__

    weights = hashlib.sha256()
    for value in model.state_dict().values():
        weights.update(value.detach().cpu().contiguous().numpy().tobytes())
    return {
        "version": __version__,
        "checkpoint": str(checkpoint),
        "architecture": dict(record["architecture"]),
        "training": "none" if untrained else f"{record['recipe']['method']}, {record['epoch']} epochs",
        "weights": weights.hexdigest()[:16],
        "data": data,
        "lines": count,
        "epsilon": radius,
        "norm": norm,
        "bounds": list(BOX),
        "seed": seed,
    }


def go_on(job: Job, file: Path) -> None:
    """Take over the lines that a run with the same settings has left in a file."""
    from kwta_theory.regions import survey

    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # another file: it is written anew
        told = json.loads(file.read_text(encoding="utf-8"))
        if {key: told[key] for key in job.head} == job.head:
            found = {name: survey.from_json(part["lines"]) for name, part in told["directions"].items()}
            job.measured.update({name: samples for name, samples in found.items() if name in job.lines})


def measure(job: Job, json_file: Path | None, quiet: bool) -> None:
    """Measure what is missing: first one line of each direction, which tells how long the rest will take."""
    from kwta_theory.report import files

    with progress(quiet, sum(map(job.left, job.lines))) as (tick, say):
        seconds: dict[str, float] = {}

        def step(direction: str, count: int) -> None:
            started = time.perf_counter()
            job.advance(direction, count)
            seconds[direction] = (time.perf_counter() - started) / count
            if json_file:
                files.write_text(json_file, json.dumps(as_json(job), indent=1, allow_nan=False) + "\n")
            tick(direction, count)

        for direction in job.lines:
            if job.left(direction):
                step(direction, 1)
        rest = sum(seconds[direction] * job.left(direction) for direction in seconds)
        if seconds and rest > 1:
            say(f"one line: {', '.join(f'{name} {value:.2g} s' for name, value in seconds.items())}; "
                f"the others: about {duration(rest)}, or less")  # fmt: skip
        for direction in job.lines:
            while left := job.left(direction):
                step(direction, min(left, job.at_once(direction)))
    if json_file:
        files.write_text(json_file, json.dumps(as_json(job), indent=1, allow_nan=False) + "\n")


def duration(seconds: float) -> str:
    """For a person."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


Tick = Callable[[str, int], None]
Say = Callable[[str], None]


@contextlib.contextmanager
def progress(quiet: bool, total: int) -> Iterator[tuple[Tick, Say]]:
    """Called with finished lines and with sentences: live in a terminal, plain lines now and then elsewhere."""
    if quiet:
        yield (lambda _direction, _count: None), (lambda _line: None)
        return
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("lines"), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as live:
            task = live.add_task("starting", total=total)
            yield (
                lambda direction, count: live.update(task, advance=count, description=direction),
                lambda line: live.console.print(line, markup=False, highlight=False, soft_wrap=True),
            )
        return
    started = last = time.perf_counter()
    done = 0

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def tick(direction: str, count: int) -> None:
        nonlocal last, done
        done += count
        if time.perf_counter() - last > QUIET_SECONDS:
            last = time.perf_counter()
            say(f"{last - started:.0f} s  {done} of {total} lines, now {direction}")

    yield tick, say


def as_json(job: Job) -> dict[str, Any]:
    """What the table shows, and every number of every line."""
    from kwta_theory.regions import survey

    found, shares = survey.summaries(job.measured, ERROR)
    return {
        **job.head,
        "complete": job.done,
        "interval_error": ERROR,
        "output_scale": job.output_scale,
        "directions": {
            name: {
                "sampled": job.lines[name].sampled,
                "crossing": [shares[name].lower, shares[name].upper],
                "medians": {
                    key: {
                        "median": survey.plain(one.median),
                        "interval": [survey.plain(one.interval.lower), survey.plain(one.interval.upper)],
                        "count": one.count,
                    }
                    for key, one in found[name].items()
                },
                "expected_of_random_first_layer": job.expected[name].mean(survey.lines_of(samples)),
                "lines": survey.as_json(samples),
            }
            for name, samples in job.measured.items()
        },
    }


def show(job: Job) -> None:
    """The result on standard output."""
    from rich.console import Console

    from kwta_theory.regions import report, survey

    console = Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True, force_terminal=False)
    head, found = job.head, survey.summaries(job.measured, ERROR)
    network = f"{head['architecture']['name']}, {head['architecture']['activation']}, training: {head['training']}"

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    say(f"{head['checkpoint']}: {network}")
    say(f"lines from the first {head['lines']} test images; data: {head['data']}")
    say(f"length {head['epsilon']:g} ({head['norm']} norm), pixels within [0, 1], seed {head['seed']}")
    say(f"outputs: {job.output_scale:.3g} from their mean over the images (root mean square)")
    for direction in job.measured:
        lines = job.lines[direction]
        samples = job.measured[direction]
        say(f"\n{direction}: {survey.lines_of(samples)} lines, sampled: {lines.sampled}")
        table: Table = report.table(found[0][direction], survey.crossing(samples), found[1][direction])
        console.print(table)
        for line in report.sentences_about(samples, job.expected[direction]):
            say(line)
    say("")
    for line in report.notes(job.measured, job.expected, found[0], complete=job.done, error=ERROR):
        say(f"Note. {line}")
