"""The command ``kwta``. Results go to standard output or a file, progress and errors to standard error.

Nothing heavy is imported at the top: ``kwta --help`` must answer at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kwta_theory import cli_attack, cli_audit, cli_campaign, cli_regions, cli_train
from kwta_theory.cli_files import check_target
from kwta_theory.exits import leave, sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kwta_theory.inputs import Inputs
    from kwta_theory.statements import Progress, Settings, Verdict
    from kwta_theory.statements.bounds import Bounds

STATEMENT_NAMES = (
    "piecewise-linearity, appendix-b, lemma-1, lemma-2, lemma-3, lemma-4, claim-3, claim-4, claim-5, claim-6, "
    "lemma-5, lemma-6, lemma-7, theorem-1, theorem-1-cells, theorem-8, theorem-8-cells, theorem-9, theorem-9-cells, "
    "example-1, lemma-8, lemma-9, lemma-10, "
    "theorem-2, theorem-10, remark-1, theorem-11, theorem-2-fixed-ratio, piecewise-linearity-as-printed, "
    "appendix-b-as-printed, lemma-2-as-printed, lemma-6-as-printed, lemma-7-as-printed, lemma-9-as-printed"
)
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
bounds_app = typer.Typer(
    no_args_is_help=True,
    help="What a theorem grants at your sizes: by its proof, by the same argument with exact laws, and measured.",
)
app.add_typer(bounds_app, name="bounds")


def failures() -> Mapping[type[Exception], str]:
    """How checking a statement fails, for :func:`kwta_theory.exits.sentences`."""
    import torch

    return {torch.OutOfMemoryError: "the device has not enough memory: give a smaller --width or --device cpu."}


def version(show: bool) -> None:
    """Print the version and leave."""
    if show:
        from kwta_theory import __version__

        typer.echo(f"kwta_theory {__version__}")
        raise typer.Exit()


@app.callback()
def top(
    _version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Check the theory of k-Winners-Take-All networks by computing; train and attack such networks.

    kwta verify --budget quick checks the statements of the paper; kwta COMMAND
    --help explains a command. Exit code 0: done. 1: it failed, or a statement is
    refuted. 2: an argument is not allowed. 130: interrupted.
    """


@app.command()
def statements() -> None:
    """List the statements with their texts."""
    with sentences("kwta statements"):
        from kwta_theory.statements import STATEMENTS

        for statement in STATEMENTS.values():
            typer.echo(f"{statement.name}: {statement.title}\n    {statement.text}\n")


