"""The command ``kwta``. Results go to standard output or a file, progress and errors to standard error.

Nothing heavy is imported at the top: ``kwta --help`` must answer at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kwta_theory import cli_attack, cli_campaign, cli_train

if TYPE_CHECKING:
    from collections.abc import Callable

    from kwta_theory.inputs import Inputs
    from kwta_theory.statements import Progress, Settings, Verdict
    from kwta_theory.statements.bounds import Bounds

STATEMENT_NAMES = (
    "piecewise-linearity, appendix-b, lemma-1, lemma-2, lemma-3, lemma-4, claim-3, claim-4, claim-5, claim-6, "
    "lemma-5, lemma-6, lemma-7, theorem-1, theorem-8, theorem-9, example-1, lemma-8, lemma-9, lemma-10, "
    "theorem-2, theorem-10, remark-1, theorem-11, theorem-2-fixed-ratio, piecewise-linearity-as-printed, "
    "appendix-b-as-printed, lemma-2-as-printed, lemma-6-as-printed, lemma-7-as-printed, lemma-9-as-printed"
)
INTERRUPTED = 130  # what shells use for a program ended by Ctrl-C
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Checks the theory of k-Winners-Take-All networks by computing.",
)
bounds_app = typer.Typer(
    no_args_is_help=True,
    help="What a theorem grants at your sizes: by its proof, by the same argument with exact laws, and measured.",
)
app.add_typer(bounds_app, name="bounds")


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
    """Checks the theory of k-Winners-Take-All networks by computing."""


@app.command()
def statements() -> None:
    """List the statements with their texts."""
    from kwta_theory.statements import STATEMENTS

    for statement in STATEMENTS.values():
        typer.echo(f"{statement.name}: {statement.title}\n    {statement.text}\n")


@app.command()
def verify(
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            help="mnist, gaussian, cosine, or FILE.npy of shape (N, m). Repeatable. By default the first three."
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Judge only this statement. Repeatable. One of: {STATEMENT_NAMES}.")
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
        Path | None, typer.Option("--json", help="Write the verdicts to FILE, after each one.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write one self-contained page with figures.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Write the figures as PNG into this directory.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """Check the statements of the paper and print a verdict with its evidence for each.

    Exit code 0: nothing was contradicted. 1: a statement is refuted, or two routes disagree. 2: bad use.
    """
    from kwta_theory.checks import InvalidArgumentError

    try:
        parameters = {"width": width, "sparsity_ratio": sparsity_ratio, "k": k, "beta": beta, "cosine": cosine}
        parameters["failure"] = failure
        code = run(inputs, only, budget, trials, seed, device, points, parameters, json_file, html_file, figures, quiet)
    except InvalidArgumentError as error:
        typer.echo(f"kwta verify: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        kept = f"; the verdicts so far are in {json_file}" if json_file else ""
        typer.echo(f"kwta verify: interrupted{kept}.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(code)


BudgetName = Annotated[str, typer.Option(help="quick, standard or thorough: how many layers are drawn.")]
Seed = Annotated[int, typer.Option(help="Every random number follows from it.")]
Plot = Annotated[Path | None, typer.Option(help="Draw probability of failure against width into FILE (PNG, PDF, SVG).")]


@bounds_app.command("theorem-1")
def bounds_theorem_1(
    input_dim: Annotated[int, typer.Option(help="m, the dimension of the inputs.")] = 784,
    sparsity_ratio: Annotated[float, typer.Option(help="gamma, with k = floor(gamma l).")] = 0.1,
    beta: Annotated[float, typer.Option(help="Squared perpendicular distance over |x|^2.")] = 0.1,
    budget: BudgetName = "standard",
    seed: Seed = 0,
    plot: Plot = None,
) -> None:
    """Theorem 1: from which width does every x' beyond beta change the pattern, with probability 1 - 2^-m?"""
    given = {"input_dim": input_dim, "sparsity_ratio": sparsity_ratio, "beta": beta}

    def compute(settings: Settings) -> Bounds:
        from kwta_theory.statements import bounds

        return bounds.theorem_1_bounds(settings)

    show_bounds(compute, given, budget, seed, plot)


@bounds_app.command("theorem-10")
def bounds_theorem_10(
    points: Annotated[int, typer.Option(help="N, the number of points.")] = 10,
    input_dim: Annotated[
        int | None, typer.Option(help="m, for --inputs cosine and gaussian. [default: 784 and 32]")
    ] = None,
    k: Annotated[int, typer.Option("--winners", help="k, the number of winners.")] = 1,
    cosine: Annotated[
        float | None, typer.Option(help="The cosine of every pair, for --inputs cosine. [default: 0.9]")
    ] = None,
    failure: Annotated[float, typer.Option(help="delta: disjoint with probability 1 - delta.")] = 0.05,
    inputs: Annotated[str, typer.Option(help="cosine, mnist, gaussian, or FILE.npy of shape (N, m).")] = "cosine",
    budget: BudgetName = "standard",
    seed: Seed = 0,
    plot: Plot = None,
) -> None:
    """Theorem 10 (and 2): from which width are the patterns of N points pairwise disjoint?"""

    def compute(settings: Settings) -> Bounds:
        from kwta_theory.statements import bounds

        return bounds.theorem_10_bounds(settings, bounds_points(inputs, points, input_dim, cosine, settings))

    show_bounds(compute, {"k": k, "failure": failure}, budget, seed, plot)


def bounds_points(name: str, count: int, input_dim: int | None, cosine: float | None, settings: Settings) -> Inputs:
    """The points of ``kwta bounds theorem-10``; an option that their kind does not have is refused."""
    from kwta_theory import inputs
    from kwta_theory.checks import InvalidArgumentError

    if cosine is not None and name != "cosine":
        raise InvalidArgumentError(f"--cosine {cosine:g} has no effect with --inputs {name}: leave it out.")
    if input_dim is not None and name not in ("cosine", "gaussian"):
        raise InvalidArgumentError(f"--input-dim {input_dim} has no effect with --inputs {name}: leave it out.")
    if name == "cosine":
        return inputs.points_with_cosine(count, 0.9 if cosine is None else cosine, input_dim or max(784, count))
    if name == "gaussian":
        return inputs.gaussian_points(count, input_dim or 32, seed=settings.seed)
    return read_inputs(name, count, settings)


def show_bounds(
    compute: Callable[[Settings], Bounds], given: dict[str, float], budget: str, seed: int, plot: Path | None
) -> None:
    """Compute, print, draw; bad use is a sentence and exit code 2."""
    from rich.console import Console

    from kwta_theory import statements
    from kwta_theory.checks import InvalidArgumentError
    from kwta_theory.report import bounds as shown
    from kwta_theory.report import files
    from kwta_theory.statements.settings import budget as find_budget

    try:
        if plot:
            files.check_writable(plot)
            files.check_picture(plot)
        settings = statements.Settings(
            seed=seed,
            budget=find_budget(budget),
            workers=os.cpu_count() or 1,
            **given,  # type: ignore[arg-type]
        )
        result = compute(settings)
    except InvalidArgumentError as error:
        typer.echo(f"kwta bounds: {error}", err=True)
        raise typer.Exit(2) from None
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
        files.check_writable(path)
    if figures:
        files.check_folder(figures)
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
cli_train.register(app)


def main() -> None:
    """Entry point; a closed pipe (``kwta verify | head``) ends quietly."""
    try:
        app()
    except BrokenPipeError:
        # Python flushes standard output once more on its way out; give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            # Threads still draw: an ordinary exit would unwind them inside C++ and abort. All files are whole already.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise
