"""A figure about networks: the command line, the networks that are trained for it once, the attacks, the files.

Every script has two scales. ``small`` is run on one CPU core in minutes, on real images of 8 x 8 pixels; ``paper`` is
the paper's Section 4, for a GPU and the user's data. Networks are trained into one folder that all scripts share, so a
killed run goes on and no network is trained twice.

Robustness is never shown from the paper's attack alone: :func:`robustness` returns what PGD leaves, and what is left
after PGD and the attack made for discontinuous networks.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from matplotlib.figure import Figure
from torch import nn

from kwta_theory import checks, seeding
from kwta_theory.attacks import Ascent, Square, suites
from kwta_theory.confidence import clopper_pearson
from kwta_theory.networks import Architecture, Dataset, DatasetError, load
from kwta_theory.networks.training import CHECKPOINT, CheckpointError, Options, TrainingError, load_network, train
from kwta_theory.report import files, plots
from kwta_theory.report.experiment import INTERRUPTED, as_csv
from kwta_theory.robustness import zoo
from kwta_theory.robustness.evaluation import Attack, evaluate

Row = dict[str, Any]
ERROR = 0.05
COLUMNS, ENDS = ("standard", "pgd", "adaptive"), ("lower", "upper")


@dataclass(frozen=True)
class Settings:
    """One scale of all figures.

    Attributes:
        scale: ``"small"`` or ``"paper"``: which training presets.
        data: name of the data set.
        networks: architectures with their width factors, the first the main one.
        epsilon: of the ball in which networks are attacked, and trained where they are trained adversarially.
        images: how many test images are attacked, the first of the set.
        ratios: sparsity ratios of incremental training, falling.
        larger: ratios above them, trained directly.
        first_epochs: epochs at the first ratio; None for the preset's.
        rescaled: whether the preset's whole course of learning rates is run through in ``first_epochs``, or only its
            first so many epochs are run, at their rates, as in Appendix D.1.
        stage_epochs: epochs at each further one.
        direct_epochs: of natural training at one ratio; None for the preset's.
        adversarial_epochs: of adversarial training at one ratio; None for the preset's.
        adaptive: the attacks beside PGD that are made for discontinuous networks.
        lines: images on which roughness is measured.
        cells: in which each of its lines is cut.
    """

    scale: str
    data: str
    networks: tuple[tuple[str, float], ...]
    epsilon: float
    images: int
    ratios: tuple[float, ...]
    larger: tuple[float, ...] = (0.35, 0.5)
    first_epochs: int | None = None
    rescaled: bool = True
    stage_epochs: int = 2
    direct_epochs: int | None = None
    adversarial_epochs: int | None = None
    adaptive: tuple[Attack, ...] = suites.suite("adaptive")
    lines: int = 20
    cells: int = 512

    @property
    def pgd(self) -> Ascent:
        """PGD-20 as in Section 4.2: random start, steps of a tenth of epsilon, as 0.003 of 0.031 in Appendix D.1."""
        return Ascent("PGD-20", steps=20, step_size=0.1, loss="cross-entropy")

    @property
    def adaptive_names(self) -> str:
        """For a person, with the forward passes for an image that is never broken."""
        return ", ".join(f"{attack.name} ({getattr(attack, 'budget', '?')} passes)" for attack in self.adaptive)


SMALL = Settings(
    "small",
    "digits",
    (("resnet18", 0.25), ("smallcnn", 1.0)),
    epsilon=0.1,
    images=200,
    ratios=(0.2, 0.175, 0.15, 0.125, 0.1, 0.075, 0.05, 0.03, 0.02),
    first_epochs=8,
    stage_epochs=4,
    adversarial_epochs=16,
    adaptive=(
        suites.wide_with_noise().but(steps=50, restarts=1),
        suites.corners().but(steps=50, restarts=1),
        Square(queries=300),
    ),
)
PAPER = Settings(
    "paper",
    "cifar10",
    (("resnet18", 1.0), ("densenet121", 1.0), ("wrn-22-10", 1.0)),
    epsilon=0.031,
    images=1000,
    ratios=tuple(round(0.2 - 0.005 * i, 3) for i in range(39)),
    first_epochs=50,
    rescaled=False,
)
SCALES: dict[str, Settings] = {"small": SMALL, "paper": PAPER}


@dataclass(frozen=True)
class Wanted:
    """A network of a figure.

    Attributes:
        training: of which it comes, the whole course.
        until: the epochs of it after which this network is taken.
        ends: the epochs after which copies are kept; empty where there is only the network at the end.
    """

    training: zoo.Training
    until: int
    ends: tuple[int, ...] = ()


@dataclass
class Run:
    """One run of a script: its settings, and what is made from them when it is first asked for.

    Attributes:
        settings: of the scale.
        seed: of weights, training and attacks.
        networks: folder of the trained networks.
        device: where everything is computed.
        data_dir: where the published files of the data set are.
        quiet: no progress on standard error.
        results: what the figures are drawn from and the table does not hold: surfaces, lines.
    """

    settings: Settings
    seed: int
    networks: Path
    device: torch.device
    data_dir: Path | None = None
    quiet: bool = True
    results: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def data(self) -> Dataset:
        """The images."""
        return load(self.settings.data, data_dir=self.data_dir)

    def images(self, count: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The first test images, as many as there are up to ``count``, and their labels."""
        count = min(count or self.settings.images, len(self.data.test))
        return self.data.test.images(slice(0, count), self.device), self.data.test.labels[:count].to(self.device)

    def say(self, what: str) -> None:
        """Progress."""
        if not self.quiet:
            print(what, file=sys.stderr, flush=True)

    def direct(
        self, network: tuple[str, float], activation: str, method: str = "natural", *, epochs: int | None = None
    ) -> Wanted:
        """Trained at one ratio, with the scale's preset; ``epochs`` None are the scale's for the method."""
        if epochs is None:
            epochs = self.settings.direct_epochs if method == "natural" else self.settings.adversarial_epochs
        training = self._training(network, activation, method, epochs)
        return Wanted(training, training.recipe.epochs)

    def lowered(self, network: tuple[str, float], method: str = "natural") -> dict[float, Wanted]:
        """By ratio: one training in which the sparsity ratio is lowered step by step (Section 2.2).

        ``first_epochs`` at the first ratio, then ``stage_epochs`` at each further one with the rate with which the
        preset's course ends. A copy is kept at the end of each ratio.
        """
        ratios = self.settings.ratios
        first = self._first_of(network, f"kwta-{ratios[0]:g}", method, self.settings.first_epochs)
        begun = first.recipe.epochs
        ends = tuple(begun + self.settings.stage_epochs * stage for stage in range(len(ratios)))
        schedule = ((0, ratios[0]), *zip(ends, ratios[1:], strict=False))
        course = dataclasses.replace(first.recipe, epochs=ends[-1], sparsity_ratios=schedule)
        whole = dataclasses.replace(first, recipe=course)
        return {ratio: Wanted(whole, end, ends) for ratio, end in zip(ratios, ends, strict=True)}

    def early(self, network: tuple[str, float], activation: str, ends: Sequence[int]) -> list[Wanted]:
        """One network after these epochs of a natural training, which rise to the last of them."""
        training = self._first_of(network, activation, "natural", ends[-1])
        return [Wanted(training, end, tuple(ends)) for end in ends]

    def network(self, wanted: Wanted) -> nn.Module:
        """From the folder where it is finished, else trained (on)."""
        if not wanted.ends:
            model, _ = zoo.obtain(
                wanted.training, self.networks, images=self.data, options=self._options, report=self.say
            )
            return model.to(self.device)
        folder = self.networks / self.directory(wanted)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".stages.lock"):
            for end in wanted.ends:
                kept = folder / f"epoch-{end}.pt"
                if end <= wanted.until and not kept.exists():
                    self._go_on(wanted.training, end, folder)
                    temporary = kept.with_suffix(".new")
                    shutil.copyfile(folder / CHECKPOINT, temporary)
                    temporary.replace(kept)
        return load_network(folder / f"epoch-{wanted.until}.pt")[0].to(self.device)

    def directory(self, wanted: Wanted) -> str:
        """Of a network, in the folder of all: named by all that decides."""
        stops = "-".join(map(str, wanted.ends)) if len(wanted.ends) < 4 else f"{len(wanted.ends)}"
        return wanted.training.directory(self.data.description) + (f"-stages-{stops}" if stops else "")

    def _go_on(self, whole: zoo.Training, epochs: int, folder: Path) -> None:
        """Train the first so many epochs of a course, from where the folder stands."""

        def report(row: Row) -> None:
            self.say(f"{whole.title}: epoch {row['epoch']} of {whole.recipe.epochs}, ratio {row['sparsity_ratio']}")

        course = dataclasses.replace(whole.recipe, epochs=epochs)
        train(
            whole.architecture, self.data, course, folder, seed=self.seed, options=self._options, report=report
        )  # fmt: skip

    @property
    def _options(self) -> Options:
        return Options(device=str(self.device))

    def _first_of(self, network: tuple[str, float], activation: str, method: str, epochs: int | None) -> zoo.Training:
        """The preset rescaled to so many epochs, or its first so many."""
        if self.settings.rescaled or epochs is None:
            return self._training(network, activation, method, epochs)
        whole = self._training(network, activation, method, None)
        return dataclasses.replace(whole, recipe=dataclasses.replace(whole.recipe, epochs=epochs))

    def _training(self, network: tuple[str, float], activation: str, method: str, epochs: int | None) -> zoo.Training:
        (name, factor), (channels, size) = network, zoo.image_shape(self.settings.data)
        # The figures say themselves when the ratio is lowered; a radius belongs to adversarial training only.
        radius: dict[str, Any] = {} if method == "natural" else {"epsilon": self.settings.epsilon}
        return zoo.training(
            Architecture(name, activation, channels, size, width_factor=factor), self.settings.data, method,
            scale=self.settings.scale, seed=self.seed, epochs=epochs, incremental_ratios=False, **radius,
        )  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One script.

    Args:
        name: of its files.
        summary: what ``--help`` shows.
        measure: rows of the table, from a run.
        plan: the networks that a run needs, or a sentence where none is kept.
        figures: for each file stem a function that draws it from run and rows, with its caption.
        settings: for each scale.
    """

    name: str
    summary: str
    measure: Callable[[Run], Iterable[Mapping[str, Any]]]
    plan: Callable[[Run], Sequence[Wanted] | str]
    figures: Mapping[str, Callable[[Run, list[Row]], Figure]]
    settings: Mapping[str, Settings] = field(default_factory=lambda: SCALES)


def robustness(run: Run, model: nn.Module) -> tuple[Row, dict[str, torch.Tensor]]:
    """How many of the test images a network classifies correctly, without an attack and under attack.

    Returns:
        A row with ``n`` and for each of ``standard``, ``pgd`` and ``adaptive`` the share, ``_lower`` and ``_upper``
        (exact binomial, each at level 0.95); and the truth values for each image. ``adaptive`` is what is left after
        PGD and the adaptive attacks, image by image: an upper bound of the robust accuracy.
    """
    images, labels = run.images()
    attacks = [run.settings.pgd, *run.settings.adaptive]
    found = evaluate(model, images, labels, attacks, run.settings.epsilon, seed=run.seed)
    right = {"standard": found.clean, "pgd": found.rows[0].robust, "adaptive": found.worst}
    row: Row = {"n": found.n, "epsilon": run.settings.epsilon}
    for name, values in right.items():
        interval = clopper_pearson(int(values.sum()), found.n, ERROR)
        row |= {name: int(values.sum()) / found.n, f"{name}_lower": interval.lower, f"{name}_upper": interval.upper}
    return row, right


def points(rows: Sequence[Row], x: str, name: str) -> list[tuple[float, float, float, float]]:
    """For :func:`kwta_theory.report.plots.marks`: a column with its interval."""
    return [(row[x], row[name], row[f"{name}_lower"], row[f"{name}_upper"]) for row in rows]


def attack_note(run: Run, rows: Sequence[Row], *, bars: bool = True) -> str:
    """The sentences that belong below every accuracy; without bars the largest distance to an interval's end."""
    widest = max(abs(row[f"{name}_{end}"] - row[name]) for row in rows for name in COLUMNS for end in ENDS)
    shown = (
        "Bars: exact binomial intervals" if bars else f"Accuracies: +-{widest:.2f} at most, exact binomial intervals"
    )
    return (
        f"{run.data.description}; n = {rows[0]['n']} test images, epsilon {run.settings.epsilon:g} (maximum norm), "
        f"seed {run.seed}, one training for each network. {shown} at level {1 - ERROR:g} for "
        "the images, each on its own; they do not cover the noise of training. Adaptive: left, image by image, after "
        f"PGD-20, {run.settings.adaptive_names}."
    )


