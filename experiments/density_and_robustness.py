"""Does the density of a network's linear regions explain its measured robustness?

Claimed (Sections 1, 3 and 4): k-WTA makes the linear regions dense, so that gradients mislead an attacker, and that is
why networks with it withstand attacks. Here both ends of that sentence are measured on the same networks, and the ranks
of one are compared with those of the other.
Networks: trained on 4,000 real MNIST images with the small presets, naturally, by PGD-adversarial training and by
TRADES, epsilon 0.1; an MLP with two hidden layers of 64, 256 and 1,024 units and a quarter-width small CNN; ReLU, LWTA,
and k-WTA with seven ratios from 0.02 to 0.4; three training seeds where it is cheapest. Each is attacked on 500 test
images by the paper's suite and by the adaptive suite, and its regions are measured exactly along lines of the length of
epsilon in random, gradient and data directions (64 of each, 32 in the CNN).
A network that did not learn (clean accuracy below 0.8) is in the table and in no correlation.
Seen (104 networks, 100 of which learned): what the paper's suite leaves and the adaptive one takes away goes with the
sum of squared jumps (rank correlation +0.85 [0.75, 0.91] along random lines), in every part of the networks; what is
left by either goes with the number of regions in no consistent way. docs/density_and_robustness.md has the account.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from kwta_theory import campaign, exits, theory
from kwta_theory.campaign.progress import reporter
from kwta_theory.checks import InvalidArgumentError, check_integer
from kwta_theory.report import files, plots
from kwta_theory.report.experiment import as_csv
from kwta_theory.robustness import density, prediction
from kwta_theory.robustness.association import Association, associations, peak
from kwta_theory.robustness.density import DIRECTIONS, LINEAR_RADIUS

NAME = "density_and_robustness"
RATIOS = (0.02, 0.04, 0.08, 0.12, 0.16, 0.25, 0.4)
SPARSE = tuple(f"kwta-{ratio:g}" for ratio in RATIOS)
EVERY = ("relu", "lwta-2", "lwta-4", *SPARSE)
SOME = ("relu", "lwta-2", "kwta-0.04", "kwta-0.08", "kwta-0.16", "kwta-0.4")
SEEDS = 3
LEARNED = 0.8
ERROR = 0.05
GAP = "gap"
TARGETS = {
    "paper": "left by the paper's suite",
    "adaptive": "left by the adaptive suite",
    GAP: "paper's suite minus adaptive",
}
COLORS = {"paper": plots.PALETTE[1], "adaptive": plots.PALETTE[4], GAP: plots.PALETTE[6]}
METHOD_COLORS = {"natural": plots.PALETTE[0], "at": plots.PALETTE[1], "trades": plots.PALETTE[3]}
MARKERS = {"relu": "s", "lwta": "^", "kwta": "o"}
Row = dict[str, Any]


def plan(seeds: int = SEEDS) -> list[campaign.Task]:
    """All networks, the cheap ones first, so that an interrupted run has whole parts."""
    found: list[campaign.Task] = []
    for seed in range(seeds):
        found += _networks(EVERY, ("natural", "at"), training_seed=seed)
    for factor in (0.25, 4.0):
        found += _networks(SOME, ("natural", "at"), width_factor=factor)
    found += _networks(("relu", *SPARSE), ("trades",))
    return found + _networks(SOME, ("natural", "at"), architecture="smallcnn", width_factor=0.25, lines=32)


def _networks(activations: Iterable[str], methods: Iterable[str], **fixed: Any) -> list[campaign.Task]:
    return [
        campaign.Task.of(density.ESTIMATOR.name, activation=activation, method=method, **fixed)
        for activation, method in itertools.product(activations, methods)
    ]


def rows(tasks: Sequence[campaign.Task], ledger: campaign.Ledger, seed: int) -> list[Row]:
    """One row for each network that is finished: what it is, what is left of it, what its regions are like."""
    found = []
    for task in tasks:
        chunks = ledger.chunks(task, seed)
        if not chunks:
            continue
        row: Row = dict(task.parameters)
        tally = chunks[0].tally
        row |= {outcome.name: tally.mean(outcome.name) for outcome in task.outcomes}
        row[GAP] = row["paper"] - row["adaptive"]
        row["learned"] = row["clean"] >= LEARNED
        found.append(row)
    return found


def subsets(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The networks that learned, all and in parts that are alike."""
    learned = [row for row in rows if row["learned"]]
    natural = [row for row in learned if row["method"] == "natural"]
    adversarial = [row for row in learned if row["method"] != "natural"]
    return {
        "all": learned,
        "natural": natural,
        "adversarial": adversarial,
        "natural, MLP 256": [row for row in natural if _is_main(row)],
        "adversarial, MLP 256": [row for row in adversarial if _is_main(row)],
    }


