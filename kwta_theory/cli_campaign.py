"""The commands ``kwta sweep``, ``kwta estimators`` and ``kwta ledger``. Nothing heavy is imported at the top."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kwta_theory.cli_files import check_replaceable, folder_of
from kwta_theory.exits import sentences

if TYPE_CHECKING:
    from kwta_theory.campaign import Status, Task
    from kwta_theory.campaign.export import Row

# Options of kwta sweep for each of the package's estimators: each draws in a few seconds what EXAMPLE_RULES ask for.
EXAMPLES = {
    "boundary-crossings": "--width 20,50 --k 1,5 --angle 3.14159",
    "disjoint-patterns": "--width 100,1000,1e4 --k 1,2,4 --cosine 0.5:0.95:10",
    "distinct-patterns": "--width 50 --sparsity-ratio 0.1 --input-dim 20 --points 10 --probability 0.5",
    "interpolation": "--width 20:100:3 --k 2 --points 4 --cosine 0.8",
    "pattern-overlap": "--width 1000 --sparsity-ratio 0.01:0.1:4 --cosine 0.9",
    "same-pattern": "--width 100 --sparsity-ratio 0.1 --beta 0.001:0.1:5:log",
}
EXAMPLE_RULES = "--until relative-error=0.05,seconds=10"
ESTIMATOR_NAMES = ", ".join(EXAMPLES)
PARAMETERS = {
    "width": "Outputs l of the layer.",
    "log_width": "Natural logarithm of the width, up to 1e8, in place of the width.",
    "k": "Winners.",
    "sparsity_ratio": "gamma, with k = floor(gamma l), in place of k.",
    "cosine": "Cosine of two points, or of every pair of them.",
    "beta": "1/cosine^2 - 1, in place of the cosine.",
    "margin": "mu of Lemma 5. Default: 0.",
    "points": "Number N of points. Default: 2; Example 1 needs it.",
    "inputs": "cosine, gaussian or mnist. Default: cosine.",
    "input_dim": "m, the dimension of gaussian inputs (default: 32) and of those of Example 1.",
    "input_seed": "Which gaussian or mnist inputs. Default: 0.",
    "probability": "p of Example 1.",
    "angle": "How far the input turns, in radians. Default: 2 pi.",
    "method": "gram (all rows) or tail (those that can win). Default: the one that fits the width.",
    "device": "cpu or cuda. Default: cpu.",
}
AXES = "Parameters (one value or several)"
RUNNING = "How it runs"
ledger_app = typer.Typer(no_args_is_help=True, help="Look at, merge and export the ledgers of sweeps.")
LedgerFile = Annotated[
    Path, typer.Argument(help="A ledger, as kwta sweep writes it.", show_default=False, readable=False)
]
Error = Annotated[float, typer.Option(metavar="P", help="Probability that an interval misses.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command ``kwta``."""
    app.command()(sweep)
    app.command()(estimators)
    app.add_typer(ledger_app, name="ledger")


def axis(name: str, *flags: str) -> typer.models.OptionInfo:
    """The option of a parameter."""
    return typer.Option(*flags, metavar="VALUES", help=PARAMETERS[name], rich_help_panel=AXES)


def failures() -> Mapping[type[Exception], str]:
    """How a campaign fails, for :func:`kwta_theory.exits.sentences`."""
    from kwta_theory.campaign import BackendError, EstimatorError, LedgerError

    return {LedgerError: "", EstimatorError: "", BackendError: ""}


