"""Appendix B: where a pattern changes, ``W phi_k(x)`` jumps by ``(W_j - W_i) x*``, and how that depends on ``gamma``.

``x`` changes smoothly; ``i`` is the k-th and ``j`` the (k+1)-st largest entry before the swap, ``x*`` their common
value. Before the swap the limit is the sum of ``W_c x_c`` over the common winners ``c``, plus ``W_i x*``; behind it,
the same sum plus ``W_j x*``. The paper concludes: the smaller ``gamma``, "the larger the jump will be" (Section 3).

As printed this is false (``appendix-b-as-printed``): the k-th largest value grows as ``k`` falls, but the jump grows
with its size ``|x*|``. In a Gaussian layer without bias ``x*`` at ``l - k`` winners is ``-x*`` at ``k``, since the
winners of ``x`` are the losers of ``-x``. So jumps at ``1 - gamma`` are as large as at ``gamma``, and beyond one half
they grow with ``gamma``. Repaired: the smaller ``gamma <= 1/2``. Then it is a theorem, even in distribution, proved in
:func:`kwta_theory.theory.boundaries.swap_value`.

"The jump" is measured by its root mean square per output over all changes, ``sqrt(2 E[x*^2])`` for ``|x| = 1``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import special

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.inputs import Inputs
from kwta_theory.seeding import derive
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.settings import Settings
from kwta_theory.theory import boundaries

# The exact swaps: entries of x, outputs of the next layer, segments (and segments in a layer of the width asked for).
SMALL_WIDTH, OUTPUTS, SEGMENTS = 9, 3, 40
# The width at which drawn layers are swept over a full turn, and how many.
SWEPT_WIDTH, SWEPT_LAYERS = 32, 200
# Every k is tried up to here; it takes about a second.
ENUMERATED_WIDTH = 8192
# Neighbouring jump sizes must differ by more than this share: ten times the error that the quadrature allows itself.
MARGIN = 1e-9


def check_hypotheses(settings: Settings) -> None:
    """``k < l``, or the pattern never changes; and at least four outputs, to have two ``k`` to compare."""
    if settings.ratio_winners >= settings.width:
        raise InvalidArgumentError(
            f"sparsity_ratio={settings.sparsity_ratio!r} makes all {settings.width} outputs win: Appendix B is about a "
            "change of the pattern, and then there is none."
        )
    if settings.width < 4:
        raise InvalidArgumentError(
            f"width={settings.width} leaves at most one k up to half of it: to compare ratios it must be at least 4."
        )


def exact_swaps(seed: int) -> tuple[int, int]:
    """Changes on integer segments ``x(t) = a + t d``, and at how many the limits do not differ by ``(W_j - W_i) x*``.

    Rational arithmetic. All times at which two entries meet are listed; between two of them the order of the entries,
    hence the pattern, is that at the middle, and ``W phi_k`` is continuous: its limits use these patterns. Times at
    which several pairs meet are no simple swaps and are left out.
    """
    generator = np.random.default_rng(np.random.SeedSequence(seed))
    changes = wrong = 0
    for number in range(SEGMENTS):
        k = 1 + number % (SMALL_WIDTH - 1)
        a, d = generator.integers(-10_000, 10_001, (2, SMALL_WIDTH)).tolist()
        weight = generator.integers(-99, 100, (OUTPUTS, SMALL_WIDTH)).tolist()
        pairs = [(i, j) for i in range(SMALL_WIDTH) for j in range(i) if d[i] != d[j]]
        met = [Fraction(a[j] - a[i], d[i] - d[j]) for i, j in pairs]
        times = sorted({Fraction(0), Fraction(1), *(t for t in met if 0 < t < 1)})
        for before, t, behind in zip(times, times[1:], times[2:], strict=False):
            x = [p + t * q for p, q in zip(a, d, strict=True)]
            orders = [
                sorted(range(SMALL_WIDTH), key=lambda i, s=near: a[i] + s * d[i], reverse=True)  # type: ignore[misc]
                for near in ((before + t) / 2, (t + behind) / 2)
            ]
            lost, won = set(orders[0][:k]) - set(orders[1][:k]), set(orders[1][:k]) - set(orders[0][:k])
            if len(won) == 1 and met.count(t) == 1:
                (i,), (j,) = lost, won
                left, right = ([sum(row[c] * x[c] for c in order[:k]) for row in weight] for order in orders)
                swap = [(row[j] - row[i]) * x[i] for row in weight]
                changes += 1
                wrong += x[i] != x[j] or [r - v for r, v in zip(right, left, strict=True)] != swap
    return changes, wrong


def extrapolated_swaps(width: int, k: int, seed: int) -> tuple[int, int]:
    """The first change on random segments in a Gaussian layer, and at how many the jump is another; float64.

    The time of the change is where the lowest winner meets the highest loser (drawn back from ``t = 1`` until no loser
    exceeds a winner). The limits come from ``W kwta(x(t))`` at two points on either side, extrapolated linearly.
    """
    import torch

    from kwta_theory.activation import activation_pattern, kwta

    generator = np.random.default_rng(np.random.SeedSequence(seed))
    step, tried, against = 1e-9, 0, 0
    for _ in range(SEGMENTS):
        x, d = torch.from_numpy(generator.standard_normal((2, width)))
        weight = torch.from_numpy(generator.standard_normal((OUTPUTS, width)))
        winners = activation_pattern(x, k)
        t, i, j = 1.0, 0, 0
        while True:
            z = x + t * d
            low, high = int(z.where(winners, math.inf).argmin()), int(z.where(~winners, -math.inf).argmax())
            meeting = float((x[low] - x[high]) / (d[high] - d[low])) if z[low] < z[high] else t
            if meeting >= t:
                break
            t, i, j = meeting, low, high
        near = t + step * torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64)
        z = x + near[:, None] * d
        swapped = winners.clone()
        swapped[[i, j]] = ~winners[[i, j]]
        # Another change within two steps, or none up to t = 1: nothing to be seen.
        if t < 1 and torch.equal(activation_pattern(z, k), torch.stack([winners, winners, swapped, swapped])):
            outer_left, left, right, outer_right = kwta(z, k) @ weight.T
            jump = (2 * right - outer_right) - (2 * left - outer_left)
            swap = (weight[:, j] - weight[:, i]) * (x[i] + t * d[i])
            tried += 1
            against += int(((jump - swap).abs() > 1e-9 * math.sqrt(width)).any())
    return tried, against


@functools.lru_cache(maxsize=4)
def enumerated_sizes(width: int) -> npt.NDArray[np.float64]:
    """``theory.boundaries.jump_size`` at every ``k = 1, ..., l - 1``."""
    return np.array([boundaries.jump_size(width, k) for k in range(1, width)])


@functools.lru_cache(maxsize=4)
def trapezoidal_sizes(width: int) -> npt.NDArray[np.float64]:
    """The same from the density ``phi^2 Q^(k-1) Phi^(l-k-1)`` of ``x*`` by the trapezoidal rule, one grid for all.

    The rule converges exponentially for an analytic integrand. The spread of ``x*`` is nowhere below ``1.2/sqrt(l)``.
    """
    s = np.linspace(-12.0, 12.0, 2 * math.ceil(60 * math.sqrt(width)) + 1)
    above, below = special.log_ndtr(-s), special.log_ndtr(s)
    sizes = []
    for k in range(1, width):
        log_density = -s * s + (k - 1) * above + (width - k - 1) * below
        density = np.exp(log_density - log_density.max())
        sizes.append(math.sqrt(2 * float(density @ (s * s)) / float(density.sum())))
    return np.array(sizes)


def swept_layers(seed: int) -> tuple[int, int]:
    """Drawn layers over a full turn, and how many have a larger mean of ``x*^2`` at ``k = l - 1`` than at ``l/2``."""
    import torch

    from kwta_theory.simulation.crossings import turn

    generator = np.random.default_rng(np.random.SeedSequence(seed))
    x, y = torch.from_numpy(generator.standard_normal((2, SWEPT_LAYERS, SWEPT_WIDTH)))
    half, most = (turn(x, y, k, 2 * math.pi) for k in (SWEPT_WIDTH // 2, SWEPT_WIDTH - 1))
    return SWEPT_LAYERS, int((most[3] / most[0] > half[3] / half[0]).sum())  # a full turn always has changes


def _replay(call: str) -> str:
    return f"from kwta_theory.statements import appendix_b; print(appendix_b.{call})"


def _swaps_exactly(seed: int) -> Route:
    def route(context: RouteContext) -> Finding:
        del context
        changes, wrong = exact_swaps(seed)
        text = (
            f"at {changes - wrong} of {changes} changes on {SEGMENTS} integer segments (width {SMALL_WIDTH}, every k) "
            "the limits from both sides differ by exactly (W_j - W_i) x*"
        )
        return settle("rational arithmetic", wrong == 0, text, _replay(f"exact_swaps({seed})"), changes, max(wrong, 1))

    return route


def _swaps_by_extrapolation(width: int, k: int) -> Route:
    def route(context: RouteContext) -> Finding:
        tried, against = extrapolated_swaps(width, k, context.seed)
        text = (
            f"at {tried - against} of {tried} changes in Gaussian layers of width {width:,} the limits of W kwta(x) "
            "differ by (W_j - W_i) x* to 9 digits"
        )
        witness = _replay(f"extrapolated_swaps({width}, {k}, {context.seed})") if against else ""
        return search("one-sided extrapolation", tried, against, text, witness)

    return route


def _monotone(name: str, width: int, *, beyond_half: bool) -> Route:
    """Each jump size is below the one before, for ``k`` from 1 to ``l/2``, or to ``l - 1``: decided by all ``k``.

    A step within the error of the rules neither settles nor refutes.
    """

    def route(context: RouteContext) -> Finding:
        del context
        sizes = {"quadrature": enumerated_sizes, "trapezoidal rule": trapezoidal_sizes}[name](width)
        sizes = sizes if beyond_half else sizes[: width // 2]
        change = np.diff(sizes) / sizes[:-1]
        grows, steps, method = np.flatnonzero(change > MARGIN) + 1, len(change), f"every k, {name}"
        text = (
            f"from k to k + 1 the jump size falls in {int((change < -MARGIN).sum()):,} of {steps:,} steps from k = 1 "
            f"to {len(sizes):,}, from {sizes[0]:.3g} to {sizes.min():.3g}"
        )
        if len(grows) == 0 and not (change < -MARGIN).all():
            return search(method, steps, 0, f"{text}, and in none does it grow by more than {MARGIN:g} of itself")
        k = int(grows[-1]) if len(grows) else 0
        witness = (
            "from kwta_theory.theory import boundaries; "
            f"print(boundaries.jump_size({width}, {k}), boundaries.jump_size({width}, {k + 1}))"
        )
        text += f" and then up to {sizes[-1]:.3g}" if len(grows) else ""
        return settle(method, len(grows) == 0, text, witness, steps, max(len(grows), 1))

    return route


def _swept(context: RouteContext) -> Finding:
    layers, against = swept_layers(context.seed)
    text = f"over a full turn the mean of x*^2 is larger at k = l - 1 than at l/2 in {against} of {layers} drawn layers"
    witness = _replay(f"swept_layers({context.seed})") if against else ""
    return search("exact sweep of drawn layers", layers, against, text, witness)


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """The jump at a swap, and its size against ``gamma <= 1/2``."""
    del inputs
    width, k = settings.width, settings.ratio_winners
    yield Claim(
        {"k": k, "seed": settings.seed},
        "at a swap W phi_k(x) jumps by (W_j - W_i) x*",
        (_swaps_exactly(derive(settings.seed, "appendix-b")), _swaps_by_extrapolation(width, k)),
        note="settled for the changes on the segments drawn; for all it is the algebra at the head of the module",
        log_width=math.log(width),
    )
    width = min(width, ENUMERATED_WIDTH)
    capped = f"; judged at {width:,}, where every k can be tried" if width < settings.width else ""
    yield Claim(
        {"k": f"1 to {width // 2}"},
        "the smaller gamma <= 1/2, the larger the root mean square jump",
        (_monotone("quadrature", width, beyond_half=False), _monotone("trapezoidal rule", width, beyond_half=False)),
        note=f"Gaussian layer without bias, all changes as x turns; every width: proof in theory.boundaries{capped}",
        log_width=math.log(width),
        scope="repaired: gamma <= 1/2",
    )


def printed_cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """The sentence for every ``gamma``: at the width asked for, and where layers can be swept."""
    del inputs
    widest = min(settings.width, ENUMERATED_WIDTH)
    rule = _monotone("trapezoidal rule", widest, beyond_half=True)
    for width, other in ((widest, rule), (SWEPT_WIDTH, _swept)):
        yield Claim(
            {"k": f"1 to {width - 1}"},
            "the smaller gamma, the larger the root mean square jump",
            (_monotone("quadrature", width, beyond_half=True), other),
            note="true for gamma <= 1/2: see appendix-b; at 1 - gamma the jumps are as large as at gamma",
            log_width=math.log(width),
        )


TEXT = (
    "When the pattern changes, the k-th and the (k+1)-th largest value swap at a common value x*, and W phi_k(x) jumps "
    "by (W_j - W_i) x*. The smaller gamma is, the larger the jump will be."
)
STATEMENT = Statement("appendix-b", "Appendix B, discontinuity jump", TEXT, check_hypotheses, cases, uses_inputs=False)
AS_PRINTED = Statement(
    "appendix-b-as-printed",
    "Appendix B, discontinuity jump, as printed",
    TEXT,
    check_hypotheses,
    printed_cases,
    scope="as printed",
    uses_inputs=False,
)
