"""Lemma 7: the unit vectors at cosine ``alpha`` to ``x`` have an ``epsilon``-net of ``(1 + 1/epsilon)^(m-1)`` points.

For ``alpha in (-1, 1)``, ``epsilon in (0, 1)``. The slice is the sphere of radius ``r = sqrt(1 - alpha^2)`` in ``m -
1`` dimensions, so that its ``epsilon``-nets are the ``epsilon/r``-nets of the unit sphere there, whence

    N <= (1 + 2 r/epsilon)^(m-1) <= (1 + 2/epsilon)^(m-1).

The reduction in the paper is right and gives away the factor ``r``. As printed the lemma is false with Lemma 6, at
``alpha = 0`` in high dimensions. It is true for ``|alpha| >= sqrt(3)/2 = 0.866``, where ``2 r <= 1``, and for Theorem 8
in the run's dimensions. For ``m = 1`` the slice is empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from kwta_theory import checks
from kwta_theory.inputs import Inputs
from kwta_theory.statements import lemma_6, words
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.settings import Settings
from kwta_theory.theory import nets

TEXT = (
    "For |x| = 1, alpha in (-1, 1) and epsilon in (0, 1), the set of all unit x' with <x, x'> = alpha has an "
    "epsilon-net of at most (1 + 1/epsilon)^(m-1) points."
)


def check_hypotheses(settings: Settings) -> None:
    """``alpha in (-1, 1)``."""
    if not -1 < settings.cosine < 1:
        raise checks.InvalidArgumentError(
            f"cosine={settings.cosine!r} is outside the hypothesis of Lemma 7: alpha must be in (-1, 1)."
        )


def radius(cosine: float) -> float:
    """``sqrt(1 - alpha^2)``, the radius of the slice."""
    return math.sqrt((1.0 - cosine) * (1.0 + cosine))


def slice_net(cosine: float, distance: float, input_dim: int) -> npt.NDArray[np.float64]:
    """The lemma's net of the slice around ``x = e_1``, ``alpha x + sqrt(1 - alpha^2) z``, for ``m = 2, 3, 4``.

    >>> slice_net(0.6, 0.5, 2).tolist()
    [[0.6, -0.8], [0.6, 0.8]]
    """
    around = nets.sphere_net(input_dim - 1, distance)
    return np.column_stack([np.full(len(around), cosine), radius(cosine) * around])


def scaling(context: RouteContext) -> Finding:
    """Distances in the slice are ``r`` times those of the sphere, and ``(1 + 2 r/epsilon) <= (1 + 2/epsilon)``."""
    del context
    return settle(
        "scaling",
        True,
        "z -> alpha x + r z with r = sqrt(1 - alpha^2) <= 1 maps the unit sphere in m - 1 dimensions onto the slice "
        "and multiplies distances by r, so a net of at most (1 + 2 r/epsilon)^(m-1) points exists by volumes",
        witness="",
    )


def constructed(context: RouteContext) -> Finding:
    """Random points of slices in 2, 3 and 4 dimensions against the constructed nets and their sizes."""
    seen = against = 0
    farthest, witness = 0.0, ""
    for input_dim in (2, 3, 4):
        for cosine in (-0.9, 0.0, 0.5, 0.9):
            for distance in (0.3, 0.6, 0.99):
                net = slice_net(cosine, distance, input_dim)
                generator = np.random.default_rng(np.random.SeedSequence([context.seed, input_dim]))
                around = generator.standard_normal((500, input_dim - 1))
                around *= radius(cosine) / np.linalg.norm(around, axis=1, keepdims=True)
                apart = np.linalg.norm(around[:, None, :] - net[None, :, 1:], axis=2).min(axis=1).max()
                wrong = apart > distance + 1e-12 or len(net) > (1 + 2 / distance) ** (input_dim - 1)
                seen, against, farthest = seen + 1, against + int(wrong), max(farthest, float(apart / distance))
                if wrong:
                    arguments = f"{cosine}, {distance}, {input_dim}"
                    witness = f"from kwta_theory.statements import lemma_7; lemma_7.slice_net({arguments})"
    return search(
        "constructed nets",
        seen,
        against,
        f"in {seen} slices of 2, 3 and 4 dimensions, the farthest of 500 random points is {farthest:.3f} epsilon away "
        "from a constructed net of allowed size",
        witness,
    )


def printed_claim(settings: Settings) -> Claim:
    """The printed size at the run's ``m`` and ``alpha``: for every ``epsilon`` if ``2 r <= 1``, else at Theorem 8's."""
    d, r = settings.input_dim - 1, radius(settings.cosine)
    given = {"m": settings.input_dim, "alpha": float(f"{settings.cosine:.10g}")}

    claimed = "there is a net of at most (1 + 1/epsilon)^(m-1) points"
    if r < 0.5:

        def by_radius(context: RouteContext) -> Finding:
            del context
            text = f"a net of at most (1 + 2 r/epsilon)^(m-1) points exists by volumes, and 2 r = {2 * r:.4g} <= 1"
            return settle("the radius of the slice", True, text, "")

        return Claim(
            {**given, "epsilon": "every value in (0, 1)"},
            claimed,
            (by_radius, over_distances(d, r)),
            scope="the printed size at this alpha",
        )
    distance = lemma_6.theorem8_distance(settings)
    limit = nets.log_printed_net_size(d, distance)
    return Claim(
        {**given, "epsilon": float(f"{distance:.4g}")},
        claimed,
        (lemma_6.existence(d, distance / r, limit), lemma_6.necessity(d, distance / r, limit)),
        would_decide="a better construction",
        note=f"(1 + 1/epsilon)^(m-1) is {words.power_of_ten(limit)}",
        scope="at the net of Theorem 8",
    )


def over_distances(sphere_dim: int, slice_radius: float) -> Route:
    """The lower bounds of a net against the printed size, over a grid of ``epsilon``."""

    def route(context: RouteContext) -> Finding:
        del context
        distances = [x for x in np.geomspace(1e-6, 0.999, 60).tolist() if x < slice_radius]
        ratios = {
            x: nets.log_net_lower_bound(sphere_dim, x / slice_radius) - nets.log_printed_net_size(sphere_dim, x)
            for x in distances
        }
        against = [x for x, ratio in ratios.items() if ratio > 1e-6]
        return search(
            "simplices and areas over a grid",
            len(ratios),
            len(against),
            f"at {len(ratios)} values of epsilon the lower bound of a net is at most "
            f"{lemma_6.times(max(ratios.values(), default=-math.inf))} times the size claimed",
            lemma_6.necessity_call(sphere_dim, against[0] / slice_radius, 0.0) if against else "",
        )

    return route


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """The repaired size for all, and the printed one at the run's ``alpha``."""
    del inputs
    yield Claim(
        {"m": "every m", "alpha": "every value in (-1, 1)", "epsilon": "every value in (0, 1)"},
        "there is a net of at most (1 + 2/epsilon)^(m-1) points",
        (scaling, constructed),
        scope="repaired: 2 for 1",
    )
    if settings.cosine > 0:  # Theorem 8 has alpha in (0.5, 1)
        yield printed_claim(settings)


def printed_cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """As printed, at ``alpha = 0``, where the slice is a whole unit sphere, in the run's dimension."""
    del inputs
    claim = lemma_6.printed_claim(settings.input_dim - 1)
    yield Claim(
        {"m": settings.input_dim, "alpha": 0.0, "epsilon": "every value in (0, 1)"},
        "there is a net of at most (1 + 1/epsilon)^(m-1) points",
        claim.routes,
        would_decide=claim.would_decide,
        note="at alpha = 0 the slice is the unit sphere in m - 1 dimensions",
    )


STATEMENT = Statement(
    "lemma-7", "Lemma 7 (repaired)", TEXT, check_hypotheses, cases, scope="repaired", uses_inputs=False
)
AS_PRINTED = Statement(
    "lemma-7-as-printed",
    "Lemma 7 as printed, at alpha = 0",
    TEXT,
    check_hypotheses,
    printed_cases,
    scope="as printed",
    uses_inputs=False,
)