@app.command()
def verify(
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INPUTS",
            help="mnist, gaussian, cosine, or FILE.npy of shape (N, m). Repeatable. By default the first three.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="STATEMENT", help=f"Judge only this statement. Repeatable. One of: {STATEMENT_NAMES}."),
    ] = None,
    budget: Annotated[
        str, typer.Option(help="quick, standard or thorough: how many layers are drawn for a claim.")
    ] = "standard",
    trials: Annotated[
        int | None, typer.Option(help="At most so many trials of a claim, below the budget's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Every random number follows from it.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    points: Annotated[int, typer.Option(help="Number N of points of mnist, gaussian and cosine inputs.")] = 10,
    width: Annotated[int, typer.Option(help="Width l at which everything is measured.")] = 4096,
    sparsity_ratio: Annotated[
        float, typer.Option(help="gamma, with k = floor(gamma l), where a ratio is fixed.")
    ] = 0.1,
    k: Annotated[int, typer.Option("--winners", help="k of Theorems 2, 10, 11, which fix it.")] = 1,
    beta: Annotated[float, typer.Option(help="Squared perpendicular distance over |x|^2 (Theorems 1 and 9).")] = 0.1,
    cosine: Annotated[float, typer.Option(help="alpha of Lemma 5 and Theorem 8, and of the cosine inputs.")] = 0.9,
    failure: Annotated[float, typer.Option(help="delta of Theorems 8 to 11.")] = 0.05,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the verdicts to FILE, after each one.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page with figures.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the figures as PNG into this directory, which is there.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """Check the statements of the paper and print a verdict with its evidence for each.

    kwta verify --only theorem-10 --inputs gaussian --budget quick

    kwta statements tells what each statement says.

    Exit code 0: nothing was contradicted. 1: a statement is refuted, two routes
    disagree, or a file cannot be written. 2: bad use. 130: interrupted; the
    verdicts so far are in the file of --json.
    """
    parameters = {"width": width, "sparsity_ratio": sparsity_ratio, "k": k, "beta": beta, "cosine": cosine}
    parameters["failure"] = failure
    with sentences("kwta verify", failures, f"the verdicts so far are in {json_file}" if json_file else ""):
        code = run(inputs, only, budget, trials, seed, device, points, parameters, json_file, html_file, figures, quiet)
    raise typer.Exit(code)


BudgetName = Annotated[str, typer.Option(help="quick, standard or thorough: how many layers are drawn.")]
Seed = Annotated[int, typer.Option(help="Every random number follows from it.")]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw probability of failure against width into FILE (.png, .pdf, .svg)."),
]


@bounds_app.command("theorem-1")
def bounds_theorem_1(
    input_dim: Annotated[int, typer.Option(help="m, the dimension of the inputs.")] = 784,
    sparsity_ratio: Annotated[float, typer.Option(help="gamma, with k = floor(gamma l).")] = 0.1,
    beta: Annotated[float, typer.Option(help="Squared perpendicular distance over |x|^2.")] = 0.1,
    budget: BudgetName = "standard",
    seed: Seed = 0,
    plot: Plot = None,
) -> None:
    """Theorem 1: from which width does every x' beyond beta change the pattern, with probability 1 - 2^-m?

    kwta bounds theorem-1 --input-dim 12 --sparsity-ratio 0.1 --beta 0.2

    Exit code 0: done. 1: a file cannot be written. 2: bad use. 130: interrupted.
    """
    given = {"input_dim": input_dim, "sparsity_ratio": sparsity_ratio, "beta": beta}

    def compute(settings: Settings) -> Bounds:
        from kwta_theory.statements import bounds

        return bounds.theorem_1_bounds(settings)

    show_bounds(compute, given, budget, seed, plot)


@bounds_app.command("theorem-10")
def bounds_theorem_10(
    points: Annotated[
        int | None,
        typer.Option(help="N, the number of points; not for FILE.npy. \\[default: 10]", show_default=False),
    ] = None,
    input_dim: Annotated[
        int | None,
        typer.Option(help="m, for --inputs cosine and gaussian. \\[default: 784 and 32]", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("--winners", help="k, the number of winners.")] = 1,
    cosine: Annotated[
        float | None,
        typer.Option(help="The cosine of every pair, for --inputs cosine. \\[default: 0.9]", show_default=False),
    ] = None,
    failure: Annotated[float, typer.Option(help="delta: disjoint with probability 1 - delta.")] = 0.05,
    inputs: Annotated[str, typer.Option(help="cosine, mnist, gaussian, or FILE.npy of shape (N, m).")] = "cosine",
    budget: BudgetName = "standard",
    seed: Seed = 0,
    plot: Plot = None,
) -> None:
    """Theorem 10 (and 2): from which width are the patterns of N points pairwise disjoint?

    kwta bounds theorem-10 --points 3 --cosine 0.6 --winners 2

    Exit code 0: done. 1: a file cannot be written. 2: bad use. 130: interrupted.
    """

    def compute(settings: Settings) -> Bounds:
        from kwta_theory.statements import bounds

        return bounds.theorem_10_bounds(settings, bounds_points(inputs, points, input_dim, cosine, settings))

    show_bounds(compute, {"k": k, "failure": failure}, budget, seed, plot)


def bounds_points(
    name: str, points: int | None, input_dim: int | None, cosine: float | None, settings: Settings
) -> Inputs:
    """The points of ``kwta bounds theorem-10``; an option that their kind does not have is refused."""
    from kwta_theory import inputs
    from kwta_theory.checks import InvalidArgumentError, check_integer

    if points is not None and name not in ("mnist", "gaussian", "cosine"):
        raise InvalidArgumentError(f"--points {points} has no effect with --inputs {name}: leave it out.")
    count = check_integer("points", 10 if points is None else points, minimum=1)
    if cosine is not None and name != "cosine":
        raise InvalidArgumentError(f"--cosine {cosine:g} has no effect with --inputs {name}: leave it out.")
    if input_dim is not None and name not in ("cosine", "gaussian"):
        raise InvalidArgumentError(f"--input-dim {input_dim} has no effect with --inputs {name}: leave it out.")
    if name == "cosine":
        dimension = max(784, count) if input_dim is None else input_dim
        return inputs.points_with_cosine(count, 0.9 if cosine is None else cosine, dimension)
    if name == "gaussian":
        return inputs.gaussian_points(count, 32 if input_dim is None else input_dim, seed=settings.seed)
    return read_inputs(name, count, settings)


def show_bounds(
    compute: Callable[[Settings], Bounds], given: dict[str, float], budget: str, seed: int, plot: Path | None
) -> None:
    """Compute, print, draw; bad use is a sentence and exit code 2."""
    with sentences("kwta bounds", failures):
        from rich.console import Console

        from kwta_theory import statements
        from kwta_theory.report import bounds as shown
        from kwta_theory.report import files
        from kwta_theory.statements.settings import budget as find_budget

        if plot:
            check_target(plot)
            files.check_picture(plot)
        settings = statements.Settings(
            seed=seed,
            budget=find_budget(budget),
            workers=os.cpu_count() or 1,
            **given,  # type: ignore[arg-type]
        )
        result = compute(settings)
        if plot:
            files.write_figure(plot, shown.figure(result))
        console = Console() if sys.stdout.isatty() else Console(width=140, no_color=True, force_terminal=False)
        console.print(shown.table(result))
        for sentence in shown.sentences(result):
            console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def run(
    inputs: list[str] | None,
    only: list[str] | None,
    budget_name: str,
    trials: int | None,
    seed: int,
    device: str,
    points: int,
    parameters: dict[str, float],
    json_file: Path | None,
    html_file: Path | None,
    figures: Path | None,
    quiet: bool,
) -> int:
    """The run behind ``kwta verify``; returns the exit code."""
    import dataclasses

    from rich.console import Console

    from kwta_theory import checks, statements
    from kwta_theory.report import files, table
    from kwta_theory.report.progress import reporter
    from kwta_theory.statements import run as running
    from kwta_theory.statements.settings import budget as find_budget

    budget = find_budget(budget_name)
    if trials is not None:
        trials = checks.check_integer("trials", trials, minimum=1)
        budget = dataclasses.replace(budget, max_trials=min(trials, budget.max_trials))
    settings = statements.Settings(
        seed=seed,
        device=device,
        budget=budget,
        workers=os.cpu_count() or 1,
        **parameters,  # type: ignore[arg-type]
    )
    for path in filter(None, (json_file, html_file)):
        check_target(path)
    if figures:
        files.check_folder(figures)
    points = checks.check_integer("points", points, minimum=1)
    names = list(dict.fromkeys(only or statements.DEFAULT))
    check_device(settings)
    given = [read_inputs(name, points, settings) for name in inputs or ("mnist", "gaussian", "cosine")]
    verdicts: list[Verdict] = []

    def keep(step: Progress) -> None:
        if step.verdict is not None:
            verdicts.append(step.verdict)
            if json_file:
                files.write_json(json_file, verdicts, settings, complete=False)

    with reporter(quiet) as show:

        def tell(step: Progress) -> None:
            keep(step)
            show(step)

        running.run(names, given, settings, tell)
    if json_file:
        files.write_json(json_file, verdicts, settings, complete=True)
    if html_file:
        files.write_html(html_file, verdicts, given, settings)
    if figures:
        files.write_figures(figures, verdicts, given, settings)
    console = Console() if sys.stdout.isatty() else Console(width=180, no_color=True, force_terminal=False)
    console.print(table.table(verdicts, settings.budget.error))
    console.print(table.summary(verdicts) + ".", highlight=False)
    for sentence in table.sentences(verdicts):
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    for note in table.notes(verdicts):
        console.print(f"Note. {note}", highlight=False, markup=False, soft_wrap=True)
    return exit_code(verdicts)


def check_device(settings: Settings) -> None:
    """A device that is not there is refused before anything is computed."""
    import torch

    from kwta_theory import seeding

    seeding.resolve_device(settings.device, torch.float64)


def read_inputs(name: str, count: int, settings: Settings) -> Inputs:
    """The points that a value of ``--inputs`` names; anything else is a file."""
    from kwta_theory import inputs

    if name == "mnist":
        return inputs.mnist_images(count, seed=settings.seed)
    if name == "gaussian":
        return inputs.gaussian_points(count, 32, seed=settings.seed)
    if name == "cosine":
        return inputs.points_with_cosine(count, settings.cosine)
    return inputs.load_points(name)


def exit_code(verdicts: list[Verdict]) -> int:
    """0 when nothing was contradicted, 1 when a statement is refuted or two routes disagree."""
    from kwta_theory.statements import Outcome

    return int(any(verdict.outcome is Outcome.REFUTED or not verdict.routes_agree for verdict in verdicts))


cli_campaign.register(app)
cli_attack.register(app)
cli_audit.register(app)
cli_regions.register(app)
cli_train.register(app)


def main() -> None:
    """Entry point."""
    leave(app)
