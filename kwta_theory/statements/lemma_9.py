"""Lemma 9: a vector near ``x`` and one far from ``x`` are far from each other.

If ``cos(x, y) <= alpha`` and ``cos(x, z) >= beta`` with ``alpha, beta >= 0``, then ``cos(y, z) <= alpha + sqrt(1 -
beta^2)``; and with ``beta = (2 + alpha + sqrt(2 - alpha^2))/4``, ``cos(y, z) <= (1 - eps_alpha) beta`` for an
``eps_alpha in (0, 1)`` that only depends on ``alpha``.

The largest ``cos(y, z)`` is known exactly. Angles are a metric on the sphere, so ``angle(y, z) >= angle(x, y) -
angle(x, z) >= arccos(alpha) - arccos(beta)``, and three vectors in a plane attain it:

    max cos(y, z) = alpha beta + sqrt((1 - alpha^2)(1 - beta^2))  for alpha <= beta,  and 1 for alpha > beta.

In the first case the lemma's bound exceeds it by ``alpha (1 - beta) + sqrt(1 - beta^2) (1 - sqrt(1 - alpha^2)) >= 0``,
in the second because ``alpha > beta`` and ``beta + sqrt(1 - beta^2) >= 1``. So the first part is true.

The second part needs ``alpha < 1``, which the lemma does not say: at ``alpha = 1`` its ``beta`` is 1, and ``x = y = z``
has cosine 1, above ``1 - eps`` for every ``eps > 0``. (Theorem 10 has ``alpha < 1``.) For ``alpha < 1`` one may take
``eps_alpha = 1 - (alpha + sqrt(1 - beta^2))/beta``, which tends to 0 like ``(1 - 1/sqrt(2)) (1 - alpha)``. The
vectors must not be zero, and the proof divides by ``|y'|``, which is 0 for ``y`` parallel to ``x``: then
``cos(y, z) = a b_1 <= alpha`` directly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from kwta_theory import checks
from kwta_theory.inputs import Inputs
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.lemma_8 import net_gap
from kwta_theory.statements.settings import Settings

TEXT = (
    "If cos(x, y) <= alpha and cos(x, z) >= beta for alpha, beta >= 0, then cos(y, z) <= alpha + sqrt(1 - beta^2); and "
    "if beta = (2 + alpha + sqrt(2 - alpha^2))/4, then cos(y, z) <= (1 - eps) beta with eps in (0, 1) that only "
    "depends on alpha."
)
TRIPLES = 20_000
# Of a cosine of vectors with at most 10 entries.
ROUNDING = 1e-14


def check_hypotheses(settings: Settings) -> None:
    """``alpha in [0, 1)``: at ``alpha = 1`` the second part is false."""
    if not 0 <= settings.cosine < 1:
        raise checks.InvalidArgumentError(
            f"cosine={settings.cosine!r} is outside the hypothesis of Lemma 9: alpha must be in [0, 1)."
        )


def shrinkage(cosine: float) -> float:
    """``eps_alpha = 1 - (alpha + sqrt(1 - beta^2))/beta`` with the ``beta`` of the second part, for ``alpha < 1``.

    With ``u = 1 - beta``: ``(1 - alpha - u - sqrt(u (2 - u)))/(1 - u)``, whose three terms are in the ratio 1 to
    ``(1 - alpha)/4`` to ``1/sqrt(2)`` next to ``alpha = 1``, so that nothing cancels.

    >>> round(shrinkage(0.9), 6), round(shrinkage(1 - 2**-40) * 2**40, 6)
    (0.030265, 0.292893)
    """
    u = net_gap(cosine)
    return (1.0 - cosine - u - math.sqrt(u * (2.0 - u))) / (1.0 - u)


def largest_cosine(alpha: float, beta: float) -> float:
    """The largest ``cos(y, z)`` under the hypotheses, for ``alpha`` and ``beta`` in [0, 1].

    >>> largest_cosine(0.6, 0.8), largest_cosine(0.9, 0.8)
    (0.96, 1.0)
    """
    if alpha > beta:
        return 1.0
    return alpha * beta + math.sqrt((1.0 - alpha) * (1.0 + alpha) * (1.0 - beta) * (1.0 + beta))


def triples(
    generator: np.random.Generator, count: int, input_dim: int, alpha: float, beta: float
) -> npt.NDArray[np.float64]:
    """``cos(y, z)`` of random pairs that satisfy the hypotheses, half of them next to the largest possible one.

    ``y = a x + sqrt(1 - a^2) u`` and ``z = b x + sqrt(1 - b^2) v`` with ``a <= alpha``, ``b >= beta`` and random units
    ``u, v`` orthogonal to ``x``; for the adversarial half ``a = alpha`` and ``b`` is ``beta``, or ``alpha`` if that is
    larger, and ``v`` is within 1e-3 of ``u``.
    """
    a, b = generator.uniform(-1.0, alpha, count), generator.uniform(beta, 1.0, count)
    u, v = generator.standard_normal((2, count, input_dim - 1))
    near = np.arange(count) % 2 == 1
    a[near], b[near] = alpha, max(alpha, beta)
    v[near] = u[near] + 1e-3 * generator.uniform(size=(int(near.sum()), 1)) * v[near]
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return a * b + np.sqrt((1 - a) * (1 + a) * (1 - b) * (1 + b)) * np.einsum("ij,ij->i", u, v)


def random_triples(alpha: float, beta: float, bound: float) -> Route:
    """Random triples in 2 to 10 dimensions against ``cos(y, z) <= bound``."""

    def route(context: RouteContext) -> Finding:
        largest, against, seen, witness = -1.0, 0, 0, ""
        for input_dim in range(2, 11):
            # Two normals for each coordinate: the whole budget is never needed.
            count = min(TRIPLES // 9, context.budget.trials(2.0 * input_dim))
            entropy = [context.seed, input_dim]
            cosines = triples(np.random.default_rng(np.random.SeedSequence(entropy)), count, input_dim, alpha, beta)
            wrong = int((cosines > bound + ROUNDING).sum())
            if wrong and not witness:
                witness = (
                    "import numpy as np; from kwta_theory.statements import lemma_9; "
                    f"lemma_9.triples(np.random.default_rng(np.random.SeedSequence({entropy})), {count}, {input_dim}, "
                    f"{alpha!r}, {beta!r}).max(), {bound!r}"
                )
            largest, against, seen = max(largest, float(cosines.max())), against + wrong, seen + count
        return search(
            "random triples",
            seen,
            against,
            f"the largest cosine of {seen:,} triples in 2 to 10 dimensions, half of them next to the worst one, is "
            f"{largest:.9g}, and the bound is {bound:.9g}",
            witness,
        )

    return route


def exact_maximum(alpha: float, beta: float, bound: float, room: float) -> Route:
    """The largest cosine against ``bound``; ``room`` is their difference as a sum without cancellation."""

    def route(context: RouteContext) -> Finding:
        del context
        largest = largest_cosine(alpha, beta)
        return settle(
            "the exact maximum",
            room >= 0.0,
            f"the largest cosine of y and z is {largest:.9g}, where the three vectors lie in a plane, and the bound "
            f"{bound:.9g} is above it by {room:.3g}",
            witness="from kwta_theory.statements import lemma_9; "
            f"lemma_9.largest_cosine({alpha!r}, {beta!r}), {bound!r}",
        )

    return route


def first_part(alpha: float, beta: float) -> Claim:
    """``cos(y, z) <= alpha + sqrt(1 - beta^2)`` at one ``alpha`` and ``beta`` in [0, 1]."""
    sine = math.sqrt((1.0 - beta) * (1.0 + beta))
    bound = alpha + sine
    if alpha <= beta:
        room = alpha * (1.0 - beta) + sine * alpha * alpha / (1.0 + math.sqrt((1.0 - alpha) * (1.0 + alpha)))
    else:  # beta + sine - 1 = 2 beta sine / (beta + sine + 1), from (beta + sine)^2 = 1 + 2 beta sine
        room = (alpha - beta) + 2.0 * beta * sine / (beta + sine + 1.0)
    return Claim(
        {"alpha": float(f"{alpha:.10g}"), "beta": float(f"{beta:.10g}")},
        "cos(y, z) <= alpha + sqrt(1 - beta^2)",
        (exact_maximum(alpha, beta, bound, room), random_triples(alpha, beta, bound)),
        scope="first part",
    )


def positive_shrinkage(alpha: float) -> Route:
    """``eps_alpha in (0, 1)`` by exact rational arithmetic: the sign of ``beta - alpha - sqrt(1 - beta^2)``."""

    def route(context: RouteContext) -> Finding:
        del context
        # With r = (alpha + sqrt(2 - alpha^2))/2: 2 r^2 - 2 alpha r + alpha^2 - 1 = 0, and beta - sqrt(1 - beta^2) rises
        # with beta; so the gap is positive exactly if beta = (1 + r)/2 > r, that is r < 1, or 2 - alpha^2 < (2 -
        # alpha)^2, or 2 (1 - alpha)^2 > 0. It is below 1 as alpha + sqrt(1 - beta^2) > 0 for beta < 1.
        exact = Fraction(alpha)
        holds = (2 - exact) ** 2 - (2 - exact**2) == 2 * (1 - exact) ** 2 > 0
        return settle(
            "exact rational arithmetic",
            holds,
            f"beta is above the root (alpha + sqrt(2 - alpha^2))/2 of beta = alpha + sqrt(1 - beta^2), as "
            f"(2 - alpha)^2 exceeds 2 - alpha^2 by 2 (1 - alpha)^2 = {float(2 * (1 - exact) ** 2):.3g}",
            witness="from kwta_theory.statements import lemma_9; lemma_9.largest_cosine(1.0, 1.0)",
        )

    return route


def second_part(alpha: float) -> Claim:
    """``cos(y, z) <= (1 - eps_alpha) beta`` with the explicit ``eps_alpha > 0``, for ``alpha`` in [0, 1)."""
    gap = net_gap(alpha)
    beta, eps = 1.0 - gap, shrinkage(alpha)
    bound = beta * (1.0 - eps)
    sine = math.sqrt(gap * (1.0 + beta))
    room = alpha * gap + sine * alpha * alpha / (1.0 + math.sqrt((1.0 - alpha) * (1.0 + alpha)))
    if not 0.0 < eps < 1.0:
        room = -1.0
    return Claim(
        {"alpha": float(f"{alpha:.10g}"), "beta": float(f"{beta:.10g}"), "eps_alpha": float(f"{eps:.4g}")},
        f"cos(y, z) <= (1 - eps) beta with eps = {eps:.4g} > 0",
        (exact_maximum(alpha, beta, bound, room), positive_shrinkage(alpha), random_triples(alpha, beta, bound)),
        scope="second part",
        note="eps_alpha = 1 - (alpha + sqrt(1 - beta^2))/beta, from the proof; the lemma needs alpha < 1",
    )


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """The first part on both sides of ``alpha = beta``, the second at the run's ``alpha``."""
    del inputs
    alpha = settings.cosine
    yield first_part(alpha, 1.0 - net_gap(alpha))
    yield first_part(alpha, 0.5 * alpha)
    yield second_part(alpha)