def _is_main(row: Row) -> bool:
    return row["architecture"] == "mlp" and row["width_factor"] == 1


def group(row: Row) -> tuple[object, ...]:
    """What networks with other training seeds share."""
    return tuple(row[name] for name in ("architecture", "width_factor", "activation", "method"))


def correlated(rows: Sequence[Row], seed: int) -> dict[tuple[str, str], list[Association]]:
    """For each part of the networks and each target the associations of all statistics, given clean accuracy."""
    return {
        (name, target): associations(
            {statistic: [row[statistic] for row in part] for statistic in density.REGION_OUTCOMES},
            [row[target] for row in part],
            [row["clean"] for row in part],
            [group(row) for row in part],
            error=ERROR,
            seed=seed,
        )
        for name, part in subsets(rows).items()
        for target in TARGETS
    }


def flat(found: Mapping[tuple[str, str], Sequence[Association]]) -> list[Row]:
    """The associations as rows of a table."""
    return [
        {
            "networks_of": name,
            "target": target,
            "statistic": one.statistic,
            "correlation": one.correlation,
            "lower": one.interval.lower,
            "upper": one.interval.upper,
            "given_clean": one.partial,
            "given_clean_lower": one.partial_interval.lower,
            "given_clean_upper": one.partial_interval.upper,
            "best": one.best,
            "networks": one.networks,
            "groups": one.groups,
        }
        for (name, target), part in found.items()
        for one in part
    ]


def peaks(rows: Sequence[Row], seed: int) -> list[Row]:
    """Where robustness and the measured variation of jumps are largest over the ratios, beside the predictions."""
    found: list[Row] = []
    for method in ("natural", "at", "trades"):
        part = [row for row in rows if _is_main(row) and row["method"] == method and row["activation"] in SPARSE]
        for target in ("clean", "paper", "adaptive"):
            shares = {ratio: [row[target] for row in part if _ratio(row) == ratio] for ratio in RATIOS}
            if all(shares.values()):
                best, interval = peak(shares, part[0]["images"], error=ERROR, seed=seed)
                found.append({"method": method, "of": target, "peak": best, "lower": interval.lower,
                              "upper": interval.upper})  # fmt: skip
        for direction, name in itertools.product(DIRECTIONS, ("boundaries", "jump_variation", "squared_jumps")):
            means = [
                (np.mean([row[f"{direction}_{name}"] for row in part if _ratio(row) == ratio]), ratio)
                for ratio in RATIOS
            ] if part else []  # fmt: skip
            if means:
                found.append({"method": method, "of": f"{direction}_{name}", "peak": max(means)[1]})
    return found + [
        {"method": "Gaussian layer", "of": measure, "peak": theory.best_sparsity_ratio(measure)}
        for measure in prediction.MEASURES
    ]


def _ratio(row: Row) -> float:
    return float(row["activation"].removeprefix("kwta-"))


def scatter(rows: list[Row]) -> Figure:
    """What is left by both suites, and their difference, against density, squared jumps and loss of coherence."""
    shown = {
        "random_boundaries": "boundaries per unit of length",
        "random_squared_jumps": "sum of squared jumps per unit of length",
        "gradient_incoherence": "1 - cosine of gradients epsilon apart",
    }
    figure, axes = plots.panels(columns=3, rows=3, height=2.8, share_y=True)
    learned = [row for row in rows if row["learned"]]
    for axis, (target, statistic) in zip(axes, itertools.product(TARGETS, shown), strict=True):
        for row in learned:
            kind = row["activation"].split("-")[0]
            color = METHOD_COLORS[row["method"]]
            cnn = row["architecture"] == "smallcnn"
            axis.plot(
                max(row[statistic], 1e-4), row[target], MARKERS[kind], color=color, markersize=5,
                markerfacecolor="none" if cnn else color, alpha=0.8,
                label=f"{kind.replace('kwta', 'k-WTA').replace('relu', 'ReLU').replace('lwta', 'LWTA')}, "
                f"{row['method']}{', CNN' if cnn else ''}",
            )  # fmt: skip
        axis.set(xscale="log", ylim=(-0.06, 1.0))
        axis.xaxis.set_minor_formatter(NullFormatter())
        if statistic == "gradient_incoherence":
            axis.set_xticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
        if target == GAP:
            axis.set_xlabel(shown[statistic])
        if statistic == "random_boundaries":
            axis.set_ylabel(TARGETS[target])
    plots.legend(figure, columns=4)
    plots.caption(
        figure,
        f"{len(learned)} networks that learned, {_setting(rows)} Boundaries and jumps along random directions, "
        "coherence along the gradient. Left of 1e-4 is drawn at 1e-4: the jumps of ReLU networks are rounding.",
    )
    return figure


