"""Remark 1: ``N`` unit vectors with pairwise cosines at most ``alpha`` have ``N <= (1 + 2/sqrt(2(1-alpha)))^m``.

For ``alpha in (0.5, 1)``; the paper prints ``|N|`` for ``N``. It is true for every ``m`` and every ``alpha < 1``,
without a net: with ``rho = sqrt(2(1-alpha))/2`` the vectors are at distances of at least ``2 rho``, so the balls of
radius ``rho`` around them overlap on their rims at most, inside the ball of radius ``1 + rho``, whence
``N rho^m <= (1 + rho)^m``.

The paper's proof takes a ``rho``-net of ``(1 + 1/rho)^m`` points from Lemma 6, which does not always exist (see
:mod:`~kwta_theory.statements.lemma_6`). It also needs "for each ``x_i`` a point of the net at a distance below
``rho``", where a net grants a distance of at most ``rho``. That is harmless: a point at distance at most ``rho`` from
two vectors ``2 rho`` apart is their midpoint, which is not on the sphere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from kwta_theory import checks, theory
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.settings import Settings
from kwta_theory.theory import codes

ACCURACY = 1e-9


def check_hypotheses(settings: Settings) -> None:
    """``alpha in (0.5, 1)``, where the points have no larger cosine themselves."""
    if not 0.5 < settings.cosine < 1:
        raise checks.InvalidArgumentError(
            f"cosine={settings.cosine!r} is outside the hypothesis of Remark 1: alpha must be in (0.5, 1)."
        )


def log_bound(input_dim: int, cosine: float) -> float:
    """``m log(1 + 2/sqrt(2(1-alpha)))``.

    >>> round(math.exp(log_bound(2, 0.5)), 9)
    9.0
    """
    return input_dim * math.log1p(2.0 / math.sqrt(2.0 * (1.0 - cosine)))


def by_volumes(input_dim: int, cosine: float, log_limit: float) -> Route:
    """``((1 + rho)/rho)^m`` against the limit."""

    def route(context: RouteContext) -> Finding:
        del context
        # rho^2 = (1 - alpha)/2, and ((1 + rho)/rho)^m is the remark's own expression, (1 + 1/rho)^m.
        rho = math.sqrt(0.5 * (1.0 - cosine))
        size = input_dim * (math.log1p(rho) - math.log(rho))
        text = (
            f"disjoint balls of radius {rho:.4g} inside one of radius {1 + rho:.4g}: at most {words.power_of_ten(size)}"
        )
        if size <= log_limit + ACCURACY * abs(log_limit):
            return settle("volumes of balls", True, text, "")
        return search("volumes of balls", 1, 0, text)

    return route


def by_areas(input_dim: int, cosine: float, log_limit: float) -> Route:
    """The area of the sphere over that of a cap of half the angle, against the limit."""

    def route(context: RouteContext) -> Finding:
        del context
        size = theory.log_packing_bound(input_dim, cosine)
        text = f"disjoint caps of half the angle: at most {words.power_of_ten(size)}"
        if size <= log_limit - ACCURACY * abs(log_limit):
            return settle("areas of caps", True, text, "")
        return search("areas of caps", 1, 0, text)

    return route


def known_codes(input_dim: int, cosine: float, log_limit: float) -> Route:
    """Known sets of unit vectors with small cosines, in this dimension or in a subspace of it."""

    def route(context: RouteContext) -> Finding:
        del context
        found = [(name, points) for name, points in codes.constructed(input_dim, cosine)]
        sizes = {name: len(points) for name, points in found if codes.largest_cosine(points) <= cosine + 1e-12}
        against = [name for name, size in sizes.items() if math.log(size) > log_limit + ACCURACY]
        largest = max(sizes, key=lambda name: sizes[name])
        return search(
            "known sets",
            len(sizes),
            len(against),
            f"of {len(sizes)} known sets with cosines at most alpha, the largest is {largest} with {sizes[largest]:,}",
            f"from kwta_theory.theory import codes; [(name, len(p), codes.largest_cosine(p)) for name, p in "
            f"codes.constructed({input_dim}, {cosine!r})], {log_limit!r}"
            if against
            else "",
        )

    return route


def claim(input_dim: int, cosine: float, count: int, limit: float | None = None) -> Claim:
    """The bound at one ``m`` and ``alpha``, with the number of points of the run."""
    log_limit = log_bound(input_dim, cosine) if limit is None else limit

    def given_points(context: RouteContext) -> Finding:
        del context
        against = int(math.log(count) > log_limit + ACCURACY)
        text = f"{count:,} points with cosines at most alpha, of {words.power_of_ten(log_limit)} allowed"
        return search("the points of the run", 1, against, text, f"{count}, {log_limit!r}" if against else "")

    return Claim(
        {"m": input_dim, "alpha": float(f"{cosine:.10g}"), "N": count},
        f"N <= {words.power_of_ten(log_limit)}",
        (
            by_volumes(input_dim, cosine, log_limit),
            by_areas(input_dim, cosine, log_limit),
            known_codes(input_dim, cosine, log_limit),
            given_points,
        ),
    )


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """At the dimension of the points and their largest cosine, or at the run's ``alpha`` if theirs is at most 1/2."""
    largest = inputs.max_cosine() if inputs.count > 1 else 0.0
    yield claim(inputs.input_dim, largest if 0.5 < largest < 1.0 else settings.cosine, inputs.count)


STATEMENT = Statement(
    "remark-1",
    "Remark 1",
    "If N unit vectors in R^m have pairwise cosines at most alpha in (0.5, 1), then N <= (1 + 2/sqrt(2(1 - alpha)))^m.",
    check_hypotheses,
    cases,
)
