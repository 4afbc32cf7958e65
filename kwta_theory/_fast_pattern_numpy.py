"""The loops of :mod:`kwta_theory._fast_pattern` in NumPy, for where numba is not installed.

Rows are taken together up to a size that stays in the cache, so that the passes over them cost little. NumPy's
partition of integers is vectorised on x86 with AVX2 (of 16 bits: AVX-512); there it is several times as fast as
``torch.topk``, which carries the indices along. Without, it takes about as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.signedinteger[Any]]
Marks = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

# Entries that are worked on together.
TOGETHER = 2**16


def order(bits: Integers, infinity: int) -> Integers:
    """Integers in the order of the floats with these bits: -0.0 equals 0.0, every NaN is the largest integer.

    ``infinity`` has the bits of infinity, beyond which the NaNs lie.
    """
    largest = np.iinfo(bits.dtype).max
    sign = bits >> (8 * bits.itemsize - 1)  # 0, or -1 where the sign is set
    keys = bits & largest
    nan = keys > infinity if keys.max() > infinity else None
    keys ^= sign
    keys -= sign
    if nan is not None:
        keys[nan] = largest
    return keys


def rows(bits: Integers, out: Integers, marks: Marks, infinity: int, k: int, channels: int) -> None:
    """The ``k`` winners of every row: their bits in ``out`` (others 0) and 1 in ``marks`` (others 0).

    Either output may have rows of width 0 and is then left out. Entry ``p`` of a row in memory has the index ``p``, or
    with ``channels`` above 1, the last of its dimensions in memory and the first in the order of the units,
    ``(p % channels) * (width // channels) + p // channels``.
    """
    count, width = bits.shape
    together = max(1, TOGETHER // width)
    for start in range(0, count, together):
        part = slice(start, start + together)
        keys = order(bits[part], infinity)
        threshold = np.partition(keys, width - k, axis=1)[:, width - k, None]
        mask = keys >= threshold
        if np.count_nonzero(mask) > k * len(mask):
            drop(mask, keys, threshold, k, channels)
        if marks.size:
            marks[part] = mask
        if out.size:
            np.multiply(bits[part], mask.view(np.int8), out=out[part])


def drop(mask: Mask, keys: Integers, threshold: Integers, k: int, channels: int) -> None:
    """Of the keys equal to their row's ``threshold`` let those with the largest indices lose, until ``k`` are left."""
    surplus = np.count_nonzero(mask, axis=1) - k
    tied = np.flatnonzero(surplus)
    width = keys.shape[1]
    equal = keys[tied] == threshold[tied]
    units = equal.reshape(len(tied), width // channels, channels).swapaxes(1, 2)  # in the order of their indices
    row, unit = np.divmod(np.flatnonzero(units), width)
    ends = np.count_nonzero(equal, axis=1).cumsum()
    lost = ends[row] - np.arange(len(row)) <= surplus[tied[row]]
    row, unit = row[lost], unit[lost]
    area = width // channels
    mask[tied[row], unit % area * channels + unit // area] = False


def masked(bits: Integers, out: Integers, marks: Marks) -> None:
    """The entries that are marked, and zero bits elsewhere: a product of integers, so that no infinity or NaN leaks."""
    np.multiply(bits, marks.view(np.int8), out=out)
