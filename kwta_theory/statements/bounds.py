"""What Theorems 1 and 10 grant at a person's own sizes, and how far that is from the truth: ``kwta bounds``.

Four widths, from the weakest argument to what is seen: what the paper's proof grants, what the same argument grants
with exact laws in its steps, where the exact law says that the conclusion becomes true, and where drawn layers say so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kwta_theory import inputs, seeding, theory
from kwta_theory.inputs import Inputs
from kwta_theory.statements import disjointness, pointwise, theorem_1, theorem_10, words
from kwta_theory.statements.case import Curve
from kwta_theory.statements.judge import measure
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import Measurement


@dataclass(frozen=True)
class Bound:
    """One width.

    Attributes:
        source: what says so.
        meaning: what holds from this width on, in words.
        log_width: natural logarithm of the width; ``None`` where it was not found.
    """

    source: str
    meaning: str
    log_width: float | None


@dataclass(frozen=True)
class Bounds:
    """The widths of one theorem at given sizes.

    Attributes:
        title: the theorem with its sizes.
        level: the probability that is asked for, in words.
        bounds: from the weakest argument to what is seen.
        reference: which of them is nearest to the truth (an index): the others are compared with it; ``None`` where
            none was found.
        remarks: what else was measured, in sentences without full stop.
        curves: lines of the figure.
        measured: widths (as logarithms) with what was counted there, for the figure.
    """

    title: str
    level: str
    bounds: tuple[Bound, ...]
    reference: int | None
    remarks: tuple[str, ...]
    curves: tuple[Curve, ...]
    measured: tuple[tuple[float, Measurement], ...] = ()

    def ratio(self, bound: Bound) -> str:
        """How many times as wide as the reference, in words."""
        nearest = None if self.reference is None else self.bounds[self.reference].log_width
        if bound.log_width is None or nearest is None:
            return "-"
        ratio = bound.log_width - nearest
        return words.power_of_ten(ratio) if abs(ratio) > math.log(1e5) else f"{math.exp(ratio):,.3g}"


def theorem_1_bounds(settings: Settings) -> Bounds:
    """Theorem 1 at ``settings.input_dim``, ``sparsity_ratio`` and ``beta``.

    "Measured" draws layers at the width at which the exact law of one fixed ``x'`` reaches the level. Counting cannot
    confirm a probability of ``1 - 2^-m``; what ``n`` unanimous layers do support is said instead.

    Raises:
        InvalidArgumentError: a hypothesis of the theorem fails.
    """
    theorem_1.check_hypotheses(settings)
    m, ratio = settings.input_dim, settings.sparsity_ratio
    rotation = theorem_1.claim(m, settings)
    exact = pointwise.exact_argument_width(m, ratio, rotation)
    first = pointwise.first_change(ratio, rotation)
    basis = inputs.points_with_cosine(2, 0.0, m)
    seen: tuple[tuple[float, Measurement], ...] = ()
    remarks: tuple[str, ...] = ()
    if first.log_width is not None:
        width = round(math.exp(first.log_width))
        case = pointwise.change_case(basis, settings, rotation, width, simulated=True)
        error = settings.budget.interval_error
        measured, _ = measure(case, settings, error, seeding.derive(settings.seed, "bounds", "theorem-1"))
        if measured is not None:
            counts, supported = measured.failures, 1 - measured.interval.upper
            seen = ((first.log_width, measured),)
            remarks = (
                f"measured at width {width:,}: one fixed x' changed the pattern in {counts.failures:,} of "
                f"{counts.trials:,} layers, which supports P >= {supported:.6g} and cannot support more "
                f"(interval at error {error:.2g})",
            )
    bounds = (
        Bound("the paper's proof", "every x' at once, by its own constants", math.log(rotation.granted_width)),
        Bound("the same argument, exact laws", "every x' at once", math.log(exact)),
        Bound("the exact law", "one fixed x', which every x' at once needs, too", first.log_width),
    )
    return Bounds(
        f"Theorem 1: m = {m}, gamma = {ratio:g}, beta = {settings.beta:g}",
        words.at_least(rotation.log_failure),
        bounds,
        None if first.log_width is None else 2,
        remarks,
        (
            *pointwise.change_curves(settings, rotation),
            *pointwise.proved_curves(m, settings, rotation),
        ),
        seen,
    )


def theorem_10_bounds(settings: Settings, points: Inputs) -> Bounds:
    """Theorem 10 at the given points, ``settings.k`` and ``failure``.

    Raises:
        InvalidArgumentError: a hypothesis of the theorem fails.
    """
    theorem_10.check_hypotheses(settings)
    disjointness.check_points(points)
    cosine = disjointness.bounding_cosine(points)
    granted = disjointness.granted_log_width(points, settings)
    exact = theory.theorem10_log_width(
        points.count, points.input_dim, settings.k, cosine, settings.failure, constants="exact"
    )
    below, above = disjointness.law_widths(disjointness.pair_cosines(points), settings.k, settings.failure, granted)
    found = disjointness.measured_crossing(points, settings)
    bounds = [
        Bound("the paper's proof", "all points with these cosines or smaller ones", granted),
        Bound("the same argument, exact laws", "all points with cosines up to the largest", exact),
        Bound("the exact law, sum over pairs", "these points, at the latest", above),
    ]
    remarks: tuple[str, ...] = ()
    if found is not None:
        bounds.append(Bound("measured on drawn layers", "these points, at the latest", found.above))
        bounds.append(Bound("measured on drawn layers", "these points, not before", found.below))
        remarks = (
            f"measured: the level is crossed between the widths {words.width(found.below)} and "
            f"{words.width(found.above)}, decided by counting at {found.decisions} widths with up to "
            f"{found.trials:,} layers each",
        )
    if below is not None:
        bounds.append(Bound("the exact law, closest pair", "these points, not before", below))
    return Bounds(
        f"Theorem 10: N = {points.count}, m = {points.input_dim}, k = {settings.k}, "
        f"largest cosine = {disjointness.pair_cosines(points)[0]:.4g}",
        words.at_least(math.log(settings.failure)),
        tuple(bounds),
        None if above is None else 2 if found is None else 3,
        remarks,
        tuple(disjointness.disjoint_curves(points, settings)),
    )