def sweep(
    ledger: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Every finished chunk is written to it; made, with its folder, when new.",
            readable=False,  # the ledger says itself what is wrong with it, in one sentence
        ),
    ],
    until: Annotated[
        list[str],
        typer.Option(
            metavar="RULE",
            help="relative-error=0.05, trials=40000 (in whole chunks), seconds=600 (of the whole run) or decided=0.95 "
            "(is the probability above or below?). Repeatable, or separated by commas: whichever comes first.",
        ),
    ],
    estimator: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"One of: {ESTIMATOR_NAMES}. kwta estimators NAME says more."),
    ] = None,
    grid: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            readable=False,
            help="In place of --estimator and its parameters: TOML with tables [\\[sweep]], each with lines such as "
            'estimator = "same-pattern" and grid = {width = "100,1e4", k = 1, cosine = 0.9}.',
        ),
    ] = None,
    width: Annotated[str | None, axis("width")] = None,
    log_width: Annotated[str | None, axis("log_width")] = None,
    k: Annotated[str | None, axis("k", "--k", "--winners")] = None,
    sparsity_ratio: Annotated[str | None, axis("sparsity_ratio")] = None,
    cosine: Annotated[str | None, axis("cosine")] = None,
    beta: Annotated[str | None, axis("beta")] = None,
    margin: Annotated[str | None, axis("margin")] = None,
    points: Annotated[str | None, axis("points")] = None,
    inputs: Annotated[str | None, axis("inputs")] = None,
    input_dim: Annotated[str | None, axis("input_dim")] = None,
    input_seed: Annotated[str | None, axis("input_seed")] = None,
    probability: Annotated[str | None, axis("probability")] = None,
    angle: Annotated[str | None, axis("angle")] = None,
    method: Annotated[str | None, axis("method")] = None,
    device: Annotated[str | None, axis("device")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUES",
            help="A parameter without an option of its own. Repeatable.",
            rich_help_panel=AXES,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Names the stream: machines with different seeds add up.", rich_help_panel=RUNNING)
    ] = 0,
    chunk_trials: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Trials in a chunk; another number is another task. Default: about 0.2 s of them.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    error: Annotated[
        float,
        typer.Option(metavar="P", help="Probability that an interval or a decision misses.", rich_help_panel=RUNNING),
    ] = 1e-3,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes on this machine.", rich_help_panel=RUNNING)] = 1,
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="processes, serial or dask.", rich_help_panel=RUNNING)
    ] = "processes",
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT", help="The Dask scheduler, with --backend dask.", rich_help_panel=RUNNING
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", help="Chunks in an order to a worker; changes no number.", rich_help_panel=RUNNING),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="How long to wait for another run on this ledger.", rich_help_panel=RUNNING
        ),
    ] = 0.0,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress on standard error.", rich_help_panel=RUNNING)
    ] = False,
) -> None:
    """Sample an estimator over a grid of parameters, going on from what the ledger holds.

    kwta sweep --estimator disjoint-patterns --width 100,1000,1e4 --k 1,2,4
       --cosine 0.5:0.95:10 --until relative-error=0.05 --ledger runs/overlap.db

    VALUES are 100,1000,1e4 or START:STOP:COUNT or START:STOP:COUNT:log; several
    parameters with several values make a grid of tasks.

    Interrupt it, kill it, start it again: no trial is lost or counted twice, and
    the numbers are those of an undisturbed run. kwta ledger shows and exports.

    Exit code 0: finished. 1: the ledger, the workers or the estimator failed.
    2: bad use. 130: interrupted.
    """
    given = {
        **{"width": width, "log_width": log_width, "k": k, "sparsity_ratio": sparsity_ratio, "cosine": cosine},
        **{"beta": beta, "margin": margin, "points": points, "inputs": inputs, "input_dim": input_dim},
        **{"input_seed": input_seed, "probability": probability, "angle": angle, "method": method, "device": device},
    }
    with sentences("kwta sweep", failures, f"what was finished is kept in {str(ledger)!r}"):
        from kwta_theory import campaign
        from kwta_theory.campaign.progress import reporter

        rules = campaign.Until.parse(until, error)
        chosen = {name: values for name, values in given.items() if values is not None}
        tasks = sweep_tasks(estimator, grid, chosen, named(parameter or [], chosen), chunk_trials)
        with folder_of(ledger), reporter(quiet, rules) as report:
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
    estimator: str | None,
    grid: Path | None,
    options: dict[str, str],
    others: dict[str, str],
    chunk_trials: int | None,
) -> list[Task]:
    """The tasks of ``kwta sweep``, from its options or from a file, not from both."""
    from kwta_theory import campaign
    from kwta_theory.checks import InvalidArgumentError

    if (estimator is None) == (grid is None):
        raise InvalidArgumentError("give exactly one of --estimator and --grid.")
    if estimator is not None:
        return campaign.grid(estimator, chunk_trials=chunk_trials, labels=None, **options, **others)
    if options or others or chunk_trials is not None:
        name = f"--{next(iter(options), 'chunk_trials').replace('_', '-')}" if not others else "--set"
        raise InvalidArgumentError(f"{name} has no effect with --grid: write it into the file.")
    return campaign.read_grid(grid or "")


