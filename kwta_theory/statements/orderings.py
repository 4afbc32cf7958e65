"""Weak orderings: all that an activation pattern sees of a vector, so that few entries can be settled by enumeration.

Entry ``i`` beats entry ``j`` if ``y_i > y_j``, or if ``y_i = y_j`` and ``i < j``; the pattern is the set of entries
that fewer than ``k`` others beat. It depends on ``y`` only through which entries are above, below and equal to
which: a weak ordering, and of ``l`` entries there are 1, 3, 13, 75, 541, 4683, ... of these.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from kwta_theory.checks import check_integer, check_width_and_winners

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# All orderings of so many entries are looked at: 5,316 vectors in all, in a fraction of a second.
LARGEST_ENUMERATED = 6


def weak_orderings(width: SupportsIndex) -> IntArray:
    """Every weak ordering of ``width`` entries, once, as ranks ``0, 1, ..., r`` without a gap.

    Args:
        width: in [1, 7].

    Returns:
        Integers of shape ``(count, width)``; ``count`` is the Fubini number of ``width``.

    >>> weak_orderings(2).tolist()
    [[0, 0], [0, 1], [1, 0]]
    """
    width = check_integer("width", width, minimum=1, maximum=7)
    ranks = np.array(list(itertools.product(range(width), repeat=width)), dtype=np.int64)
    # No gap: a rank above 0 needs the one below it somewhere in the vector.
    used = (ranks[:, :, None] == np.arange(width)).any(axis=1)
    return ranks[(used[:, 1:] <= used[:, :-1]).all(axis=1)]


def beats(values: IntArray) -> BoolArray:
    """Whether entry ``i`` beats entry ``j``, shape ``(..., l, l)``, for vectors of shape ``(..., l)``.

    >>> beats(np.array([1, 2, 1])).astype(int).tolist()
    [[0, 0, 1], [1, 0, 1], [0, 0, 0]]
    """
    first, second = values[..., :, None], values[..., None, :]
    index = np.arange(values.shape[-1])
    return (first > second) | ((first == second) & (index[:, None] < index[None, :]))


def patterns(values: IntArray, k: SupportsIndex) -> BoolArray:
    """The activation pattern by its definition: the entries that fewer than ``k`` others beat, shape of ``values``.

    >>> patterns(np.array([1, 3, 2, 3, 2]), 3).astype(int).tolist()
    [0, 1, 1, 1, 0]
    """
    _, k = check_width_and_winners(values.shape[-1], k)
    return beats(values).sum(axis=-2) < k


def every_ordering_and_k(largest: int = LARGEST_ENUMERATED) -> Iterator[tuple[IntArray, int]]:
    """All weak orderings of ``1, ..., largest`` entries, with every number of winners."""
    for width in range(1, largest + 1):
        orderings = weak_orderings(width)
        for k in range(1, width + 1):
            yield orderings, k


def order_violations() -> int:
    """How many weak orderings of three entries, 13 in all, break the laws of a strict total order; it is none.

    The laws are: no entry beats itself, of two entries exactly one beats the other, and ``i`` beats ``j``, ``j`` beats
    ``h`` imply ``i`` beats ``h``. Each law speaks of three entries at most, and three entries of a longer vector
    compare as the same three alone. So none among 13 proves the laws for every width, and with them: exactly ``k``
    entries win, and every winner beats every loser (the loser's ``k`` or more conquerors would all beat the winner
    otherwise, and the loser, too).

    >>> order_violations()
    0
    """
    won = beats(weak_orderings(3))
    trichotomy = (won ^ won.transpose(0, 2, 1)) == ~np.eye(3, dtype=bool)
    chained = (won[:, :, :, None] & won[:, None, :, :]).any(axis=2)
    lawful = trichotomy.all(axis=(1, 2)) & ~(chained & ~won).any(axis=(1, 2))
    return int((~lawful).sum())


def library_patterns(values: IntArray, k: int) -> BoolArray:
    """The same by :func:`kwta_theory.activation.activation_pattern`, which selects a threshold instead."""
    import torch

    from kwta_theory.activation import activation_pattern

    return activation_pattern(torch.from_numpy(np.ascontiguousarray(values)), k).numpy()