def main(study: Study, arguments: Sequence[str] | None = None) -> int:
    """The command line of a script: ``raise SystemExit(main(STUDY))``.

    Returns:
        0: done. 1: training, a checkpoint or the data failed. 2: bad use. 130: interrupted; what is trained is kept.
    """
    options = _parser(study).parse_args(arguments)
    folder = options.results or Path("results") / study.name
    try:
        settings = study.settings[options.scale]
        if options.n is not None:
            settings = dataclasses.replace(settings, images=checks.check_integer("n", options.n, 1))
        checks.check_integer("seed", options.seed, 0)
        networks = options.networks or Path("results") / "networks"
        device = seeding.resolve_device(options.device, torch.float32)
        run = Run(settings, options.seed, networks, device, options.data_dir, options.quiet)
        if options.plan:
            print(planned(study, run), end="")
            return 0
        for path in (folder, networks):
            path.mkdir(parents=True, exist_ok=True)
        rows = [dict(row) for row in study.measure(run)]
        write(study, run, rows, folder)
    except checks.InvalidArgumentError as error:
        return _said(study, error, 2)
    except (CheckpointError, DatasetError, TrainingError) as error:
        return _said(study, error, 1)
    except OSError as error:
        return _said(study, f"{str(error.filename or folder)!r}: {error.strerror or error}.", 1)
    except KeyboardInterrupt:
        return _said(study, "interrupted; the networks that were trained are kept.", INTERRUPTED)
    print(as_csv(rows), end="")
    print(f"Written to {folder}.", file=sys.stderr)
    return 0