def named(settings: Sequence[str], options: dict[str, str]) -> dict[str, str]:
    """``NAME=VALUES`` of ``--set``; a name that has its own option, given too, is refused."""
    from kwta_theory.checks import InvalidArgumentError

    found: dict[str, str] = {}
    for setting in settings:
        name, equals, values = (part.strip() for part in setting.partition("="))
        if not equals or not name.isidentifier() or name in ("chunk_trials", "labels", *found, *options):
            raise InvalidArgumentError(f"--set {setting!r} is not allowed: it must be NAME=VALUES, each name once.")
        found[name] = values
    return found


def show_statuses(statuses: Sequence[Status]) -> None:
    """The result of this run on standard output, a table for each estimator."""
    from kwta_theory.campaign.progress import columns, interval
    from kwta_theory.campaign.task import shown

    for estimator in sorted({status.task.estimator for status in statuses}):
        there = [status for status in statuses if status.task.estimator == estimator]
        common, heads, own = columns([status.task for status in there])
        rows = []
        for status in there:
            found = status.estimate
            value = "" if found.value is None else shown(found.value)
            # Where a task met no rule of its own, the time of the run was over.
            rows.append([*own[status.task.id], value, interval(status), f"{found.trials:,}", status.met or "seconds"])
        names = [*heads, "estimate", "interval", "trials", "stopped by"]
        if len({row[-1] for row in rows}) == 1:
            common += f"; {names.pop()}: {rows[0][-1]}"
            rows = [row[:-1] for row in rows]
        print_table(names, rows, common)


def estimators(
    name: Annotated[
        str | None,
        typer.Argument(help=f"One of: {ESTIMATOR_NAMES}. [default: all]".replace("[", "\\["), show_default=False),
    ] = None,
) -> None:
    """List what kwta sweep can sample: parameters, what is measured, an example.

    With a NAME, say what its parameters are.
    """
    with sentences("kwta estimators", failures):
        from kwta_theory import campaign

        for found in [campaign.find(key) for key in ([name] if name else campaign.known())]:
            typer.echo(f"{found.name}: {found.summary}")
            if name is None:
                typer.echo(f"    parameters: {', '.join(found.accepts)}")
            for parameter in found.accepts if name else ():
                typer.echo(f"    {parameter:15} {PARAMETERS.get(parameter, '')}".rstrip())
            typer.echo(f"    measures: {', '.join(outcome.name for outcome in found.outcomes)}")
            if found.name in EXAMPLES:
                line = f"kwta sweep --estimator {found.name} {EXAMPLES[found.name]}"
                typer.echo(f"    example: {line} {EXAMPLE_RULES} --ledger runs/example.db")
            typer.echo("")


