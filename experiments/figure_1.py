"""Figure 1: a function of one number, fitted from a few points by k-WTA and by ReLU networks.

Claimed: the fit of a k-WTA network is piecewise continuous, and its discontinuities can be dense. (The paper shows one
curve, and says neither the function nor the network's size: both are chosen here.)
Drawn: networks with two hidden layers of 256, fitted to 25 points of ``sin 3x + 0.4 cos 9x`` on [-1, 1].
Seen (medians of 11 networks): 86 jumps on the interval at a ratio of 0.1 and 129 at 0.2, none with ReLU; 0.89 and 0.87
of the curve's variation are jumps. They are dense, though the target is smooth, and the fit is worse for them: root
mean square error on the interval 0.13 and 0.10, with ReLU 0.03 after as many steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import nn

from kwta_theory.report import plots
from kwta_theory.robustness import regression
from kwta_theory.robustness.landscape import Array, median_interval, roughness, sampled
from kwta_theory.robustness.study import Row, Run, Study, main
from kwta_theory.seeding import Stream

ACTIVATIONS = ("kwta-0.1", "kwta-0.2", "relu")
WIDTH, POINTS, CELLS = 256, 25, 16_384
# A residual of a cell counts as a jump above this share of the function's range; kinks leave less.
THRESHOLD = 1e-3
NETWORKS = {"small": 11, "paper": 101}
STEPS = {"small": 600, "paper": 5000}


def target(x: torch.Tensor) -> torch.Tensor:
    """The function that is fitted, on [-1, 1]."""
    return torch.sin(3 * x) + 0.4 * torch.cos(9 * x)


def network(activation: str, seed: int) -> nn.Module:
    """The network that is fitted; each seed and activation has weights of its own."""
    return regression.network(activation, 1, WIDTH, Stream(seed, f"figure 1 {activation}"))


def curve(model: nn.Module) -> tuple[Array, Array]:
    """Values at the ends of the cells of [-1, 1] and slopes at their middles."""
    return sampled(lambda t: model(t[:, None])[:, 0], -1.0, 1.0, CELLS)


def jumps(values: Array, slopes: Array) -> npt.NDArray[np.bool_]:
    """The cells with a jump: whose slope leaves more than the threshold unexplained."""
    return np.asarray(np.abs(np.diff(values) - slopes * 2 / len(slopes)) > THRESHOLD * np.ptp(values))


def measure(run: Run) -> Iterator[Row]:
    """One row for each activation: medians over several networks; the first network's curve is kept for the figure."""
    scale = run.settings.scale
    x = torch.linspace(-1, 1, POINTS, dtype=torch.float64)
    y = target(x)
    for activation in ACTIVATIONS:
        shares, counts, errors, between = [], [], [], []
        for number in range(NETWORKS[scale]):
            model = network(activation, run.seed + number)
            errors.append(regression.fit(model, x[:, None], y, STEPS[scale]))
            values, slopes = curve(model)
            shares.append(roughness(values, slopes, 2.0).share)
            places = jumps(values, slopes)
            counts.append(int(places.sum()))
            truth = target(torch.linspace(-1, 1, CELLS + 1, dtype=torch.float64)).numpy()
            between.append(float(np.sqrt(np.mean((values - truth) ** 2))))
            run.results.setdefault(activation, (values, places))
        row: Row = {"activation": activation, "networks": len(shares), "width": WIDTH, "points": POINTS}
        for name, found in (("jump_share", shares), ("jumps", counts), ("fit_error", errors), ("error", between)):
            row |= dict(zip((name, f"{name}_lower", f"{name}_upper"), median_interval(found), strict=True))
        run.say(f"{row}")
        yield row


def plan(run: Run) -> str:
    """No network is kept: all are fitted anew."""
    scale = run.settings.scale
    return (
        f"{NETWORKS[scale]} networks for each of {', '.join(ACTIVATIONS)}, two hidden layers of {WIDTH}, fitted to "
        f"{POINTS} points by {STEPS[scale]:,} steps of Adam; no data, nothing is attacked"
    )


def figure(run: Run, rows: list[Row]) -> Figure:
    """The fit of one network of each kind, whole above and magnified below."""
    drawn, axes = plots.panels(columns=len(rows), rows=2, height=3.0)
    grid = np.linspace(-1, 1, CELLS + 1)
    x = np.linspace(-1, 1, POINTS)
    for column, row in enumerate(rows):
        values, places = run.results[row["activation"]]
        # A line broken where it jumps: no vertical strokes.
        broken = np.where(np.append(places, False), np.nan, values)
        for axis, ends in ((axes[column], (-1.02, 1.02)), (axes[column + len(rows)], (0.0, 0.3))):
            plots.law(axis, grid, target(torch.from_numpy(grid)), label="function", color=plots.MEASURED, style=":")
            axis.plot(grid, broken, color=plots.EXACT, linewidth=1, label="network")
            axis.plot(x, target(torch.from_numpy(x)), "o", color=plots.PALETTE[4], markersize=4, label="points")
            inside = (grid >= ends[0]) & (grid <= ends[1])
            low, high = values[inside].min(), values[inside].max()
            axis.set(xlim=ends, ylim=(low - 0.1 * (high - low), high + 0.1 * (high - low)))
        axes[column].set_title(
            f"{row['activation']}: {row['jumps']:g} jumps [{row['jumps_lower']:g}, {row['jumps_upper']:g}]\n"
            f"{row['jump_share']:.2f} [{row['jump_share_lower']:.2f}, {row['jump_share_upper']:.2f}] of the variation",
            fontsize=9.5,
        )
        axes[column + len(rows)].set_xlabel("x (below: magnified)")
    plots.legend(drawn)
    plots.caption(
        drawn,
        f"Two hidden layers of {WIDTH}, {POINTS} points, {STEPS[run.settings.scale]} steps of Adam. Curves: the "
        f"network of seed {run.seed}. Above: medians of n = {rows[0]['networks']} networks with exact intervals (order "
        f"statistics, level 0.95). Jumps: cells, of {CELLS:,} on [-1, 1], in which the slope leaves more than "
        f"{THRESHOLD:g} of the range unexplained; smaller jumps are not counted, but are in the variation.",
    )
    return drawn


STUDY = Study("figure_1", __doc__ or "", measure, plan, {"figure_1": figure})

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
