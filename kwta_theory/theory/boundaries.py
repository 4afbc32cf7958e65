"""How often the pattern of a Gaussian layer changes as its input turns, and how large the jumps are.

Source: Section 3 and Appendix B of the paper, which give no numbers.

Let ``x`` turn in a plane, ``x(t) = x cos t + y sin t`` with orthonormal ``x, y``, and let ``W`` have i.i.d. standard
normal entries, no bias. The outputs are ``Z_i(t) = X_i cos t + Y_i sin t`` with ``2 l`` independent standard normals.

Derivation (the count of Kac and Rice). The pattern changes exactly where two outputs ``i, j`` meet at a common value
``s`` while ``k - 1`` of the ``l - 2`` others lie above ``s``. For one pair, at any fixed angle,

    D = Z_i - Z_j ~ N(0, 2),  its derivative D' ~ N(0, 2),  the mean M = (Z_i + Z_j)/2 ~ N(0, 1/2),

all independent of one another and of the other rows. So the expected number of zeros of ``D`` per radian is
``density of D at 0 * E|D'| = 1/sqrt(4 pi) * sqrt(4/pi) = 1/pi``, the value there has the density of ``M``, which is
``exp(-s^2)/sqrt(pi) = 2 sqrt(pi) phi(s)^2``, and with ``C(l, 2)`` pairs

    rho(l, k) = C(l, 2) (1/pi) Int 2 sqrt(pi) phi(s)^2 C(l-2, k-1) Q(s)^(k-1) Phi(s)^(l-k-1) ds.

``C(l, 2) C(l-2, k-1) Int_0^1 u^(k-1) (1-u)^(l-k-1) du = l/2``, and ``u = Q(s)`` takes one factor ``phi`` into ``du``:

    rho(l, k) = (l/sqrt(pi)) E[phi(S)],    S = Q^{-1}(U),  U ~ Beta(k, l-k):

``S`` is the k-th largest of ``l - 1`` standard normals. The integrand is, up to its integral, the density of the common
value ``x*`` at a change, so that ``E[h(x*)] = E[h(S) phi(S)] / E[phi(S)]`` for the average over all changes.

Everything is symmetric: ``S`` for ``l - k`` winners is ``-S`` for ``k`` (the losers of ``x`` win at ``-x``).
Angles are those of ``x``, in radians. Along the straight line ``x + t y`` it is ``d(angle) = dt/(1 + t^2)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt
from scipy import special

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.theory.multinomial import deviance
from kwta_theory.theory.pair_density import Layer, check_layer

Array = npt.NDArray[np.float64]

# The law of S is cut where its density is below exp(-_DEPTH) of its largest value: log-concave, so that is no loss.
_DEPTH = 45.0
_PANELS = 48
_GAUSS_NODES, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(16)

# What `jump_variation` and `best_sparsity_ratio` can be about, with the power of |x*| that it averages.
_MEASURES = {"total variation": 1, "quadratic variation": 2}


@dataclass(frozen=True)
class SwapValue:
    """Moments of ``x*``, the common value of the two outputs that swap, over all pattern changes.

    Attributes:
        mean: ``E[x*]``.
        mean_absolute: ``E|x*|``.
        root_mean_square: ``sqrt(E[x*^2])``.

    All in units of the standard deviation of an output, ``|x|`` times that of an entry of ``W``.
    """

    mean: float
    mean_absolute: float
    root_mean_square: float


def boundary_density(width: SupportsFloat, k: SupportsIndex) -> float:
    """Expected pattern changes per radian, ``rho(l, k) = (l/sqrt(pi)) E[phi(Q^{-1}(U))]``, ``U ~ Beta(k, l-k)``.

    Exact at every finite width; derived above. ``rho(l, k) = rho(l, l - k)``, and 0 for ``k = l``, where all win.

    Args:
        width: outputs ``l`` of the layer, a whole number in ``[1, 1e300]``.
        k: winners, an integer in ``[1, width]``, at most ``2^53``.

    Returns:
        Changes per radian, with a relative error below 1e-10 (against 30 digits from width 2 to 1e15).

    Raises:
        InvalidArgumentError: for arguments outside their range.

    Source: Section 3, "Linear region density", which speaks of the density without a number.

    >>> abs(boundary_density(2, 1) - 1 / math.pi) < 1e-15  # two outputs meet twice in a full turn
    True
    >>> round(boundary_density(4096, 409), 3)
    404.984
    """
    layer = check_layer(width, k, None)
    if layer.losers == 0.0:
        return 0.0
    _, weights, top = _swap_law(layer)
    return math.exp(layer.log_width + top) * float(weights.sum()) / (math.pi * math.sqrt(2.0))


def limiting_boundary_density(sparsity_ratio: SupportsFloat) -> float:
    """``lim rho(l, gamma l)/l = phi(q)/sqrt(pi)``, ``q = Q^{-1}(gamma)``: changes per radian and per unit of width.

    ``U`` concentrates at ``gamma``. At most ``1/(pi sqrt(2)) = 0.225``, at ``gamma = 1/2``; a ReLU layer has ``1/pi``.

    Args:
        sparsity_ratio: ``gamma`` in (0, 1).

    >>> round(limiting_boundary_density(0.1), 6), round(boundary_density(10**9, 10**8) / 10**9, 6)
    (0.099014, 0.099014)
    """
    level = special.ndtri(_check_ratio(sparsity_ratio))
    return math.exp(-0.5 * level * level) / (math.pi * math.sqrt(2.0))


def relu_boundary_density(width: SupportsIndex) -> float:
    """Sign changes of a ReLU layer per radian, ``l/pi``: an output ``Z_i`` has ``1/pi`` zeros per radian.

    >>> relu_boundary_density(100) * 2 * math.pi  # each output vanishes twice in a full turn
    200.0
    """
    return check_integer("width", width, minimum=1) / math.pi


def lwta_boundary_density(width: SupportsIndex, group_size: SupportsIndex) -> float:
    """Pattern changes of an LWTA layer per radian: ``l/g`` independent groups of ``g`` outputs, ``rho(g, 1)`` each.

    Raises:
        InvalidArgumentError: when the groups do not fill the width.

    >>> math.isclose(lwta_boundary_density(64, 2), 32 / math.pi)
    True
    """
    width = check_integer("width", width, minimum=1)
    group_size = check_integer("group_size", group_size, minimum=1, maximum=width)
    if width % group_size:
        raise InvalidArgumentError(f"width={width} is not a multiple of group_size={group_size}.")
    return width // group_size * boundary_density(group_size, 1)


def swap_value(width: SupportsFloat, k: SupportsIndex) -> SwapValue:
    """Moments of ``x*`` at a pattern change: density proportional to ``phi(s)^2 Q(s)^(k-1) Phi(s)^(l-k-1)``.

    The average is over all changes as ``x`` turns, for ``|x| = 1``, standard normal weights, no bias.
    ``x*`` decreases stochastically in ``k`` all the way: the likelihood ratio of ``k + 1`` to ``k`` is ``Q/Phi``, which
    decreases in ``s``. ``|x*|`` decreases stochastically in ``k`` up to ``l/2`` and increases beyond: its density at
    ``s > 0`` is proportional to ``phi^2 (Q Phi)^(l/2-1) cosh((l/2 - k) y)``, ``y = log(Phi(s)/Q(s))`` increasing, and
    ``cosh((c - 1) y)/cosh(c y)`` decreases in ``y > 0`` exactly where ``|c - 1| < |c|``.

    Args:
        width: outputs ``l``, a whole number in ``[2, 1e300]``.
        k: winners, an integer in ``[1, width - 1]``.

    Returns:
        Mean, mean absolute value and root mean square, with a relative error below 1e-10 (the mean: of the root mean
        square). One exception: close to ``k = l/2``, where ``x*`` itself is about ``1/sqrt(l)``, rounding leaves a
        relative error of up to 1e-7 at ``l = 1e15``.

    Raises:
        InvalidArgumentError: for arguments outside their range, ``k = width`` included, where nothing ever changes.

    Source: Appendix B.

    >>> swap_value(2, 1).root_mean_square ** 2  # the mean of two independent standard normals
    0.5...
    """
    layer = check_layer(width, k, None)
    if layer.losers == 0.0:
        raise InvalidArgumentError(f"k={k!r} is the width: all outputs always win, so that no two of them ever swap.")
    nodes, weights, _ = _swap_law(layer)
    weights /= weights.sum()
    return SwapValue(
        float(weights @ nodes), float(weights @ np.abs(nodes)), math.sqrt(float(weights @ (nodes * nodes)))
    )


def jump_size(width: SupportsFloat, k: SupportsIndex) -> float:
    """Root mean square of the jump of one input of the next layer at a pattern change, ``sqrt(2 E[x*^2])``.

    The jump is ``(w_j - w_i) x*`` with ``w`` the weights of that input (Appendix B). Their difference has variance 2
    for independent weights of unit variance and equal means, independent of ``x*``; so ``E[jump^2] = 2 E[x*^2]``.
    For other scales multiply by ``|x|`` and by the standard deviations of an entry of both weight matrices.

    Args:
        width: as for :func:`swap_value`.
        k: as for :func:`swap_value`.

    Raises:
        InvalidArgumentError: for arguments outside their range.

    >>> [round(jump_size(1000, k), 3) for k in (1, 100, 500, 900)]
    [4.216, 1.811, 0.056, 1.811]
    """
    return math.sqrt(2.0) * swap_value(width, k).root_mean_square


def jump_variation(width: SupportsFloat, k: SupportsIndex, measure: str) -> float:
    """Expected sum per radian of ``|jump|`` ("total variation") or of ``jump^2`` ("quadratic variation"), per output.

        rho(l, k) (2/sqrt(pi)) E|x*|    and    rho(l, k) 2 E[x*^2],

    the first for Gaussian weights of the next layer (``E|N(0, 2)| = 2/sqrt(pi)``), the second for any of unit variance.
    Only jumps count, not the continuous change between them. ``|x| = 1``; units as for :func:`jump_size`.

    Args:
        width: as for :func:`swap_value`.
        k: as for :func:`swap_value`.
        measure: ``"total variation"`` or ``"quadratic variation"``.

    Raises:
        InvalidArgumentError: for arguments outside their range.

    >>> round(jump_variation(2, 1, "quadratic variation") * math.pi, 12)
    1.0
    """
    power = _check_measure(measure)
    law = swap_value(width, k)
    size = 2.0 / math.sqrt(math.pi) * law.mean_absolute if power == 1 else 2.0 * law.root_mean_square**2
    return boundary_density(width, k) * size


def best_sparsity_ratio(measure: str, width: SupportsIndex | None = None) -> float:
    """The ratio ``gamma <= 1/2`` at which the jumps have the largest total or quadratic variation per radian.

    As the width grows, :func:`jump_variation` per unit of width is proportional to ``phi(q) |q|^p``, ``p = 1`` or 2 and
    ``q = Q^{-1}(gamma)``; the derivative ``phi(q) q^(p-1) (p - q^2)`` vanishes at ``q = sqrt(p)``. So

        total variation: gamma = Q(1) = 0.1587;    quadratic variation: gamma = Q(sqrt 2) = 0.0786.

    ``1 - gamma`` is as good, at every width, by symmetry; the smaller of the two is returned.

    Args:
        measure: ``"total variation"`` or ``"quadratic variation"``.
        width: ``None`` for the limit; otherwise an integer in ``[2, 2^53]``, and ``k/width`` is returned for the best
            ``k <= width/2``. Up to 256 winners each ``k`` is tried; beyond, the best of 65 values is refined, which
            takes for granted that the variation has one peak there, as it has in the limit and in every width tested.

    Raises:
        InvalidArgumentError: for another measure or width.

    >>> round(best_sparsity_ratio("total variation"), 4), best_sparsity_ratio("total variation", 100)
    (0.1587, 0.16)
    """
    power = _check_measure(measure)
    if width is None:
        return float(special.ndtr(-math.sqrt(power)))
    width = check_integer("width", width, minimum=2, maximum=2**53)
    low, high = 1, width // 2
    while True:
        candidates = range(low, high + 1) if high - low < 256 else [low + (high - low) * i // 64 for i in range(65)]
        best = max(candidates, key=lambda k: jump_variation(width, k, measure))
        if high - low < 256:
            return best / width
        step = (high - low) // 64 + 1
        low, high = max(low, best - step), min(high, best + step)


def _check_ratio(value: SupportsFloat) -> float:
    return check_number("sparsity_ratio", value, 0.0, 1.0, open_minimum=True, open_maximum=True)


def _check_measure(measure: str) -> int:
    """The power of ``|x*|`` that a measure averages."""
    if measure not in _MEASURES:
        raise InvalidArgumentError(f"measure={measure!r} is not allowed: it must be one of {', '.join(_MEASURES)}.")
    return _MEASURES[measure]


def _swap_law(layer: Layer) -> tuple[Array, Array, float]:
    """Nodes ``s``, weights ``w`` and a number ``c`` with ``E[h(S) exp(-S^2/2)] = exp(c) Sum w h(s)``.

    Gauss-Legendre on panels that meet at 0, where ``|s|`` has its corner. The density of ``S`` is divided by its own
    numerical integral: so what rounding does to it, much at ``k = 1e14``, only moves nodes within the peak.
    """
    winners, losers = layer.k - 1.0, layer.losers - 1.0
    few, many = min(winners, losers), max(winners, losers)
    low, high = _support(few, many)
    edges = np.linspace(low, high, _PANELS + 1)
    edges = np.unique(np.append(edges, 0.0)) if low < 0.0 < high else edges
    half = 0.5 * np.diff(edges)
    nodes = (0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * _GAUSS_NODES).ravel()
    log_density = _log_density(nodes, few, many)
    density = (half[:, None] * _GAUSS_WEIGHTS).ravel() * np.exp(log_density - log_density.max())
    damping = -0.5 * nodes * nodes
    top = float(damping.max())
    return (nodes if winners <= losers else -nodes), density / density.sum() * np.exp(damping - top), top


def _log_density(s: Array, few: float, many: float) -> Array:
    """``log( phi(s) Q(s)^few Phi(s)^many )`` up to a constant, by deviances: a few units of rounding at its peak.

    ``few <= many``: the surplus of both counts over their means is that of the smaller one, which does not cancel.
    """
    total = few + many
    if total == 0.0:
        return -0.5 * s * s
    log_above = math.log(total) + special.log_ndtr(-s)
    log_below = math.log(total) + special.log_ndtr(s)
    with np.errstate(over="ignore"):
        surplus = few - np.exp(log_above)
    return -0.5 * s * s - deviance(few, log_above) - deviance(many, log_below, -surplus)


def _support(few: float, many: float) -> tuple[float, float]:
    """An interval outside which the density of ``S`` is below ``exp(-_DEPTH)`` of its peak; it is log-concave."""
    share = (few + 1.0) / (few + many + 2.0)
    center = -float(special.ndtri(share))
    low, high = center - 1.0, center + 1.0
    while True:  # outwards, until both ends are deep
        grid = np.linspace(low, high, 201)
        inside = np.flatnonzero((values := _log_density(grid, few, many)) > values.max() - _DEPTH)
        if inside[0] > 0 and inside[-1] < 200:
            break
        low, high = (
            (low - (high - low) if inside[0] == 0 else low),
            (high + (high - low) if inside[-1] == 200 else high),
        )
    while inside[-1] - inside[0] < 100:  # inwards, until the peak fills half of it
        low, high = float(grid[inside[0] - 1]), float(grid[inside[-1] + 1])
        grid = np.linspace(low, high, 201)
        inside = np.flatnonzero((values := _log_density(grid, few, many)) > values.max() - _DEPTH)
        inside = np.clip(inside, 1, 199)
    return low, high