def forest(rows: list[Row], found: Mapping[tuple[str, str], Sequence[Association]]) -> Figure:
    """Rank correlations with their intervals."""
    shown = ("natural", "adversarial", "natural, MLP 256", "adversarial, MLP 256")
    figure, axes = plots.panels(columns=len(shown), height=8.2, share_y=True)
    names = list(density.REGION_OUTCOMES)
    for axis, subset in zip(axes, shown, strict=True):
        for offset, target in zip((-0.25, 0.0, 0.25), TARGETS, strict=True):
            for place, one in enumerate(found[subset, target]):
                y = len(names) - 1 - place - offset
                axis.plot([one.interval.lower, one.interval.upper], [y, y], color=COLORS[target], linewidth=1.2)
                axis.plot(one.correlation, y, "o", color=COLORS[target], markersize=3.5, label=TARGETS[target])
        axis.axvline(0, color="#555555", linewidth=0.8)
        axis.set(xlim=(-1.05, 1.05), xlabel="rank correlation")
        one = found[subset, "paper"][0]
        axis.set_title(f"{subset}\n{one.networks} networks, {one.groups} groups")
    axes[0].set_yticks(range(len(names)), [title(name) for name in reversed(names)], fontsize=8)
    plots.legend(figure)
    plots.caption(
        figure,
        f"Trained {_setting(rows)} Bars: bootstrap over groups (networks that differ in the training seed only), level "
        f"{1 - ERROR:g} each, not all together.",
    )
    return figure


def title(name: str) -> str:
    """A statistic in words."""
    for direction in DIRECTIONS:
        if name.startswith(f"{direction}_"):
            return f"{direction}: {name.removeprefix(direction + '_').replace('_', ' ')}"
    return {"first_layer": "first layer: nearest boundary", LINEAR_RADIUS: "linearised radius (no regions)"}[name]


def curves(rows: list[Row], found: Sequence[Row]) -> Figure:
    """Robustness against the sparsity ratio, the measured variation of jumps, and where theory has its peak."""
    methods = ("natural", "at")
    figure, axes = plots.panels(columns=2, rows=2, height=3.2)
    for column, method in enumerate(methods):
        part = [row for row in rows if _is_main(row) and row["method"] == method and row["activation"] in SPARSE]
        upper, lower = axes[column], axes[2 + column]
        for target, color in (("clean", "#555555"), ("paper", COLORS["paper"]), ("adaptive", COLORS["adaptive"])):
            _curve(upper, part, target, color, {"clean": "no attack", **TARGETS}[target])
        for name, color, label in (
            ("boundaries", plots.PALETTE[2], "boundaries"),
            ("jump_variation", plots.PALETTE[3], "sum of jumps"),
            ("squared_jumps", plots.PALETTE[5], "sum of squared jumps"),
        ):
            _curve(lower, part, f"random_{name}", color, f"measured {label}, as a share of the largest", relative=True)
        for axis in (upper, lower):
            for measure, style in zip(prediction.MEASURES, ("-", "--"), strict=True):
                best = theory.best_sparsity_ratio(measure)
                axis.axvline(best, color=plots.EXACT, linewidth=0.9, linestyle=style,
                             label=f"predicted largest {measure} of jumps, {best:.3g}")  # fmt: skip
            axis.set(xscale="log", ylim=(0, 1.03 if axis is upper else 1.3))
            axis.set_xticks(RATIOS, [f"{ratio:g}" for ratio in RATIOS])
            axis.set_xticks([], minor=True)
        upper.set_title({"natural": "natural training", "at": "adversarial training"}[method])
        lower.set_xlabel("sparsity ratio (logarithmic)")
    axes[0].set_ylabel("share of images")
    axes[2].set_ylabel("share of the largest")
    plots.legend(figure, columns=2)
    told = "; ".join(
        f"{row['method']}, {row['of']}: {row['peak']:g} in [{row['lower']:g}, {row['upper']:g}]"
        for row in found
        if "lower" in row and row["method"] in methods and row["of"] != "clean"
    )
    plots.caption(
        figure,
        f"MLP with two hidden layers of 256 units, {SEEDS} training seeds (dots), line: their mean; trained "
        f"{_setting(rows)} Largest share left, with the range of ratios in which it lies in 95 % of "
        f"bootstrap draws: {told}.",
    )
    return figure


