"""Lemma 6: the unit vectors in the range of ``U in R^(m x d)`` have an ``epsilon``-net of ``(1 + 1/epsilon)^d`` points.

For ``epsilon in (0, 1)``. The range has a dimension ``r <= d``, its unit vectors are a sphere in ``R^r``, and the bound
grows with ``d``; so the lemma is about the unit sphere in ``R^d``, with the centres on the sphere (Definition 7).

As printed it is false. The paper quotes a textbook; the size that the volume argument proves is ``(1 + 2/epsilon)^d``,
which is judged here as the repaired form. With 1 for 2 it fails in high dimensions, near ``epsilon = 1/(d - 1)``: at
``d = 784`` every net there has at least 4.9 times as many points. Locally a sphere is a Euclidean space of dimension
``d - 1``, and a covering of that by balls has a density of at least about ``d/e^1.5`` (Coxeter, Few and Rogers; the
docstring of :func:`~kwta_theory.theory.nets.log_net_lower_bound` carries it over to the sphere with proof). So a net
needs some ``0.56 d^1.5 epsilon^-(d-1)`` points, while at ``epsilon = 1/(d-1)`` the lemma allows ``(1 +
epsilon)^d/epsilon``, about ``e d``, times ``epsilon^-(d-1)``.

The printed size is right for ``d = 1, 2``, in high dimensions for ``epsilon`` above some ``10/d``, at every ``d`` for
small enough ``epsilon``, and for the net of Theorem 8, whose proof takes ``d = m - 1`` and allows itself the exponent
``m`` (where random caps with a repair give one). For ``d`` from 3 to 18 nothing here decides it. Lemma 10 and Remark 1,
whose proofs also refer to Lemma 6, are true by arguments without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from scipy import special

from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.settings import Settings
from kwta_theory.theory import nets

TEXT = (
    "For U in R^(m x d), S = {Uy : |Uy| = 1} and epsilon in (0, 1), there is an epsilon-net of S with at most "
    "(1 + 1/epsilon)^d points."
)
# Logarithms of sizes are computed to about 1e-12 of themselves; a comparison closer than this is left open.
ACCURACY = 1e-9


def check_hypotheses(settings: Settings) -> None:
    """There is none beyond ``epsilon in (0, 1)``, which is not a parameter of the run."""
    del settings


def theorem8_distance(settings: Settings) -> float:
    """The ``epsilon = sqrt(2 pi (1 - alpha^2)) / (720 alpha sqrt(m l))`` of the proof of Theorem 8, ``alpha > 0``."""
    sine = math.sqrt((1.0 - settings.cosine) * (1.0 + settings.cosine))
    return math.sqrt(2.0 * math.pi) * sine / (720.0 * settings.cosine * math.sqrt(settings.input_dim * settings.width))


def below(log_size: float, log_limit: float) -> bool:
    """Whether a size is below a limit beyond the accuracy of both."""
    return log_size <= log_limit - ACCURACY * max(1.0, abs(log_limit))


def times(log_ratio: float) -> str:
    """A ratio of two sizes in words."""
    return words.probability(log_ratio) if log_ratio < 10.0 else words.power_of_ten(log_ratio)


def volumes(context: RouteContext) -> Finding:
    """The volume argument: ``N (epsilon/2)^r <= (1 + epsilon/2)^r``, and ``(1 + 2/epsilon)^r <= (1 + 2/epsilon)^d``."""
    del context
    distances = [Fraction(1, 10**power) for power in range(1, 13)] + [Fraction(j, 13) for j in range(1, 13)]
    wrong = [x for x in distances if (1 + x / 2) / (x / 2) != 1 + 2 / x]
    return settle(
        "volumes",
        not wrong,
        "a largest set of unit vectors at distances above epsilon is a net, and the balls of radius epsilon/2 around "
        "its N points are disjoint inside the ball of radius 1 + epsilon/2, so N is at most the ratio of the volumes, "
        "((1 + epsilon/2)/(epsilon/2))^r = (1 + 2/epsilon)^r in the r <= d dimensions of the range of U",
        witness="from fractions import Fraction; x = Fraction(1, 7); (1 + x / 2) / (x / 2), 1 + 2 / x",
        instances=1,
    )


def separated(generator: np.random.Generator, input_dim: int, distance: float, draws: int) -> int:
    """The number of points of a set with distances above ``distance``, chosen greedily from random unit vectors."""
    points = generator.standard_normal((draws, input_dim))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    count = 0
    while len(points):
        count += 1
        points = points[np.square(points - points[0]).sum(axis=1) > distance * distance]
    return count


def greedy_sets(context: RouteContext) -> Finding:
    """Greedy separated sets in low dimensions: each is part of a largest one, which the volume argument bounds."""
    closest, seen, against, witness = 0.0, 0, 0, ""
    for input_dim in range(1, 6):
        for distance in (0.25, 0.5, 0.75, 0.99):
            entropy = [context.seed, input_dim]
            generator = np.random.default_rng(np.random.SeedSequence(entropy))
            share = separated(generator, input_dim, distance, 2000) / (1.0 + 2.0 / distance) ** input_dim
            closest, seen = max(closest, share), seen + 1
            if share > 1.0:
                against += 1
                witness = (
                    "import numpy as np; from kwta_theory.statements import lemma_6; lemma_6.separated("
                    f"np.random.default_rng(np.random.SeedSequence({entropy})), {input_dim}, {distance}, 2000)"
                )
    return search(
        "greedy sets",
        seen,
        against,
        f"{seen} sets of points at distances above epsilon in 1 to 5 dimensions have at most {closest:.3g} of the "
        "points that a net is allowed",
        witness,
    )


def constructed_nets(input_dim: int) -> Route:
    """The smallest nets on the circle (or of two points) against the printed size, over a grid of ``epsilon``."""

    def route(context: RouteContext) -> Finding:
        del context
        distances = np.geomspace(1e-3, 0.999, 500).tolist()
        sizes = [len(nets.sphere_net(input_dim, distance)) for distance in distances]
        allowed = [(1.0 + 1.0 / distance) ** input_dim for distance in distances]
        wrong = [x for x, size, most in zip(distances, sizes, allowed, strict=True) if size > most]
        closest = max(size / most for size, most in zip(sizes, allowed, strict=True))
        return search(
            "constructed nets",
            len(distances),
            len(wrong),
            f"at {len(distances)} values of epsilon the smallest net has at most {closest:.3g} of the points allowed",
            f"from kwta_theory.theory import nets; len(nets.sphere_net({input_dim}, {wrong[0]!r}))" if wrong else "",
        )

    return route


def existence(input_dim: int, distance: float, log_limit: float) -> Route:
    """Whether a net below the limit exists, by volumes, areas, or random caps with a repair."""

    def route(context: RouteContext) -> Finding:
        del context
        size = nets.log_net_upper_bound(input_dim, distance)
        text = (
            f"there is a net of at most {words.power_of_ten(size)} points, "
            f"{times(size - log_limit)} times the size claimed"
        )
        if below(size, log_limit):
            return settle("random caps with a repair, areas, volumes", True, text, "")
        return search("random caps with a repair, areas, volumes", 1, 0, text)

    return route


def necessity(input_dim: int, distance: float, log_limit: float, route_name: str = "simplices and areas") -> Route:
    """Whether every net must be above the limit, by the simplex bound or the area bound."""

    def route(context: RouteContext) -> Finding:
        del context
        size = nets.log_net_lower_bound(input_dim, distance)
        text = (
            f"every net at epsilon = {distance:.6g} in {input_dim} dimensions has at least "
            f"{times(size - log_limit)} times the size claimed"
        )
        if not below(log_limit, size):
            return search(route_name, 1, 0, text)
        return settle(route_name, False, text, necessity_call(input_dim, distance, log_limit))

    return route


def necessity_call(input_dim: int, distance: float, log_limit: float) -> str:
    """Python that shows the lower bound and the limit."""
    return f"from kwta_theory.theory import nets; nets.log_net_lower_bound({input_dim}, {distance!r}), {log_limit!r}"


def log_simplex_bound(input_dim: int, distance: float) -> float:
    """The simplex bound of :func:`~kwta_theory.theory.nets.log_net_lower_bound`, its integral computed, not bounded.

    ``exp(-t^2/2)`` is the Fourier transform of itself, so ``J_n = (2 pi)^(-1/2) int exp(-z^2/2) psi(z)^n dz`` with
    ``psi(z) = int_0^oo exp(-x^2/2 + i x z) dx = sqrt(pi/2) w(z/sqrt(2))``, ``w`` the Faddeeva function: along the line
    through the saddle point near ``i sqrt(n)`` the integrand is a bell of width about 1, and the trapezoidal sum of an
    analytic function converges geometrically.

    >>> from kwta_theory.theory import nets
    >>> 0 < log_simplex_bound(784, 1 / 783) - nets.log_net_lower_bound(784, 1 / 783) < 0.2
    True
    """
    n = input_dim - 1
    z = np.linspace(-12.0, 12.0, 2401) + 1j * math.sqrt(n)
    log_terms = -0.5 * z * z + n * np.log(math.sqrt(0.5 * math.pi) * special.wofz(z / math.sqrt(2.0)))
    peak = float(log_terms.real.max())
    total = float(np.exp(log_terms - peak).real.sum()) * 0.01 / math.sqrt(2.0 * math.pi)
    square_edge = 2.0 * input_dim / n * distance**2 * (1.0 - 0.25 * distance**2)
    return (
        math.log(2.0 * math.sqrt(math.pi))
        + math.lgamma(input_dim + 1)
        - math.lgamma(0.5 * input_dim)
        + input_dim * math.log1p(-0.5 * distance**2)
        - 0.5 * n * math.log(square_edge)
        + peak
        + math.log(total)
    )


def computed_simplices(input_dim: int, distance: float, log_limit: float) -> Route:
    """The simplex bound once more, with its integral by another method."""

    def route(context: RouteContext) -> Finding:
        del context
        size = log_simplex_bound(input_dim, distance)
        against = int(below(log_limit, size))
        return search(
            "simplices by a contour integral",
            1,
            against,
            f"at least {times(size - log_limit)} times the size claimed",
            f"from kwta_theory.statements import lemma_6; lemma_6.log_simplex_bound({input_dim}, {distance!r}), "
            f"{log_limit!r}"
            if against
            else "",
        )

    return route


def small_dimensions(input_dim: int) -> Route:
    """All ``epsilon in (0, 1)`` for ``d = 1`` and ``d = 2``, where the smallest net is known."""

    def route(context: RouteContext) -> Finding:
        del context
        if input_dim == 1:
            return settle("both points", True, "the 2 unit vectors, and 1 + 1/epsilon is above 2", "")
        # ceil(pi/(2 arcsin(e/2))) < pi/e + 1 <= (1 + 1/e)^2 where 1/e >= pi - 2; for larger e, (1 + 1/e)^2 > 4, and the
        # square is a net from e = 2 sin(pi/8) on, which is below 1/(pi - 2).
        holds = 2.0 * math.sin(math.pi / 8.0) < 1.0 / (math.pi - 2.0)
        text = (
            "a regular polygon has fewer than pi/epsilon + 1 corners, at most (1 + 1/epsilon)^2 for epsilon up to "
            f"1/(pi - 2) = {1 / (math.pi - 2):.4f}; above {2 * math.sin(math.pi / 8):.4f} a square is enough"
        )
        return settle(
            "regular polygons", holds, text, "from kwta_theory.theory import nets; len(nets.sphere_net(2, 0.9))"
        )

    return route


def printed_claim(input_dim: int, scope: str | None = None) -> Claim:
    """The size as printed for every ``epsilon in (0, 1)`` at one ``d``."""
    distance = 1.0 / (input_dim - 1) if input_dim > 2 else 0.5
    limit = nets.log_printed_net_size(input_dim, distance)
    routes: tuple[Route, ...]
    if input_dim <= 2:
        routes = (small_dimensions(input_dim), constructed_nets(input_dim))
    else:
        routes = (necessity(input_dim, distance, limit), computed_simplices(input_dim, distance, limit))
    return Claim(
        {"d": input_dim, "epsilon": "every value in (0, 1)"},
        "there is a net of at most (1 + 1/epsilon)^d points",
        routes,
        would_decide="a construction for every epsilon, or a stronger lower bound,",
        scope=scope,
    )


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """The repaired size for all, and the printed one where the proof of Theorem 8 uses it."""
    del inputs
    yield Claim(
        {"d": "every d", "epsilon": "every value in (0, 1)"},
        "there is a net of at most (1 + 2/epsilon)^d points",
        (volumes, greedy_sets),
        scope="repaired: 2 for 1",
    )
    if 0.5 < settings.cosine < 1:
        m, distance = settings.input_dim, theorem8_distance(settings)
        limit = nets.log_printed_net_size(m, distance)
        yield Claim(
            {"d": m - 1, "epsilon": float(f"{distance:.4g}")},
            f"there is a net of at most (1 + 1/epsilon)^(d+1) = {words.power_of_ten(limit)} points",
            (existence(m - 1, distance, limit), necessity(m - 1, distance, limit)),
            would_decide="a better construction",
            note="the proof of Theorem 8 takes a net in d = m - 1 dimensions and allows itself the exponent m",
            scope="at the net of Theorem 8",
        )


def printed_cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """As printed: on the circle, where it is true, and in the run's dimension."""
    del inputs
    for input_dim in sorted({2, settings.input_dim}):
        yield printed_claim(input_dim)


STATEMENT = Statement(
    "lemma-6", "Lemma 6 (repaired)", TEXT, check_hypotheses, cases, scope="repaired", uses_inputs=False
)
AS_PRINTED = Statement(
    "lemma-6-as-printed",
    "Lemma 6 as printed",
    TEXT,
    check_hypotheses,
    printed_cases,
    scope="as printed",
    uses_inputs=False,
)
