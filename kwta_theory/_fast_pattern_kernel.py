"""The loops of :mod:`kwta_theory._fast_pattern`, compiled by numba. Imported only where numba is installed.

A row is searched by counting: the k-th largest key is the largest ``t`` with at least ``k`` keys ``>= t``. Counts at
two trial values narrow an interval of keys; a sample of the row gives the first two, interpolation between the counts
the next, and where that does not halve the number of keys inside, the interval itself is halved. Hence no order of the
entries makes it slow: a halving of the interval can happen once per bit of the key, so a row is read at most
``2 * bits + log2(width)`` times, and 4 to 13 times for normal entries. The loops that read whole rows are vectorised.

Everything is done on integers. No comparison of floats takes place, so NaN, signed zeros and subnormals need no care
after :func:`order`, and every floating-point type is the integer type of its size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

# Entries of a row that are looked at to begin with, and the fewest for which that saves anything.
SAMPLE, SMALLEST_SAMPLE = 512, 32
# Where about the k-th largest may be, in standard deviations of its place in a sample or between two counts.
DEVIATIONS = 2.5
# So few keys in an interval are compared one by one.
FEW = 8
# Keys that are passed over together where none of them is in the interval.
BLOCK = 64


def compiled(function: Callable[..., Any]) -> Any:
    """Machine code, which numba keeps on disk where it finds a folder to write to."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no such folder: compiled again in every process
        return numba.njit(**options)(function)


@compiled
def order(bits, infinity, keys):  # type: ignore[no-untyped-def]
    """Integers in the order of the floats with these bits: -0.0 equals 0.0, every NaN is the largest integer.

    The smallest integer is nobody's key. ``infinity`` has the bits of infinity, beyond which the NaNs lie.
    """
    largest, infinity = keys.dtype.type(np.iinfo(keys.dtype).max), keys.dtype.type(infinity)
    for i in range(bits.size):
        size = bits[i] & largest
        keys[i] = largest if size > infinity else size if bits[i] >= 0 else -size


@compiled
def count_above(keys, a, b):  # type: ignore[no-untyped-def]
    """How many keys are above ``a``, and above ``b``. Sums are kept in 32 bits, so that eight fit in a register."""
    a, b = keys.dtype.type(a), keys.dtype.type(b)
    above_a, above_b = np.int32(0), np.int32(0)
    for i in range(keys.size):
        above_a = np.int32(above_a + (keys[i] > a))
        above_b = np.int32(above_b + (keys[i] > b))
    return np.int64(above_a), np.int64(above_b)


@compiled
def narrow(keys, k, few, a, b):  # type: ignore[no-untyped-def]
    """An interval ``low < t <= high`` that holds the k-th largest key and at most ``few`` keys, or one integer only.

    ``a <= b`` are tried first. Returns ``low, above_low, high, above_high, passes``: the ends, with the number of keys
    above each, ``above_high < k <= above_low``, and how often the keys were read.
    """
    low, high = np.int64(np.iinfo(keys.dtype).min), np.int64(np.iinfo(keys.dtype).max)
    above_low, above_high = np.int64(keys.size), np.int64(0)
    halve, passes = False, 0
    while above_low - above_high > few and low + 1 < high:
        before = above_low - above_high
        above_a, above_b = count_above(keys, a, b)
        passes += 1
        if above_b >= k:
            low, above_low = b, above_b
        elif above_a >= k:
            low, above_low, high, above_high = a, above_a, b, above_b
        else:
            high, above_high = a, above_a
        inside = above_low - above_high
        halve = not halve and 2 * inside > before
        if halve or (high >> 1) - (low >> 1) > 2**60:
            a = b = (low & high) + ((low ^ high) >> 1)  # the mean, rounded down, without overflow
        else:
            span, share = high - low, (k - above_high) / inside
            slack = (DEVIATIONS * np.sqrt(share * (1 - share) * inside) + 0.5) / inside
            # Floats round: the minimum is what keeps both in the interval, and so what makes the loop end.
            a = high - min(span, np.int64(span * min(share + slack, 1.0)))
            b = high - min(span, np.int64(span * max(share - slack, 0.0)))
    return low, above_low, high, above_high, passes


@compiled
def kth_of_few(keys, k):  # type: ignore[no-untyped-def]
    """The k-th largest key, and how many keys are not below it."""
    for key in keys:
        above, reached = count_above(keys, key, key - 1)
        if above < k <= reached:
            return np.int64(key), reached
    raise RuntimeError("no k-th largest among the keys")