def check_no_hypotheses(settings: Settings) -> None:
    """As printed the lemma allows every ``alpha >= 0``; it is judged at 1."""
    del settings


def printed_cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """The second part where the lemma as printed still claims it: at ``alpha = 1``."""
    del inputs, settings
    witness = "import numpy as np; x = y = z = np.eye(2)[0]; x @ y, x @ z, y @ z, (2 + 1 + (2 - 1**2) ** 0.5) / 4"

    def one_triple(context: RouteContext) -> Finding:
        del context
        text = "x = y = z has all cosines 1, as the hypotheses allow with alpha = beta = 1, and 1 > (1 - eps) 1"
        return search("x = y = z", 1, 1, text, witness)

    def maximum(context: RouteContext) -> Finding:
        del context
        text = "the largest cosine is 1 and beta is 1, so that no eps above 0 is left"
        return settle("the exact maximum", largest_cosine(1.0, 1.0) < 1.0, text, witness)

    yield Claim(
        {"alpha": 1.0, "beta": 1.0},
        "cos(y, z) <= (1 - eps) beta for some eps in (0, 1)",
        (one_triple, maximum),
        note="the hypothesis alpha < 1 is missing; Theorem 10, which uses the lemma, has it",
    )


STATEMENT = Statement("lemma-9", "Lemma 9", TEXT, check_hypotheses, cases, uses_inputs=False)
AS_PRINTED = Statement(
    "lemma-9-as-printed",
    "Lemma 9 as printed, at alpha = 1",
    TEXT,
    check_no_hypotheses,
    printed_cases,
    scope="as printed",
    uses_inputs=False,
)
