"""Figure 4: standard and robust accuracy against the sparsity ratio, and the prediction of where the second peaks.

Claimed (Section 4.2): above a ratio of about 0.1 a smaller one hardly changes the standard accuracy and raises the
robust accuracy; below, both fall. The paper attacks with PGD-20 at "epsilon = 0.31", a misprint for 0.031.
Predicted without a free parameter: the jumps of a Gaussian layer vary most at ratios of 0.159 (sum of ``|jump|``) and
0.0786 (sum of ``jump^2``); if jumps are what protects, robustness peaks near there.
Drawn at the small scale: digits, epsilon 0.1; a quarter-width ResNet-18 and the small CNN, trained naturally, and the
small CNN trained adversarially; from 0.2 downwards by incremental training, 0.35 and 0.5 directly (with other numbers
of epochs, which is part of the difference). 200 images, a standard error of 3 to 4 points; one training of each.
Seen: under PGD-20 natural training gives the paper's curve. On the small CNN 0.55 of the images are left at a ratio of
0.5, 0.68 at 0.1 and 0.36 at 0.02; on the ResNet 0.56, 0.60 and 0.06. The ratios that may be the best (0.075 to 0.2, 0.1
to 0.35) leave both predicted peaks open. Trained adversarially the most is left at 0.35 and 0.5 (0.85).
Under all attacks there is no peak inside: what is left falls with the ratio, on the ResNet from 0.52 (0.5) to 0.14
(0.1) and 0 (0.02), on the small CNN from 0.51 to 0.31 and 0.05, trained adversarially from 0.82 to 0.37 and 0.06. The
ratios that may be the best exclude 0.0786 for all three networks, and 0.159 for two. So at this scale the prediction
agrees with what PGD-20 leaves, and does not say where a network is robust.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kwta_theory import theory
from kwta_theory.report import plots
from kwta_theory.robustness import prediction
from kwta_theory.robustness.study import Row, Run, Study, Wanted, attack_note, main, points, robustness

SHOWN = {"standard": ("#555555", "o"), "pgd": (plots.PALETTE[1], "s"), "adaptive": (plots.PALETTE[4], "D")}
LABELS = {"standard": "no attack", "pgd": "left by PGD-20", "adaptive": "left by PGD-20 and the adaptive attack"}
STYLES = {"total variation": "-", "quadratic variation": "--"}


def cases(run: Run) -> list[tuple[tuple[str, float], str]]:
    """Which networks are drawn: each architecture trained naturally, as in the paper; the cheapest adversarially too.

    (The paper's scale has its cheapest first, the small scale last.)
    """
    networks = run.settings.networks
    cheapest = networks[0 if run.settings.scale == "paper" else -1]
    return [*((network, "natural") for network in networks), (cheapest, "at")]


def networks(run: Run, network: tuple[str, float], method: str) -> list[tuple[str, float, Wanted]]:
    """How it is trained, ratio and network of each point of a curve."""
    larger = run.settings.larger
    direct = [("direct", ratio, run.direct(network, f"kwta-{ratio:g}", method)) for ratio in larger]
    return [*direct, *(("incremental", ratio, found) for ratio, found in run.lowered(network, method).items())]


def plan(run: Run) -> list[Wanted]:
    """The networks of the figure."""
    return [wanted for case in cases(run) for _, _, wanted in networks(run, *case)]


def measure(run: Run) -> Iterator[Row]:
    """One row for each network and ratio; ``best_*`` says whether the ratio may be the best of its network."""
    for network, method in cases(run):
        rows: list[Row] = []
        withstood: dict[str, dict[float, torch.Tensor]] = {"pgd": {}, "adaptive": {}}
        for training, ratio, wanted in networks(run, network, method):
            row, right = robustness(run, run.network(wanted))
            run.say(f"{network[0]} {method} {ratio:g}: {row['standard']:.3f} {row['pgd']:.3f} {row['adaptive']:.3f}")
            named = {"network": network[0], "width_factor": network[1], "method": method, "training": training}
            rows.append(named | {"ratio": ratio} | row)
            for attack, truth in withstood.items():
                truth[ratio] = right[attack]
        found = {attack: prediction.best(truth) for attack, truth in withstood.items()}
        for row in sorted(rows, key=lambda row: row["ratio"]):
            for attack, result in found.items():
                row[f"best_{attack}"] = row["ratio"] in result.candidates
                for measured in prediction.MEASURES:
                    peak = theory.best_sparsity_ratio(measured)
                    row[f"{measured.split()[0]}_peak_allowed_{attack}"] = result.allows(peak)
            yield row


def figure(run: Run, rows: list[Row]) -> Figure:
    """A panel for each network, with the predicted variation of the jumps on an axis of its own."""
    chosen = cases(run)
    drawn, axes = plots.panels(columns=len(chosen), height=4.4, share_y=True)
    told = []
    for number, (axis, (network, method)) in enumerate(zip(axes, chosen, strict=True)):
        part = [row for row in rows if (row["network"], row["method"]) == (network[0], method)]
        for name, (color, marker) in SHOWN.items():
            axis.plot([row["ratio"] for row in part], [row[name] for row in part], color=color, linewidth=1)
            plots.marks(axis, points(part, "ratio", name), label=LABELS[name], color=color, marker=marker)
        _prediction(axis, part, last=number == len(chosen) - 1)
        factor = "" if network[1] == 1 else f", {network[1]:g} of its width"
        axis.set_title(f"{network[0]}{factor}: {'natural' if method == 'natural' else 'adversarial'} training")
        axis.set(xlabel="sparsity ratio (logarithmic)", ylim=(0, 1.02), xscale="log")
        ticks = [0.02, 0.05, 0.1, 0.2, 0.5]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axis.set_xticks([], minor=True)
        told.append(_told(f"{network[0]}, {method}", part))
    axes[0].set_ylabel("share of images classified correctly")
    plots.legend(drawn)
    plots.caption(
        drawn,
        f"{attack_note(run, rows)} Ratios above {run.settings.ratios[0]:g} are trained directly, the others from "
        f"{run.settings.ratios[0]:g} downwards by incremental fine-tuning, {run.settings.stage_epochs} epochs each. "
        f"Ratios that may be the best (sign tests on the same images, level 0.95 for each attack): {'; '.join(told)}.",
    )
    return drawn


def _prediction(axis: Axes, part: list[Row], *, last: bool) -> None:
    other = axis.twinx()
    ratios = np.geomspace(min(row["ratio"] for row in part), max(row["ratio"] for row in part), 60)
    for measured, style in STYLES.items():
        peak = theory.best_sparsity_ratio(measured)
        label = f"predicted {measured} of jumps, peak {peak:.3g} (right axis)"
        plots.law(other, ratios, prediction.predicted(ratios.tolist(), measured), label=label, style=style)
        axis.axvline(peak, color=plots.EXACT, linewidth=0.8, linestyle=style, alpha=0.6)
    other.set_ylim(0, 1.02)
    other.tick_params(labelright=last)
    if last:
        other.set_ylabel("predicted variation / its largest")


def _told(name: str, part: list[Row]) -> str:
    sets = []
    for attack, title in (("pgd", "PGD-20"), ("adaptive", "adaptive")):
        candidates = [row["ratio"] for row in part if row[f"best_{attack}"]]
        sets.append(f"{title} {min(candidates):g} to {max(candidates):g}")
    return f"{name}: {', '.join(sets)}"


STUDY = Study("figure_4", __doc__, measure, plan, {"figure_4": figure})

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