@ledger_app.command("show")
def ledger_show(
    ledger: LedgerFile,
    why: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Say where two tasks differ; the first digits of each suffice."),
    ] = None,
    error: Error = 1e-3,
) -> None:
    """List the tasks of a ledger with their estimates.

    kwta ledger show runs/overlap.db

    kwta ledger show runs/overlap.db --why 3f9a 81c2
    """
    with sentences("kwta ledger show", failures):
        from kwta_theory import campaign
        from kwta_theory.campaign.progress import counted

        with campaign.Ledger(ledger, write=False) as opened:
            if why is not None:
                first, second = (opened.find(prefix) for prefix in why)
                typer.echo("\n".join(campaign.differences(first, second) or ["They are one task."]))
                return
            found, tasks = campaign.rows(opened, error), opened.tasks()
        for estimator in dict.fromkeys(row["estimator"] for row in found):
            show_rows([row for row in found if row["estimator"] == estimator], tasks)
        empty = len(tasks) - len({row["task"] for row in found})
        if empty or not found:
            typer.echo(f"{counted(empty, 'task')} without trials.")


def show_rows(rows: Sequence[Row], tasks: Sequence[Task]) -> None:
    """The rows of one estimator; an outcome and seeds that all have in common go into the title."""
    from kwta_theory.campaign.progress import columns
    from kwta_theory.campaign.task import shown

    common, heads, own = columns([task for task in tasks if task.estimator == rows[0]["estimator"]])
    ids = {task.id for task in tasks}
    digits = next(n for n in range(4, 33) if len({identity[:n] for identity in ids}) == len(ids))
    title = common.rpartition(":")[0]
    same = [name for name in ("outcome", "seeds") if len({row[name] for row in rows}) == 1]
    title += "".join(f"; {name}: {rows[0][name]}" for name in same)
    names = [name for name in ("outcome", "estimate", "interval", "trials", "seeds") if name not in same]
    table = []
    for row in rows:
        between = f"[{shown(row['lower'])}, {shown(row['upper'])}]"
        cells = row | {"estimate": shown(row["estimate"]), "interval": between, "trials": f"{row['trials']:,}"}
        table.append([row["task"][:digits], *own[row["task"]], *(cells[name] for name in names)])
    print_table(["task", *heads, *names], table, title)


@ledger_app.command("merge")
def ledger_merge(
    out: Annotated[
        Path, typer.Argument(help="The ledger to write; what it holds stays.", show_default=False, readable=False)
    ],
    inputs: Annotated[list[Path], typer.Argument(help="Ledgers to take in.", show_default=False, readable=False)],
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for a run on OUT.")] = 0.0,
) -> None:
    """Put ledgers together: a union, in which the same chunk counts once.

    kwta ledger merge runs/all.db runs/here.db runs/there.db

    Merging a file with itself, or twice, changes nothing.
    """
    with sentences("kwta ledger merge", failures), folder_of(out):
        from kwta_theory import campaign

        campaign.merge(out, inputs, wait=wait)


@ledger_app.command("export")
def ledger_export(
    ledger: LedgerFile,
    file: Annotated[Path, typer.Argument(help="FILE.csv or FILE.parquet.", show_default=False, readable=False)],
    error: Error = 1e-3,
) -> None:
    """Write one row for each task and outcome.

    kwta ledger export runs/overlap.db overlap.csv
    """
    with sentences("kwta ledger export", failures):
        from kwta_theory import campaign
        from kwta_theory.campaign.export import check_export

        check_export(file)
        check_replaceable(file)
        with campaign.Ledger(ledger, write=False) as opened:
            campaign.export(opened, file, error)


def print_table(names: list[str], rows: list[list[str]], title: str) -> None:
    """A table on standard output; without colour and as wide as it is where that is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from kwta_theory.campaign.progress import escaped

    # Two blanks between columns: a grid of three parameters fits eighty columns.
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in names:
        words = name in ("task", "outcome", "stopped by", "seeds")
        table.add_column(escaped(name), overflow="fold", justify="left" if words else "right")
    for row in rows:
        table.add_row(*map(escaped, row))
    console = Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True, force_terminal=False)
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    console.print()
