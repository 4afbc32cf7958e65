"""Gaussian layers at finitely many inputs: a matrix whose rows are the inputs, up to a rotation that changes no law.

The rows of ``W`` are i.i.d. ``N(0, I)``, so the outputs ``W_t x_i``, ``i = 1..N``, of one row are ``N(0, G)`` with the
Gram matrix ``G`` of the inputs. Hence any matrix ``F`` with ``F F^T = G`` serves as "the inputs": outputs ``F w`` with
``w`` standard normal have exactly the law of ``W x``.

- ``dense``: ``F`` is the inputs themselves, one normal per entry of ``W`` (``l m`` a trial).
- ``gram``: ``F`` has as many columns as the inputs have rank (``l rank`` normals a trial); for a pair this is step (6)
  of the proof of Lemma 5.

Patterns do not change when an input is multiplied by a positive number, so ``F`` holds directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack, qr

from kwta_theory.checks import InvalidArgumentError, check_cosine, check_integer, check_points

Array = npt.NDArray[np.float64]

EPSILON = float(np.finfo(np.float64).eps)
# Two directions closer than this in every entry cannot be told apart: what normalising a multiple may differ by.
SAME_DIRECTION = 8 * EPSILON
# How far a Gram matrix, scaled to a unit diagonal, may be from symmetric and from positive semidefinite.
GRAM_TOLERANCE = 1e-10
# The same for the rows of inputs that were taken for one direction: their angle may be sqrt(16 eps) = 6e-8.
SAME_COSINES = 1e-7


@dataclass(frozen=True)
class Inputs:
    """Inputs of a layer as directions.

    Attributes:
        factor: ``F``, shape ``(U, columns)``: unit rows, one for each different direction.
        representative: for each of the ``N`` inputs the row of ``factor`` that is its direction. Inputs that are
            positive multiples of one another share a row, so that their patterns are identical and not only almost.
        norms: lengths of the ``N`` inputs.
    """

    factor: Array
    representative: npt.NDArray[np.int64]
    norms: Array


def from_points(points: npt.ArrayLike, method: str = "gram") -> Inputs:
    """Inputs given as rows of a matrix ``(N, m)``.

    ``gram`` takes the factor from a QR decomposition with column pivoting of the directions, ``X^T = Q R``: backward
    stable, ``F = R^T`` to a few units of rounding. (The eigenvectors of ``G`` would lose half the digits: a zero
    eigenvalue comes out as ``1e-16``, its square root is ``1e-8``.) Columns with pivots below ``max(N, m) eps`` are
    dropped, which moves no direction by more than rounding has.

    >>> from_points([[2.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).representative
    array([0, 0, 1])
    """
    array = check_points("points", points)
    largest = np.abs(array).max(axis=1, keepdims=True)
    scaled = array / largest
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = scaled / lengths
    first, representative = _same_directions(unit)
    unit = unit[first]
    factor = unit if check_method(method) == "dense" else _qr_factor(unit)
    return Inputs(factor, representative, (largest * lengths)[:, 0])


def from_gram(gram: npt.ArrayLike) -> Inputs:
    """Inputs given by their Gram matrix ``(N, N)``: pivoted Cholesky of the matrix scaled to a unit diagonal.

    Pivots below ``8 N eps`` count as zero. A cosine of at least ``1 - 8 eps`` is one direction: a Gram matrix cannot
    resolve angles below ``1e-8``, points can.

    Raises:
        InvalidArgumentError: not square, not finite, a diagonal entry that is not positive, or, after scaling, not
            symmetric or not positive semidefinite to ``1e-10``.
    """
    try:
        array = np.asarray(gram, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidArgumentError("gram is not an array of numbers: it must have shape (N, N).") from None
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise InvalidArgumentError(f"gram has shape {array.shape}: it must have shape (N, N) with N >= 1.")
    if not np.isfinite(array).all():
        raise InvalidArgumentError("gram has NaN or infinity: every entry must be finite.")
    diagonal = np.diagonal(array)
    if (diagonal <= 0).any():
        row = int(np.flatnonzero(diagonal <= 0)[0])
        raise InvalidArgumentError(
            f"gram has the diagonal entry {diagonal[row]:g} in row {row}: a squared length must be positive."
        )
    norms = np.sqrt(diagonal)
    cosines = array / norms[:, None] / norms
    asymmetry = np.abs(cosines - cosines.T).max()
    if asymmetry > GRAM_TOLERANCE:
        raise InvalidArgumentError(
            f"gram is not symmetric: its cosines differ from their transposes by {asymmetry:.3g}."
        )
    cosines = (cosines + cosines.T) / 2
    first, representative = _groups(cosines >= 1 - SAME_DIRECTION)
    factor = _cholesky_factor(cosines[np.ix_(first, first)])
    rows = factor[representative]
    _check_product(rows, cosines, SAME_COSINES)
    return Inputs(factor, representative, norms)


def from_cosine(cosine: float, method: str = "gram", input_dim: int | None = None) -> Inputs:
    """Two unit vectors with cosine ``alpha``.

    ``gram`` uses ``[[1, 0], [alpha, sqrt((1 - alpha)(1 + alpha))]]``, equation (6) of the paper. ``dense`` puts the
    pair in ``input_dim`` dimensions, off the axes, so that every entry of ``W`` counts.
    """
    alpha = check_cosine(cosine)
    sine = math.sqrt((1 - alpha) * (1 + alpha))
    pair = np.array([[1.0, 0.0], [alpha, sine]])
    if check_method(method) == "gram":
        if input_dim is not None:
            raise InvalidArgumentError(
                f"input_dim={input_dim!r} has no effect with method='gram', where the law does not depend on it: "
                "leave it out, or use method='dense'."
            )
    elif input_dim is None:
        raise InvalidArgumentError(
            "input_dim is missing: method='dense' needs the dimension m of a pair given by a cosine."
        )
    else:
        input_dim = check_integer("input_dim", input_dim, minimum=2)
        plane = np.zeros((2, input_dim))
        plane[0] = 1 / math.sqrt(input_dim)
        even = input_dim - input_dim % 2
        plane[1, :even] = np.where(np.arange(even) % 2, -1, 1) / math.sqrt(even)
        pair = pair @ plane
    if alpha == 1:
        return Inputs(pair[:1], np.zeros(2, dtype=np.int64), np.ones(2))
    return Inputs(pair, np.arange(2), np.ones(2))


def from_any(
    cosine: float | None,
    points: npt.ArrayLike | None,
    gram: npt.ArrayLike | None,
    method: str,
    input_dim: int | None,
) -> Inputs:
    """Inputs given in exactly one of three ways, at least two of them."""
    given = [name for name, value in (("cosine", cosine), ("points", points), ("gram", gram)) if value is not None]
    if len(given) != 1:
        raise InvalidArgumentError(
            f"{' and '.join(given) or 'nothing'} was given: exactly one of cosine, points and gram must be."
        )
    if cosine is not None:
        return from_cosine(cosine, method, input_dim)
    if input_dim is not None:
        raise InvalidArgumentError(f"input_dim={input_dim!r} is only for a pair given by a cosine: leave it out.")
    if gram is not None:
        if check_method(method) == "dense":
            raise InvalidArgumentError("method='dense' draws W for inputs: give points or a cosine, not gram.")
        inputs = from_gram(gram)
    else:
        inputs = from_points(points if points is not None else [], method)
    if len(inputs.representative) < 2:
        raise InvalidArgumentError(f"{given[0]} holds one input: patterns of different inputs need at least two.")
    return inputs


def check_method(method: str) -> str:
    """Return ``"gram"`` or ``"dense"``."""
    if method not in ("gram", "dense"):
        raise InvalidArgumentError(f"method={method!r} is not allowed: it must be 'gram' or 'dense'.")
    return method


def _qr_factor(unit: Array) -> Array:
    triangle, order = qr(unit.T, mode="r", pivoting=True)
    pivots = np.abs(np.diagonal(triangle))
    rank = int((pivots > max(unit.shape) * EPSILON).sum())
    factor = np.empty((len(unit), rank))
    factor[order] = triangle[:rank].T
    return factor


def _cholesky_factor(cosines: Array) -> Array:
    size = len(cosines)
    factored, order, rank, _ = lapack.dpstrf(cosines, tol=8 * size * EPSILON, lower=1)
    factor = np.empty((size, rank))
    factor[order - 1] = np.tril(factored)[:, :rank]
    _check_product(factor, cosines, GRAM_TOLERANCE)
    return factor / np.linalg.norm(factor, axis=1, keepdims=True)


def _check_product(factor: Array, cosines: Array, tolerance: float) -> None:
    defect = np.abs(factor @ factor.T - cosines).max()
    if not defect <= tolerance:
        raise InvalidArgumentError(
            f"gram is not positive semidefinite: the nearest product F F^T found misses its cosines by {defect:.3g}, "
            f"and {tolerance:g} is allowed."
        )


def _same_directions(unit: Array, rows: int = 256) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Group rows that are equal up to rounding: inner products name the candidates, the entries decide."""
    equal = np.eye(len(unit), dtype=bool)
    for start in range(0, len(unit), rows):
        close = unit[start : start + rows] @ unit.T > 1 - 1e-12
        for i, j in np.argwhere(close):
            equal[start + i, j] = np.abs(unit[start + i] - unit[j]).max() <= SAME_DIRECTION
    return _groups(equal)


def _groups(equal: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first member of each group, and for every row the number of its group."""
    first, representative = np.unique(equal.argmax(axis=1), return_inverse=True)
    return first.astype(np.int64), representative.astype(np.int64)
