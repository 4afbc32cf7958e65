"""The scaling law behind Theorems 1, 8 and 9: how wide must a layer be for every ``x'`` at once?

Claimed: a width of order ``m / (gamma beta)`` times its logarithm is enough for every ``x'`` with
``d^2(x, x')/|x|^2 >= beta`` to have another pattern than ``x``, with probability ``1 - 2^-m``.
Drawn: Gaussian layers, and for each the radius ``R`` of the cell of ``x`` with its certificate and its witness: the
statement holds for the layer when ``R^2 < beta``. The smallest width at which it holds with a probability of 1/2, and
for ``m <= 4`` with ``1 - 2^-m``, is read off the quantiles of ``R^2`` over a grid of widths.
Fitted: least squares of ``log l`` against ``log m``, ``log(1/gamma)`` and ``log(1/beta)``, with every width kept as an
interval. Beside it the same fit to the widths of the proof, of its argument with exact laws, of the theorem and of
``m / (phi(q) sqrt(beta))``, with ``phi(q)`` the normal density at the threshold.
Seen at the level 1/2, for ``m`` from 2 to 16, ``gamma`` from 0.05 to 0.4, ``beta`` from 0.01 to 1: exponents of 1.23 in
``m`` (0.95 to 1.50), 0.61 in ``1/gamma`` (0.39 to 0.84) and 0.46 in ``1/beta`` (0.35 to 0.57), so both of the last lie
below the theorem's 1. In other variables and for ``beta <= 0.1``: 0.97 in ``m - 1`` (0.77 to 1.16), 0.99 in
``1/phi(q)`` (0.68 to 1.31), 0.49 in ``1/beta`` (0.30 to 0.66), which is ``(m - 1) / (phi(q) sqrt(beta))``. The
intervals hold together with probability 0.999 if ``l R`` does not increase with the width ``l``; the bands of 95 % from
a bootstrap are about a tenth as wide.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import joblib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy import optimize, stats

from kwta_theory import geometry, theory
from kwta_theory.checks import winners
from kwta_theory.report import plots
from kwta_theory.report.experiment import ERROR, Experiment, Found, Row, main, select
from kwta_theory.seeding import derive

Array = npt.NDArray[np.float64]
# For each budget: draws at each width, by the dimension. The law of R is wider in few dimensions, and cheaper.
DRAWS = {
    "quick": {2: 400, 3: 200, 4: 320, 8: 64, 16: 32},
    "standard": {2: 2400, 3: 1280, 4: 1280, 5: 1280, 8: 400, 16: 160, 24: 60},
    "thorough": {2: 10_000, 3: 5000, 4: 5000, 5: 5000, 6: 5000, 8: 2000, 16: 800, 24: 300, 32: 100},
}
RATIOS = {"quick": (0.05, 0.1, 0.4), "standard": (0.05, 0.1, 0.2, 0.4), "thorough": (0.05, 0.1, 0.2, 0.4)}
BETAS = (1.0, 0.3, 0.1, 0.03, 0.01)
SMALL_BETA = 0.1
# Widths as multiples of that at which R is about 1; the last serves the level 1 - 2^-m.
FACTORS, FARTHER = (0.8, 1.4, 2.4, 5.0, 12.0), 36.0
LARGEST_STRICT = 6
STRICT, HALF = "1 - 2^-m", "1/2"
SURE = 1 - 1e-12  # the delta of the theorem, which stays below 1
REPLICATES, BAND_ERROR = 400, 0.05
WORKERS = min(2, os.cpu_count() or 1)


def density(ratio: float) -> float:
    """The normal density at the threshold that a share ``gamma`` of the outputs exceeds."""
    return float(stats.norm.pdf(stats.norm.isf(ratio)))


def widths(input_dim: int, ratio: float) -> list[int]:
    """The grid: whole numbers of winners, around ``1.8 (m - 1) / phi(q)``."""
    step = {0.05: 20, 0.1: 10, 0.2: 5, 0.4: 5}[ratio]
    factors = (*FACTORS, FARTHER) if input_dim <= LARGEST_STRICT else FACTORS
    first = 1.8 * (input_dim - 1) / density(ratio)
    return sorted({step * max(1, round(factor * first / step)) for factor in factors})


@dataclass(frozen=True)
class Curve:
    """The brackets of ``R^2`` over a grid of widths, for one dimension, ratio and level."""

    input_dim: int
    ratio: float
    level: float
    name: str
    samples: Sequence[geometry.RadiusDistribution]

    def read(self, ends: Array, beta: float) -> tuple[float, float]:
        """Where a quantile of ``R^2`` within ``ends``, ``(widths, 2)``, falls below ``beta``: for estimates.

        Its bounds are taken to be power laws between two neighbours of the grid; where an end is 0 or infinite the
        neighbour on the safe side is taken.
        """
        places = np.log([sample.width for sample in self.samples])
        low, high = np.maximum.accumulate(ends[::-1, 0])[::-1], np.minimum.accumulate(ends[:, 1])
        return _crossing(places, low, beta, first=True), _crossing(places, high, beta, first=False)

    def bound(self, ends: Array, beta: float) -> tuple[float, float]:
        """The same, with certainty if ``l R`` does not increase with the width ``l``: no interpolation.

        A quantile of at least ``L < beta`` at ``l`` is at least ``L (l/l')^2`` at a smaller ``l'``, so the width is at
        least ``l sqrt(L/beta)``; with ``L >= beta`` it is at least ``l``. The upper end likewise.
        """
        places = np.array([sample.width for sample in self.samples], dtype=np.float64)
        low, high = np.sqrt(ends / beta).T
        return float(np.max(places * np.minimum(1.0, low))), float(np.min(places * np.maximum(1.0, high)))

    def intervals(self, beta: float, error: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """The width by the brackets alone, for the quantile of these samples; and with the error of the sampling."""
        found = [sample.quantile(self.level, error=error) for sample in self.samples]
        brackets = np.array([(each.brackets.lower, each.brackets.upper) for each in found])
        sampled = np.array([(each.interval.lower, each.interval.upper) for each in found])
        return self.read(brackets, beta), self.bound(sampled, beta)

    def resampled(self, betas: Sequence[float], rng: np.random.Generator) -> Array:
        """``(replicates, betas, 2)``: the same intervals from layers drawn again from the sample at each width."""
        ends = np.empty((REPLICATES, len(self.samples), 2))
        for place, sample in enumerate(self.samples):
            rank = math.ceil(self.level * sample.draws) - 1
            chosen = rng.integers(sample.draws, size=(REPLICATES, sample.draws))
            ends[:, place, 0] = np.partition(sample.lower[chosen], rank, axis=1)[:, rank]
            ends[:, place, 1] = np.partition(sample.upper[chosen], rank, axis=1)[:, rank]
        return np.array([[self.read(each, beta) for beta in betas] for each in ends])


def _crossing(places: Array, values: Array, beta: float, *, first: bool) -> float:
    """The width where decreasing values pass ``beta``; beyond the grid as if ``l R`` were constant."""
    below = values < beta
    if below.all() or not below.any():
        end = 0 if below.all() else -1
        return math.exp(places[end]) * math.sqrt(values[end] / beta)
    i = int(np.argmax(below))
    left, right = values[i - 1], values[i]
    if right == 0 or math.isinf(left):
        return math.exp(places[i - 1 if first else i])
    share = math.log(left / beta) / math.log(left / right)
    return math.exp(places[i - 1] + share * (places[i] - places[i - 1]))


def curves(budget: str, seed: int) -> list[Curve]:
    """All draws."""
    found = []
    for (input_dim, draws), ratio in itertools.product(DRAWS[budget].items(), RATIOS[budget]):
        # up to six dimensions the vertices are enumerated; in the plane the box is exact already
        effort = "box" if input_dim == 2 else "relaxation"
        samples = []
        for width in widths(input_dim, ratio):
            child = derive(seed, "radius-scaling", input_dim, ratio, width)
            k = winners(width, ratio)
            samples.append(
                geometry.radius_distribution(width, input_dim, k, draws, child, effort=effort, workers=WORKERS)
            )
        found.append(Curve(input_dim, ratio, 0.5, HALF, samples))
        if input_dim <= LARGEST_STRICT and draws >= 20 * 2**input_dim:
            found.append(Curve(input_dim, ratio, 1 - 2.0**-input_dim, STRICT, samples))
    return found


@dataclass(frozen=True)
class Model:
    """What is fitted: ``log l = a + Sum_j e_j log(term_j)``."""

    name: str
    level: str
    largest_beta: float
    terms: dict[str, Callable[[Row], float]]

    def chosen(self, rows: Sequence[Row]) -> list[int]:
        """The rows that count, where both ends are known."""
        right = [row["level"] == self.level and row["beta"] <= self.largest_beta for row in rows]
        return [i for i, row in enumerate(rows) if right[i] and row["lower"] > 0 and math.isfinite(row["upper"])]

    def design(self, rows: Sequence[Row]) -> Array:
        """``(rows, terms + 1)``."""
        return np.array([[1.0, *(math.log(term(row)) for term in self.terms.values())] for row in rows])


PLAIN = {
    "m": lambda row: row["input_dim"],
    "1/gamma": lambda row: 1 / row["sparsity_ratio"],
    "1/beta": lambda row: 1 / row["beta"],
}
SHARP = {
    "m - 1": lambda row: row["input_dim"] - 1,
    "1/phi(q)": lambda row: 1 / density(row["sparsity_ratio"]),
    "1/beta": PLAIN["1/beta"],
}
MODELS = (
    Model("powers of m, gamma, beta", HALF, math.inf, PLAIN),
    Model("powers of m - 1, phi(q), beta <= 0.1", HALF, SMALL_BETA, SHARP),
    Model("powers of m, gamma, beta", STRICT, math.inf, PLAIN),
)


def exponents(model: Model, rows: Sequence[Row], resampled: Array) -> Iterator[Row]:
    """The exponents of one model.

    The exponents of least squares are linear in the logarithms, ``e = A log l``. With every ``log l_i`` somewhere in
    its interval, ``e_j`` lies in ``Sum_i A_ji mid_i -+ Sum_i |A_ji| half_i``, whether or not a power law holds: it is
    then the exponent of the power law that is nearest at these points.

    - ``lower`` to ``upper``: from the intervals of all widths, which hold together; the widest and the safest.
    - ``band_lower`` to ``band_upper``: the 2.5 % and 97.5 % points over resampled layers, of the lower and the upper
      end of what the brackets allow. A bootstrap, right in the limit of many layers.
    - ``misfit``: the least factor, less one, by which the intervals must be widened for some power law to pass through
      all of them.
    """
    chosen = model.chosen(rows)
    kept = [rows[i] for i in chosen]
    design = model.design(kept)
    solve = np.linalg.pinv(design)

    def ends(intervals: Array) -> tuple[Array, Array]:
        low, high = np.moveaxis(np.log(intervals), -1, 0)
        middle, half = solve @ ((low + high) / 2).T, np.abs(solve) @ ((high - low) / 2).T
        return middle - half, middle + half

    lower, upper = ends(np.array([(row["lower"], row["upper"]) for row in kept]))
    least, most = ends(np.array([(row["sample_lower"], row["sample_upper"]) for row in kept]))
    again = resampled[:, chosen]
    again = again[np.all((again[..., 0] > 0) & np.isfinite(again[..., 1]), axis=1)]
    replicas = ends(again)
    band = (np.quantile(replicas[0], BAND_ERROR / 2, axis=1), np.quantile(replicas[1], 1 - BAND_ERROR / 2, axis=1))
    others = {
        name: solve @ np.log([row[f"width_{name}"] for row in kept])
        for name in ("sharper", "theorem", "proof", "exact_argument")
    }
    for j, term in enumerate(model.terms, start=1):
        yield {
            "kind": "exponent", "model": model.name, "level": model.level, "of": term, "points": len(kept),
            "estimate": float(least[j] + most[j]) / 2, "lower": float(lower[j]), "upper": float(upper[j]),
            "band_lower": float(band[0][j]), "band_upper": float(band[1][j]), "misfit": misfit(design, kept),
            "replicates": len(again), **{f"width_{name}": float(value[j]) for name, value in others.items()},
        }  # fmt: skip


def misfit(design: Array, rows: Sequence[Row]) -> float:
    """By a linear programme: minimise ``t`` with ``log lower_i - t <= (design e)_i <= log upper_i + t``, ``t >= 0``."""
    low, high = np.log([(row["lower"], row["upper"]) for row in rows]).T
    column = -np.ones((len(rows), 1))
    table = np.vstack([np.hstack([design, column]), np.hstack([-design, column])])
    cost = np.append(np.zeros(design.shape[1]), 1.0)
    bounds = [*[(None, None)] * design.shape[1], (0, None)]
    found = optimize.linprog(cost, A_ub=table, b_ub=np.append(high, -low), bounds=bounds)
    return math.expm1(max(0.0, float(found.fun or 0.0)))


def theories(input_dim: int, ratio: float, beta: float) -> dict[str, float]:
    """Four widths: two laws without their constants, and what is proved at the level ``1 - 2^-m``."""
    cosine, product = theory.cosine_from_beta(beta), input_dim / (ratio * beta)
    return {
        "sharper": input_dim / (density(ratio) * math.sqrt(beta)),
        "theorem": product * math.log(product),
        "proof": theory.theorem8_width(input_dim, ratio, cosine, SURE),
        "exact_argument": theory.theorem8_width(input_dim, ratio, cosine, SURE, constants="exact"),
    }


def table(budget: str, seed: int) -> list[Row]:
    """Three kinds of rows: quantiles of ``R`` at each width, widths needed, exponents."""
    drawn = curves(budget, seed)
    error = ERROR / sum(len(curve.samples) for curve in drawn)
    cells = sorted({(c.input_dim, c.ratio, beta) for c in drawn for beta in BETAS})
    granted = dict(
        zip(cells, joblib.Parallel(n_jobs=WORKERS)(joblib.delayed(theories)(*cell) for cell in cells), strict=True)
    )
    radii, needed, resampled = [], [], []
    rng = np.random.default_rng(np.random.SeedSequence(derive(seed, "radius-scaling-bootstrap")))
    for curve in drawn:
        own = {"input_dim": curve.input_dim, "sparsity_ratio": curve.ratio, "level": curve.name}
        for sample in curve.samples:
            found = sample.quantile(curve.level, error=error)
            brackets, ends = (
                (math.sqrt(each.lower), math.sqrt(each.upper)) for each in (found.brackets, found.interval)
            )
            radii.append(
                {"kind": "radius", **own, "width": sample.width, "draws": sample.draws}
                | interval(brackets, ends)
                | {"uncertified": sample.uncertified}
            )
        for beta in BETAS:
            brackets, ends = curve.intervals(beta, error)
            laws = granted[curve.input_dim, curve.ratio, beta]
            # proved for a level that is at least as strict, so no width that is needed may be above; and bounds that
            # cross would refute that l R does not increase
            inside = ends[0] <= min(ends[1], laws["exact_argument"], laws["proof"])
            needed.append(
                {"kind": "width", **own, "beta": beta, "draws": curve.samples[0].draws}
                | interval(brackets, ends)
                | {"inside": inside}
                | {f"width_{name}": value for name, value in laws.items()}
            )
        resampled.append(curve.resampled(BETAS, rng))
    again = np.concatenate(resampled, axis=1)
    fitted = [row for model in MODELS for row in exponents(model, needed, again)]
    return [*fitted, *needed, *radii]


def interval(brackets: tuple[float, float], ends: tuple[float, float]) -> Row:
    """What the brackets allow for these layers, its geometric middle, and the interval with the sampling in it."""
    known = brackets[0] > 0 and math.isfinite(brackets[1])
    estimate = math.sqrt(brackets[0] * brackets[1]) if known else brackets[0]
    found = {"sample_lower": brackets[0], "sample_upper": brackets[1], "estimate": estimate}
    return found | {"lower": ends[0], "upper": ends[1]}


NOTE = (
    "Bars hold together with probability at least 0.999 (order statistics of R^2, its brackets included); those of "
    "widths if l R does not increase with the width l. "
)
WORDS = {"sparsity_ratio": "gamma", "input_dim": "m", "beta": "beta"}
LAWS = {"sharper": ("-", "m / (phi(q) sqrt(beta))"), "theorem": (":", "m / (gamma beta) log(m / (gamma beta))")}


def points(rows: Sequence[Row], name: str) -> list[tuple[float, float, float, float]]:
    """For :func:`plots.marks`."""
    return [(row[name], row["estimate"], row["lower"], row["upper"]) for row in rows]


def over_parameters(found: Found) -> Figure:
    """The width at the level 1/2 against each parameter, and the slopes of both laws."""
    figure, axes = plots.panels(3)
    rows = [row for row in found.select(kind="width", level=HALF) if row["lower"] > 0 and math.isfinite(row["upper"])]
    dims = [row["input_dim"] for row in rows]
    ends = sorted({min(dims), max(dims)})
    panels: dict[str, list[dict[str, float]]] = {
        "input_dim": [{"sparsity_ratio": 0.1, "beta": beta} for beta in (BETAS[0], BETAS[-1])],
        "sparsity_ratio": [{"input_dim": dim, "beta": SMALL_BETA} for dim in ends],
        "beta": [{"input_dim": dim, "sparsity_ratio": 0.1} for dim in ends],
    }
    for axis, (name, fixed) in zip(axes, panels.items(), strict=True):
        for color, equal in zip(plots.PALETTE, fixed, strict=False):
            chosen = select(rows, name, **equal)
            if not chosen:
                continue
            said = ", ".join(f"{WORDS[key]} = {value:g}" for key, value in equal.items())
            plots.marks(axis, points(chosen, name), color=color, label=f"measured, {said}", bounded=False)
            anchor = chosen[0 if name == "input_dim" else -1]
            for law, (style, text) in LAWS.items():
                shape = [row[f"width_{law}"] * anchor["estimate"] / anchor[f"width_{law}"] for row in chosen]
                places = [row[name] for row in chosen]
                plots.law(axis, places, shape, color=color, style=style, label=f"slope of {text}")
                if name == "input_dim" and law == "sharper":
                    shape = [anchor["estimate"] * (dim - 1) / (places[0] - 1) for dim in places]
                    plots.law(
                        axis, places, shape, color=color, style="--", label="slope of (m - 1) / (phi(q) sqrt(beta))"
                    )
        ticks = sorted({row[name] for row in rows})
        axis.set(xscale="log", yscale="log", xlabel=WORDS[name])
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axis.set_xticks([], minor=True)
    axes[0].set_ylabel("width l at which P(holds) = 1/2")
    plots.legend(figure, columns=2)
    draws = [row["draws"] for row in rows]
    plots.caption(
        figure,
        f"{NOTE}n = {min(draws)} to {max(draws)} layers at each width, seed {found.seed}. The lines have the slope of "
        "a law and pass through one measured point; their constants are not claimed.",
    )
    return figure


def over_width(found: Found) -> Figure:
    """The radius against the width: measured, granted by the argument with exact laws, granted by the proof."""
    figure, (axis,) = plots.panels()
    strict = max(row["input_dim"] for row in found.select(kind="radius", level=STRICT))
    largest = max(row["input_dim"] for row in found.select(kind="radius"))
    for color, input_dim, level in zip(plots.PALETTE, (strict, largest), (STRICT, HALF), strict=False):
        equal = {"level": level, "input_dim": input_dim, "sparsity_ratio": 0.1}
        radii = [row for row in found.select("width", kind="radius", **equal) if math.isfinite(row["upper"])]
        label = f"m = {input_dim}: measured, level {level}"
        plots.marks(axis, points(radii, "width"), color=color, label=label, bounded=False)
        rows = found.select("beta", kind="width", **equal)
        distances = [math.sqrt(row["beta"]) for row in rows]
        for law, style, text in (("exact_argument", "--", "the proof with exact laws"), ("proof", ":", "the proof")):
            label = f"m = {input_dim}: {text}, level {STRICT}"
            plots.law(axis, [row[f"width_{law}"] for row in rows], distances, color=color, style=style, label=label)
    axis.set(xscale="log", yscale="log", xlabel="width l (outputs)", ylabel="R, as the tangent of an angle")
    axis.set_title("farther than R no x' has the pattern of x; gamma = 0.1")
    plots.legend(figure, columns=2)
    plots.caption(
        figure, f"{NOTE}Points: a quantile of R at the level, seed {found.seed}. Lines: what is proved at the level."
    )
    return figure


EXPERIMENT = Experiment(
    name="radius_scaling",
    summary=__doc__,
    table=table,
    figures={"radius_scaling_parameters": over_parameters, "radius_scaling_width": over_width},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