def planned(study: Study, run: Run) -> str:
    """What would be done: every training once, as far as it is needed, then the attacks. Reads no data."""
    wanted, settings = study.plan(run), run.settings
    if isinstance(wanted, str):
        return f"{study.name}: {wanted}\n"
    until: dict[zoo.Training, int] = {}
    for network in wanted:
        until[network.training] = max(network.until, until.get(network.training, 0))
    text = [f"{study.name}: {len(until)} trainings"]
    for training, last in until.items():
        recipe = training.recipe
        epochs = f"{last} epochs" if last == recipe.epochs else f"{last} of {recipe.epochs} epochs"
        line = f"  train    {training.title}: {epochs}, batch {recipe.batch_size}"
        if recipe.sparsity_ratios:
            line += f", ratio {recipe.sparsity_ratio(0):g}, then down to {recipe.sparsity_ratio(last - 1):g}"
        text.append(line)
    text.append(
        f"{study.name}: {len(set(wanted))} networks, attacked on {settings.images:,} test images: epsilon "
        f"{settings.epsilon:g}; {settings.pgd.name}; adaptive: {settings.adaptive_names}"
    )
    return "\n".join(text) + "\n"


def write(study: Study, run: Run, rows: list[Row], folder: Path) -> None:
    """The table as CSV, then each figure as PNG and SVG; each file whole or not at all."""
    files.check_folder(folder)
    files.write_text(folder / f"{study.name}.csv", as_csv(rows))
    for stem, draw in study.figures.items():
        with plots.house_style():
            figure = draw(run, rows)
            files.write_figure(folder / f"{stem}.png", figure)
            files.write_text(folder / f"{stem}.svg", plots.as_svg(figure))


def _parser(study: Study) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=study.name,
        description=study.summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--scale", choices=tuple(study.settings), default="small", help="how much is computed [small]")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="with the published files of the data set")
    parser.add_argument("--n", type=int, help="test images that are attacked [the scale's]")
    parser.add_argument("--seed", type=int, default=0, help="of weights, training and attacks [0]")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... [auto]")
    parser.add_argument("--networks", type=Path, metavar="DIR", help="of trained networks, shared [results/networks]")
    parser.add_argument("--results", type=Path, metavar="DIR", help=f"where files go [results/{study.name}]")
    parser.add_argument("--plan", action="store_true", help="print what would be trained and attacked, and stop")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser


def _said(study: Study, what: object, code: int) -> int:
    print(f"{study.name}: {what}", file=sys.stderr)
    return code