def _curve(axis: Axes, part: Sequence[Row], name: str, color: str, label: str, *, relative: bool = False) -> None:
    values = [[row[name] for row in part if _ratio(row) == ratio] for ratio in RATIOS]
    means = np.array([np.mean(some) if some else np.nan for some in values])
    scale = float(np.nanmax(means)) if relative else 1.0
    axis.plot(RATIOS, means / scale, color=color, linewidth=1.4, label=label)
    for ratio, some in zip(RATIOS, values, strict=True):
        axis.plot([ratio] * len(some), np.array(some) / scale, "o", color=color, markersize=3, alpha=0.7)


def _setting(rows: Sequence[Row]) -> str:
    first = rows[0]
    return (
        f"on real MNIST (4,000 training images), epsilon {first['epsilon']:g} in the maximum norm, {first['images']} "
        "test images attacked; standard error of a share at most "
        f"{0.5 / np.sqrt(first['images']):.3f}."
    )


def conclusions(found: Mapping[tuple[str, str], Sequence[Association]]) -> list[str]:
    """For each part and target the statistic with the largest rank correlation, and what density itself has."""
    lines = []
    for (name, target), part in found.items():
        best = max(part, key=lambda one: abs(one.correlation))
        density_itself = next(one for one in part if one.statistic == "random_boundaries")
        lines.append(
            f"{name} ({best.networks} networks, {best.groups} groups), {TARGETS[target]}: "
            f"{title(best.statistic)} {_words(best)} (the largest in {100 * best.best:.0f} % of bootstrap draws); "
            f"boundaries {_words(density_itself)}"
        )
    return lines


def _words(one: Association) -> str:
    return (
        f"{one.correlation:+.2f} [{one.interval.lower:+.2f}, {one.interval.upper:+.2f}], given clean accuracy "
        f"{one.partial:+.2f} [{one.partial_interval.lower:+.2f}, {one.partial_interval.upper:+.2f}]"
    )


def write(found: list[Row], seed: int, folder: Path) -> list[str]:
    """Tables and figures; returns what there is to say."""
    files.check_folder(folder)
    correlations = correlated(found, seed)
    where = peaks(found, seed)
    files.write_text(folder / f"{NAME}.csv", as_csv(found))
    files.write_text(folder / f"{NAME}_associations.csv", as_csv(flat(correlations)))
    files.write_text(folder / f"{NAME}_peaks.csv", as_csv(where))
    with plots.house_style():
        for stem, figure in (
            (NAME, scatter(found)),
            (f"{NAME}_associations", forest(found, correlations)),
            (f"{NAME}_ratio", curves(found, where)),
        ):
            files.write_figure(folder / f"{stem}.png", figure)
            files.write_text(folder / f"{stem}.svg", plots.as_svg(figure))
    return conclusions(correlations)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, attack and measure what is missing, then write tables and figures.

    Returns:
        0: done or planned. 1: the ledger, the workers or a network failed. 2: bad use. 130: interrupted; finished
        networks are kept.
    """
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (Exception, KeyboardInterrupt) as error:
        return exits.told(NAME, error, _failures, f"what was finished is in {str(options.results)!r}")


def _failures() -> Mapping[type[Exception], str]:
    return {campaign.LedgerError: "", campaign.EstimatorError: "", campaign.BackendError: ""}


def _run(options: argparse.Namespace) -> int:
    seed, workers = check_integer("seed", options.seed), check_integer("workers", options.workers, 1)
    tasks = plan(check_integer("training-seeds", options.training_seeds, 1))
    if options.plan:
        print(f"{NAME}: {len(tasks)} networks")
        for task in tasks:
            print(f"  {density.training_of(task.parameters).title}")
        return 0
    options.results.mkdir(parents=True, exist_ok=True)
    place = options.results / "ledger.db"
    if options.finished:
        if not place.exists():
            raise InvalidArgumentError(f"--finished needs {str(place)!r}, which is not there: run without it first.")
    else:
        with reporter(options.quiet) as report:
            campaign.run(tasks, place, campaign.Until(trials=1), seed=seed, workers=workers, report=report)
    with campaign.Ledger(place, write=False) as ledger:
        found = rows(tasks, ledger, seed)
    if not found:
        raise InvalidArgumentError(f"{str(place)!r} has no finished network with seed {seed}: run without --finished.")
    for line in write(found, seed, options.results):
        print(line)
    print(f"Written to {options.results}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    workers = min(2, os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0, help="of attacks, lines and bootstraps [0]")
    parser.add_argument("--training-seeds", type=int, default=SEEDS, help=f"of the main MLP [{SEEDS}]")
    parser.add_argument("--workers", type=int, default=workers, help=f"processes; changes no number [{workers}]")
    parser.add_argument("--results", type=Path, metavar="DIR", default=Path("results") / NAME, help=f"[results/{NAME}]")
    parser.add_argument("--plan", action="store_true", help="print which networks, and stop")
    parser.add_argument("--finished", action="store_true", help="write what is finished, train nothing")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
