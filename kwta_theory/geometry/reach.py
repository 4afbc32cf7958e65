"""Does any ``x'`` at or beyond one distance share the pattern of ``x``? Drawn layers of any width, each decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import SupportsFloat, SupportsIndex

import numpy as np
from scipy import special
from threadpoolctl import ThreadpoolController

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.geometry.cell import LARGEST_INPUT_DIM, PatternCell, pattern_cell
from kwta_theory.geometry.exact import Array
from kwta_theory.geometry.programmes import CertificationError

LARGEST_STORED = 2**16
"""Layers up to this width are drawn with all their rows, wider ones with the rows nearest to the threshold."""
NEAREST = 64


@dataclass(frozen=True)
class Reach:
    """How many of the drawn layers have an ``x'`` with the pattern of ``x`` and ``d^2(x, x')/|x|^2 >= beta``.

    Attributes:
        certified: layers proven to have none.
        witnessed: layers with such an ``x'`` in hand, its pattern checked exactly.
        open: layers decided neither way.
    """

    certified: int
    witnessed: int
    open: int


def reach(
    width: SupportsIndex,
    input_dim: SupportsIndex,
    k: SupportsIndex,
    beta: SupportsFloat,
    draws: SupportsIndex,
    seed: SupportsIndex,
) -> Reach:
    """Decide, for independent Gaussian layers, whether some ``x'`` at ``beta`` or beyond has the pattern of ``x``.

    This is the event that Theorems 1, 8 and 9 exclude, for every ``x'`` at once. Its law is the same for every ``x``
    and every variance of the entries; ``x = e_1`` is taken. A layer wider than :data:`LARGEST_STORED` is represented
    by its :func:`nearest_rows`. The cell of a part of the rows contains that of all of them, so a certificate carries
    over to the whole layer; a witness does not, and such a layer counts as open.

    Args:
        width: ``l``.
        input_dim: ``m >= 2``.
        k: winners, below the width.
        beta: positive.
        draws: number of layers.
        seed: of the layers; layer ``i`` does not depend on the number of draws.

    Raises:
        InvalidArgumentError: for an argument outside this.

    >>> reach(width=10**9, input_dim=3, k=10**8, beta=0.1, draws=5, seed=0)
    Reach(certified=5, witnessed=0, open=0)
    """
    from kwta_theory.seeding import Stream  # brings torch, which nothing else here needs

    width = check_integer("width", width, minimum=2)
    input_dim = check_integer("input_dim", input_dim, minimum=2, maximum=LARGEST_INPUT_DIM)
    k = check_integer("k", k, minimum=1, maximum=width - 1)
    beta = check_number("beta", beta, 0.0, open_minimum=True)
    draws = check_integer("draws", draws, minimum=1)
    stream = Stream(check_integer("seed", seed), "reach")
    x = np.eye(input_dim)[0]
    counts = {True: 0, False: 0, None: 0}
    with ThreadpoolController().limit(limits=1):
        for index in range(draws):
            generator = np.random.default_rng(stream.sequence(index))
            if width <= LARGEST_STORED:
                counts[reaches(pattern_cell(generator.standard_normal((width, input_dim)), x, k), beta)] += 1
            else:
                weight, winners = nearest_rows(width, input_dim, k, generator)
                found = reaches(pattern_cell(weight, x, winners), beta)
                counts[None if found else found] += 1
    return Reach(counts[False], counts[True], counts[None])


def reaches(cell: PatternCell, beta: float, effort: str = "box") -> bool | None:
    """Whether a cone has a point ``x' ~ x/|x| + u`` with ``|u|^2 >= beta``: with a witness, a certificate, or None.

    In two dimensions ``u`` is a number, and the cell is convex and contains ``x``: without a point at ``sqrt(beta)``
    and at ``-sqrt(beta)`` there is none beyond. Both are tested exactly (:meth:`.PatternCell.contains`), the witness
    rounded outwards, the certificate inwards. In more dimensions :meth:`.PatternCell.radius` brackets the radius; where
    that fails, nothing is said.

    >>> cell = pattern_cell([[1.0, 0.0], [0.5, 1.0], [0.5, -1.0]], [1.0, 0.0], k=1)  # its radius is 1/2
    >>> reaches(cell, 0.2), reaches(cell, 0.3)
    (True, False)
    """
    if cell.bias is not None:
        raise InvalidArgumentError("the cell has a bias: the distance of Theorem 1 is for layers without one.")
    if cell.input_dim == 2 and not cell.x[1]:
        inside, outside = _roots(beta)
        along = math.copysign(1.0, float(cell.x[0]))
        if any(cell.contains([along, sign * outside]) for sign in (-1, 1)):
            return True
        return None if any(cell.contains([along, sign * inside]) for sign in (-1, 1)) else False
    try:
        low, high = cell.radius(effort).beta
    except (CertificationError, InvalidArgumentError):  # no interior in floating point
        return None
    if low >= beta:
        return True
    return False if high < beta else None


def _roots(beta: float) -> tuple[float, float]:
    """Two neighbouring numbers with ``inside^2 <= beta <= outside^2``, exactly."""
    inside = outside = math.sqrt(beta)
    while Fraction(inside) ** 2 > Fraction(beta):
        inside = math.nextafter(inside, 0.0)
    while Fraction(outside) ** 2 < Fraction(beta):
        outside = math.nextafter(outside, math.inf)
    return inside, outside


def nearest_rows(
    width: int, input_dim: int, k: int, generator: np.random.Generator, count: int = NEAREST
) -> tuple[Array, int]:
    """The rows of a Gaussian layer with the smallest winning and the largest losing outputs at ``x = e_1``.

    The outputs are ``l`` independent standard normal numbers ``h``, independent of the other columns. Their tail
    probabilities ``p = P(N > h)`` are uniform: the ``k``-th smallest is Beta(k, l - k + 1), the smaller ones are
    uniform below it and the larger ones above it, and the largest of ``n`` uniform numbers is ``exp(-E/n)`` with ``E``
    exponential, the next one relative to it the same with ``n - 1``. So no other row has to be drawn, and the width may
    be of any size. Rounding changes a gap between neighbours, about ``1/l`` in ``p``, by some ``1e-16 l`` of itself.

    Args:
        width: ``l``.
        input_dim: ``m``.
        k: winners.
        generator: of the numbers.
        count: at most so many rows on either side.

    Returns:
        The rows ``(rows, m)``, winners first, and how many are winners.
    """
    threshold = generator.beta(k, width - k + 1)
    winners, losers = min(count, k), min(count, width - k)
    below = generator.standard_exponential(winners - 1) / (k - 1 - np.arange(winners - 1))
    above = generator.standard_exponential(losers) / (width - k - np.arange(losers))
    tails = np.concatenate(
        [[threshold], threshold * np.exp(-np.cumsum(below)), threshold - (1 - threshold) * np.expm1(-np.cumsum(above))]
    )
    others = generator.standard_normal((winners + losers, input_dim - 1))
    return np.column_stack([-special.ndtri(tails), others]), winners
