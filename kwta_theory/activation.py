"""k-Winners-Take-All and local Winner-Take-All as functions on tensors (Section 2.1 of the paper).

``kwta`` is the definition of the paper, equation (1), with its rule for ties, in every dtype: exactly ``k`` entries
survive. A threshold alone (keep ``y >= k``-th largest value) keeps too many as soon as two entries are equal, which in
half precision is the usual case and not the exception: ``tests/test_released_code.py`` has the exact probability.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import SupportsIndex

import torch

from kwta_theory import _fast_pattern
from kwta_theory.checks import InvalidArgumentError, check_integer, check_width_and_winners

_DTYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
)


def _check_tensor(y: torch.Tensor, dim: SupportsIndex) -> int:
    """Return ``dim`` counted from the front."""
    if not isinstance(y, torch.Tensor):
        raise InvalidArgumentError(f"y is a {type(y).__name__}: it must be a torch.Tensor of at least one dimension.")
    if y.dtype not in _DTYPES:
        raise InvalidArgumentError(
            f"y has dtype {y.dtype}: it must be float16, bfloat16, float32, float64, uint8 or a signed integer."
        )
    if y.ndim == 0:
        raise InvalidArgumentError(
            "y has no dimension: k winners are taken along a dimension, so y needs at least one."
        )
    return check_integer("dim", dim, minimum=-y.ndim, maximum=y.ndim - 1) % y.ndim


def activation_pattern(y: torch.Tensor, k: SupportsIndex, dim: SupportsIndex = -1) -> torch.Tensor:
    """The activation pattern ``A(y)`` of Appendix C as a mask: True at the ``k`` largest entries along ``dim``.

    Entry ``i`` beats entry ``j`` if ``y_i > y_j``, or if ``y_i = y_j`` and ``i < j``. This is a total order, so along
    ``dim`` exactly ``k`` entries are True whatever the ties.

    - ``-0.0`` and ``0.0`` are equal values, so between them the smaller index wins.
    - NaN ranks above everything, infinity included, and NaNs are equal to one another (the order of ``torch.sort``).
      So a NaN is never lost: it wins and goes on to the next layer, and there are still exactly ``k`` winners.
    - Integers are ordered exactly; nothing is converted to floating point.

    With ``t`` the k-th largest value, the winners are the entries above ``t``, and of the entries equal to ``t`` the
    first ``k - #{above}`` by index. Only values are taken from ``torch.topk``: its indices come in no promised order
    among equals. Linear in the width, and no value is read back from the device. On a CPU, plain tensors of floats with
    at least 4096 entries go through loops on their bits instead, with the same result: about 2 ns per entry of wide
    float32 rows by NumPy, and about 1 ns with numba (the extra ``fast``), whose first call compiles for some seconds,
    once per installation and size of float.

    Args:
        y: outputs of a layer before the activation, any shape with at least one dimension (an empty batch included),
            any strides; float16, bfloat16, float32, float64, uint8 or a signed integer.
        k: number of winners, ``1 <= k <= y.shape[dim]``.
        dim: the dimension that holds the units of the layer.

    Returns:
        A bool tensor of the shape and device of ``y``. It carries no gradient.

    Raises:
        InvalidArgumentError: when ``y`` is no such tensor, or ``k`` or ``dim`` is outside its range.

    Source: Section 2.1, equation (1) and the sentence on ties below it; the pattern ``A(y)`` is defined in Appendix C.

    >>> activation_pattern(torch.tensor([1.0, 3.0, 2.0, 3.0, 2.0]), k=3)
    tensor([False,  True,  True,  True, False])
    """
    dim = _check_tensor(y, dim)
    _, k = check_width_and_winners(y.shape[dim], k)
    if _fast_pattern.usable(y):
        return _along_last(_fast_pattern.pattern, y, k, dim)
    return _pattern(y.detach(), k, dim)


def _along_last(
    function: Callable[[torch.Tensor, int], torch.Tensor], y: torch.Tensor, k: int, dim: int
) -> torch.Tensor:
    return function(y, k) if dim == y.ndim - 1 else function(y.movedim(dim, -1), k).movedim(-1, dim)


def _pattern(y: torch.Tensor, k: int, dim: int) -> torch.Tensor:
    """The pattern by operations of torch, on every device and under every transform."""
    largest = y.topk(k, dim=dim, sorted=False).values
    threshold = largest.topk(1, dim=dim, largest=False).values  # amin would prefer NaN, which is the largest
    # Comparisons with NaN are False: "not below or equal" is what puts NaN above a threshold that is a number.
    # logical_not, not ~: the operator asks the CUDA driver for its device, which a fake tensor does not have.
    above = ((y <= threshold) | threshold.isnan()).logical_not()
    # A running count of at most the width; int32 takes half the memory of the default and holds any width below 2^31.
    counts = torch.int32 if y.shape[dim] < 2**31 else torch.int64
    slots = _equal(largest, threshold).sum(dim, keepdim=True, dtype=counts)
    equal = _equal(y, threshold)
    return above | (equal & (equal.cumsum(dim, dtype=counts) <= slots))


def _equal(y: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    return (y == threshold) | (y.isnan() & threshold.isnan())


def kwta(y: torch.Tensor, k: SupportsIndex, dim: SupportsIndex = -1) -> torch.Tensor:
    """k-Winners-Take-All: keep the ``k`` largest entries along ``dim``, set the others to zero (equation (1)).

        phi_k(y)_j = y_j  if j is in A(y),  0 otherwise,        A(y) as in :func:`activation_pattern`

    A winner keeps its value, negative ones and NaN included. A suppressed entry becomes ``+0.0`` whatever it was; it is
    selected away, not multiplied by zero, because ``0 * inf`` is NaN. ``k`` equal to the width is the identity.

    The derivative is the mask: the Jacobian is ``diag(A(y))`` wherever the pattern is locally constant, which is where
    the k-th and (k+1)-th largest entries differ, and the same formula is used on the boundaries, where the function
    jumps and has no derivative. Second derivatives are zero. A suppressed infinity has derivative 0, not NaN. Composes
    with double backward, ``torch.func`` (``vmap``, ``jvp``, ``jacrev``, ``jacfwd``) and ``torch.compile``.

    Algebra, each law tested (``tests/test_activation_laws.py``), for a vector ``y`` of width ``N``:

    - ``phi_k(c y) = c phi_k(y)`` for ``c > 0`` where the products are exact; the pattern is the same for any strictly
      increasing change of all entries, a translation included.
    - ``A_k(y)`` is a subset of ``A_(k+1)(y)``.
    - ``phi_k(P y) = P phi_k(y)`` for every permutation ``P`` if and only if ``k = N``, or the k-th largest entry
      differs from the next, or both are zero: only a tie across the boundary sees the order of the units.
    - ``phi_k(phi_k(y)) = phi_k(y)`` if and only if ``k = N`` or the k-th largest entry is not negative. If it is
      negative, the suppressed zeros beat it in the second round. So k-WTA is a projection on the vectors with at least
      ``k`` non-negative entries only.

    Args:
        y: outputs of a layer before the activation, see :func:`activation_pattern`.
        k: number of winners, ``1 <= k <= y.shape[dim]``.
        dim: the dimension that holds the units of the layer.

    Returns:
        A new tensor of the shape, dtype and device of ``y``.

    Raises:
        InvalidArgumentError: as :func:`activation_pattern`.

    >>> kwta(torch.tensor([1.0, -3.0, 2.0, -1.0]), k=3)
    tensor([ 1.,  0.,  2., -1.])
    """
    dim = _check_tensor(y, dim)
    _, k = check_width_and_winners(y.shape[dim], k)
    if _fast_pattern.usable(y):
        return _along_last(_fast_pattern.activation, y, k, dim)
    return torch.where(_pattern(y.detach(), k, dim), y, 0)


def kwta_of_samples(y: torch.Tensor, k: int) -> torch.Tensor:
    """``kwta(y.flatten(1), k).reshape(y.shape)``, and on a CPU with the strides of ``y``: channels-last stays so.

    Args:
        y: a batch of samples, at least two dimensions.
        k: number of winners of a sample.
    """
    if _fast_pattern.usable(y) and 1 <= k <= y.shape[1:].numel():
        return _fast_pattern.activation(y, k, y.ndim - 1)
    return kwta(y.flatten(1), k).reshape(y.shape)


def lwta(y: torch.Tensor, group_size: SupportsIndex, dim: SupportsIndex = -1) -> torch.Tensor:
    """Local Winner-Take-All: k-WTA with ``k = 1`` in every group of ``group_size`` consecutive units along ``dim``.

    Ties, NaN, suppressed entries and derivative are those of :func:`kwta`. The sparsity ratio is ``1 / group_size``.

    Args:
        y: outputs of a layer before the activation, see :func:`activation_pattern`.
        group_size: units in a group; it must divide ``y.shape[dim]``.
        dim: the dimension that holds the units of the layer.

    Returns:
        A new tensor of the shape, dtype and device of ``y``.

    Raises:
        InvalidArgumentError: as :func:`activation_pattern`, and when the groups do not fill the width.

    Source: Srivastava, Masci, Kazerounian, Gomez, Schmidhuber, "Compete to Compute", NIPS 2013; Section 2.1, remark.

    >>> lwta(torch.tensor([1.0, 3.0, -2.0, -1.0]), group_size=2)
    tensor([ 0.,  3.,  0., -1.])
    """
    dim = _check_tensor(y, dim)
    width = y.shape[dim]
    group_size = check_integer("group_size", group_size, minimum=1)
    if width == 0 or width % group_size:
        raise InvalidArgumentError(
            f"group_size={group_size} does not divide width={width}: local Winner-Take-All needs groups of equal size."
        )
    groups = y.unflatten(dim, (width // group_size, group_size))
    return kwta(groups, 1, dim + 1).flatten(dim, dim + 1)
