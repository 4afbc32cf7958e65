"""The commands ``kwta sweep`` and ``kwta ledger``. Nothing heavy is imported at the top."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kwta_theory.campaign import Status, Task

INTERRUPTED = 130
ESTIMATOR_NAMES = (
    "boundary-crossings, disjoint-patterns, distinct-patterns, interpolation, pattern-overlap, same-pattern"
)
VALUES = "100,1000,1e4 or START:STOP:COUNT or START:STOP:COUNT:log"
ledger_app = typer.Typer(no_args_is_help=True, help="Look at, merge and export the ledgers of sweeps.")
LedgerFile = Annotated[Path, typer.Argument(help="A ledger.", show_default=False)]
Error = Annotated[float, typer.Option(help="Probability that an interval misses.")]


def register(app: typer.Typer) -> None:
    """Add both commands to the command ``kwta``."""
    app.command()(sweep)
    app.add_typer(ledger_app, name="ledger")


@contextlib.contextmanager
def sentences(command: str) -> Iterator[None]:
    """Bad use: a sentence and exit code 2. What failed while running: a sentence and exit code 1. Ctrl-C: 130."""
    from kwta_theory.campaign import BackendError, EstimatorError, LedgerError
    from kwta_theory.checks import InvalidArgumentError

    try:
        yield
    except InvalidArgumentError as error:
        typer.echo(f"kwta {command}: {error}", err=True)
        raise typer.Exit(2) from None
    except (LedgerError, EstimatorError, BackendError) as error:
        typer.echo(f"kwta {command}: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo(f"kwta {command}: interrupted; what was finished is kept.", err=True)
        raise typer.Exit(INTERRUPTED) from None


def sweep(
    ledger: Annotated[Path, typer.Option(help="File that every finished chunk is written to; made when new.")],
    until: Annotated[
        list[str],
        typer.Option(
            help="relative-error=0.05, trials=40000, seconds=600 (of the whole run) or decided=0.95 (is the "
            "probability above or below?). Repeatable, or separated by commas: whichever comes first."
        ),
    ],
    estimator: Annotated[str | None, typer.Option(help=f"One of: {ESTIMATOR_NAMES}.")] = None,
    grid: Annotated[Path | None, typer.Option(help="TOML file with tables [[sweep]], in place of --estimator.")] = None,
    width: Annotated[str | None, typer.Option(help=f"Outputs l of the layer: {VALUES}.")] = None,
    log_width: Annotated[str | None, typer.Option(help="Natural logarithm of the width, up to 1e8.")] = None,
    k: Annotated[str | None, typer.Option("--k", "--winners", help="Winners.")] = None,
    sparsity_ratio: Annotated[str | None, typer.Option(help="gamma, with k = floor(gamma l), in place of --k.")] = None,
    cosine: Annotated[str | None, typer.Option(help="Cosine of two points.")] = None,
    beta: Annotated[str | None, typer.Option(help="1/cosine^2 - 1, in place of --cosine.")] = None,
    margin: Annotated[str | None, typer.Option(help="mu of Lemma 5.")] = None,
    points: Annotated[str | None, typer.Option(help="Number N of points.")] = None,
    inputs: Annotated[str | None, typer.Option(help="cosine, gaussian or mnist.")] = None,
    input_dim: Annotated[str | None, typer.Option(help="m, the dimension of the inputs.")] = None,
    input_seed: Annotated[str | None, typer.Option(help="Which gaussian or mnist inputs.")] = None,
    probability: Annotated[str | None, typer.Option(help="p of Example 1.")] = None,
    angle: Annotated[str | None, typer.Option(help="How far the input turns, in radians.")] = None,
    method: Annotated[str | None, typer.Option(help="gram or tail.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUES, for a parameter without an option of its own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Names the stream: machines with different seeds add up.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1,
    backend: Annotated[str, typer.Option(help="processes, serial or dask.")] = "processes",
    scheduler: Annotated[str | None, typer.Option(help="Address of the Dask scheduler, tcp://HOST:PORT.")] = None,
    error: Error = 1e-3,
    chunk_trials: Annotated[int | None, typer.Option(help="Trials in a chunk. [default: about 0.2 s of them]")] = None,
    batch: Annotated[int | None, typer.Option(help="Chunks in an order to a worker; changes no result.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for another run on this ledger.")] = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """Sample an estimator over a grid of parameters, going on from what the ledger holds.

    Parameters take several values: 100,1000,1e4 or START:STOP:COUNT or START:STOP:COUNT:log. Interrupt it, kill it,
    start it again: no trial is lost or counted twice, and the numbers are those of an undisturbed run.

    Exit code 0: finished. 1: the ledger, the workers or the estimator failed. 2: bad use. 130: interrupted.
    """
    from kwta_theory import campaign
    from kwta_theory.campaign.progress import reporter

    given = {
        **{"width": width, "log_width": log_width, "k": k, "sparsity_ratio": sparsity_ratio, "cosine": cosine},
        **{"beta": beta, "margin": margin, "points": points, "inputs": inputs, "input_dim": input_dim},
        **{"input_seed": input_seed, "probability": probability, "angle": angle, "method": method, "device": device},
    }
    with sentences("sweep"):
        rules = campaign.Until.parse(until, error)
        chosen = {name: values for name, values in given.items() if values is not None}
        tasks = sweep_tasks(estimator, grid, {**chosen, **named(parameter or [])}, chunk_trials)
        with reporter(quiet) as report:
            found = campaign.run(
                tasks,
                ledger,
                rules,
                seed=seed,
                workers=workers,
                backend=backend,
                scheduler=scheduler,
                batch=batch,
                wait_for_ledger=wait,
                report=report,
            )
        show_statuses(found)


def sweep_tasks(
    estimator: str | None, grid: Path | None, parameters: dict[str, str], chunk_trials: int | None
) -> list[Task]:
    """The tasks of ``kwta sweep``, from its options or from a file, not from both."""
    from kwta_theory import campaign
    from kwta_theory.checks import InvalidArgumentError

    if (estimator is None) == (grid is None):
        raise InvalidArgumentError("give exactly one of --estimator and --grid.")
    if estimator is not None:
        return campaign.grid(estimator, chunk_trials=chunk_trials, labels=None, **parameters)
    if parameters or chunk_trials is not None:
        name = next(iter(parameters), "chunk_trials").replace("_", "-")
        raise InvalidArgumentError(f"--{name} has no effect with --grid: write it into the file.")
    return campaign.read_grid(grid or "")


def named(settings: list[str]) -> dict[str, str]:
    """``NAME=VALUES`` of ``--set``."""
    from kwta_theory.checks import InvalidArgumentError

    found: dict[str, str] = {}
    for setting in settings:
        name, equals, values = setting.partition("=")
        if not equals or not name.isidentifier() or name in ("chunk_trials", "labels") or name in found:
            raise InvalidArgumentError(f"--set {setting!r} is not allowed: it must be NAME=VALUES, each name once.")
        found[name] = values
    return found


def show_statuses(statuses: list[Status]) -> None:
    """The result of this run on standard output."""
    from kwta_theory.campaign.progress import number

    table = [
        [s.task.id[:12], s.task.title, s.estimate.outcome, number(s), f"{s.estimate.trials:,}", s.met or "open"]
        for s in statuses
    ]
    print_table(["task", "what", "outcome", "estimate", "trials", "stopped by"], table)


@ledger_app.command("show")
def ledger_show(
    ledger: LedgerFile,
    why: Annotated[
        tuple[str, str] | None, typer.Option(help="Say where two tasks differ; the first digits of each suffice.")
    ] = None,
    error: Error = 1e-3,
) -> None:
    """List the tasks of a ledger with their estimates."""
    from kwta_theory import campaign
    from kwta_theory.campaign.task import shown

    with sentences("ledger show"), campaign.Ledger(ledger, write=False) as opened:
        if why is not None:
            first, second = (opened.find(prefix) for prefix in why)
            found = campaign.differences(first, second) or ["They are one task."]
            typer.echo("\n".join(found))
            return
        rows = campaign.rows(opened, error)
        titles = {task.id: task.title for task in opened.tasks()}
        table = [
            [
                *(row["task"][:12], titles[row["task"]], row["outcome"]),
                f"{shown(row['estimate'])} in [{shown(row['lower'])}, {shown(row['upper'])}]",
                *(f"{row['trials']:,}", row["seeds"]),
            ]
            for row in rows
        ]
        print_table(["task", "what", "outcome", "estimate", "trials", "seeds"], table)


@ledger_app.command("merge")
def ledger_merge(
    out: Annotated[Path, typer.Argument(help="The ledger to write; what it holds stays.", show_default=False)],
    inputs: Annotated[list[Path], typer.Argument(help="Ledgers to take in.", show_default=False)],
    wait: Annotated[float, typer.Option(help="Seconds to wait for a run on OUT.")] = 0.0,
) -> None:
    """Put ledgers together: a union, in which the same chunk counts once."""
    from kwta_theory import campaign

    with sentences("ledger merge"):
        campaign.merge(out, inputs, wait=wait)


@ledger_app.command("export")
def ledger_export(
    ledger: LedgerFile,
    file: Annotated[Path, typer.Argument(help="FILE.csv or FILE.parquet.", show_default=False)],
    error: Error = 1e-3,
) -> None:
    """Write one row for each task and outcome."""
    from kwta_theory import campaign
    from kwta_theory.campaign.export import check_export

    with sentences("ledger export"):
        check_export(file)
        with campaign.Ledger(ledger, write=False) as opened:
            campaign.export(opened, file, error)


def print_table(names: list[str], rows: list[list[str]]) -> None:
    """A table on standard output; without colour and as wide as it is where that is no terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=200, no_color=True, force_terminal=False)
    console.print(table)