@compiled
def collect(keys, low, high, found):  # type: ignore[no-untyped-def]
    """Write the keys with ``low < key <= high`` to ``found`` and return their number."""
    size = 0
    for start in range(0, keys.size, BLOCK):
        block = keys[start : start + BLOCK]
        above_low, above_high = count_above(block, low, high)
        if above_low > above_high:
            for i in range(block.size):
                if low < block[i] <= high:
                    found[size] = block[i]
                    size += 1
    return size


@compiled
def write(bits, out, marks, keys, below):  # type: ignore[no-untyped-def]
    """Mark the keys above ``below`` and copy the entries that they belong to. An empty output is left out."""
    below = keys.dtype.type(below)
    zero = bits.dtype.type(0)
    if marks.size:
        for i in range(keys.size):
            marks[i] = keys[i] > below
    if out.size:
        for i in range(keys.size):
            out[i] = bits[i] if keys[i] > below else zero


@compiled
def drop(out, marks, keys, threshold, surplus, channels, places):  # type: ignore[no-untyped-def]
    """Of the keys equal to ``threshold`` let the ``surplus`` with the largest indices lose.

    Entry ``p`` in memory is unit ``p`` of the row, or with ``channels`` above 1, the last of its dimensions in memory
    and the first in the order of the units, ``(p % channels) * area + p // channels``. ``places`` is room to work in.
    """
    area, size = keys.size // channels, 0
    for start in range(0, keys.size, BLOCK):
        block = keys[start : start + BLOCK]
        above, reached = count_above(block, threshold, threshold - 1)
        if above < reached:
            for i in range(block.size):
                if block[i] == threshold:
                    p = start + i
                    places[size] = p if channels == 1 else p % channels * area + p // channels
                    size += 1
    found = places[:size]
    first = found[size - surplus] if channels == 1 else narrow(found, surplus, 0, -1, keys.size)[2]
    for place in found:
        if place >= first:
            p = place if channels == 1 else place % area * channels + place // area
            if marks.size:
                marks[p] = 0
            if out.size:
                out[p] = 0


@compiled
def rows(bits, out, marks, infinity, k, channels):  # type: ignore[no-untyped-def]
    """The ``k`` winners of every row: their bits in ``out`` (others 0) and 1 in ``marks`` (others 0).

    Either output may have rows of width 0 and is then left out. ``channels`` says what the index of an entry is, see
    :func:`drop`. Returns the largest number of times that a row was counted through.
    """
    width = bits.shape[1]
    keys, found, places = np.empty(width, bits.dtype), np.empty(FEW, bits.dtype), np.empty(width, np.int64)
    size = min(width // 16, SAMPLE)
    sample, step = np.empty(size, bits.dtype), width // max(size, 1)
    slack = DEVIATIONS * np.sqrt(size * (k / width) * (1 - k / width)) + 1
    first, last = int(size * (k / width) - slack), int(size * (k / width) + slack) + 1
    lowest, highest = np.int64(np.iinfo(bits.dtype).min), np.int64(np.iinfo(bits.dtype).max)
    most = 0
    for r in range(bits.shape[0]):
        order(bits[r], infinity, keys)
        a = b = np.int64(0)
        if size >= SMALLEST_SAMPLE:
            for i in range(size):
                sample[i] = keys[i * step + (7 * i + r) % step]
            a = narrow(sample, last, 2, a, a)[0] if last <= size else lowest
            b = narrow(sample, first, 2, b, b)[2] if first >= 1 else highest
        low, reached, high, above, passes = narrow(keys, k, FEW, a, b)
        most = max(most, passes)
        if low + 1 == high:
            threshold = high
        else:
            threshold, reached = kth_of_few(found[: collect(keys, low, high, found)], k - above)
            reached += above
        write(bits[r], out[r], marks[r], keys, threshold - 1)
        if reached > k:
            drop(out[r], marks[r], keys, threshold, reached - k, channels, places)
    return most


@compiled
def masked(bits, out, marks):  # type: ignore[no-untyped-def]
    """The entries that are marked, and zero bits elsewhere: selected, so that no infinity or NaN leaks."""
    zero = bits.dtype.type(0)
    for i in range(bits.size):
        out[i] = bits[i] if marks[i] else zero
