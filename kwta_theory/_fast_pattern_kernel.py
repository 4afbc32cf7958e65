"""The loops of :mod:`kwta_theory._fast_pattern`, compiled by numba. Imported only where numba is installed."""

from __future__ import annotations

import numba
import numpy as np

# Entries of a row that are looked at to bracket the threshold.
SAMPLE = 1024
# Sampling error in standard deviations that the bracket allows for: beyond it the row is selected from as a whole.
DEVIATIONS = 3.5
compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


@compiled
def select(values, k):  # type: ignore[no-untyped-def]
    """The k-th largest of a buffer without NaN, which is reordered: Hoare's selection."""
    left, right, target = 0, values.size - 1, k - 1
    while left < right:
        a, b, c = values[left], values[(left + right) // 2], values[right]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = left, right
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if target <= j:
            right = j
        elif target >= i:
            left = i
        else:
            break
    return values[target]


@compiled
def count_above(row, high):  # type: ignore[no-untyped-def]
    above, unordered = np.int32(0), np.int32(0)
    for i in range(row.size):
        above += row[i] > high
        unordered += row[i] != row[i]
    return above, unordered


@compiled
def with_ties(row, threshold, slots, marks):  # type: ignore[no-untyped-def]
    """Above the threshold, and the first ``slots`` of those equal to it; NaN is above and equal to NaN."""
    for i in range(row.size):
        wins = not (row[i] <= threshold) and threshold == threshold
        if not wins and slots > 0 and (row[i] == threshold or (row[i] != row[i] and threshold != threshold)):
            slots -= 1
            wins = True
        marks[i] = wins


@compiled
def rows(values, k, marks):  # type: ignore[no-untyped-def]
    width = values.shape[1]
    buffer = np.empty(width, values.dtype)
    sample = np.empty(SAMPLE, values.dtype)
    share = k / width
    slack = DEVIATIONS * np.sqrt(SAMPLE * share * (1 - share)) + 1
    first, last = int(SAMPLE * share - slack), int(SAMPLE * share + slack)
    step = width // SAMPLE
    for r in range(values.shape[0]):
        row = values[r]
        found = False
        threshold = row[0]
        above = 0
        if width >= 4 * SAMPLE:
            for i in range(SAMPLE):
                sample[i] = row[i * step + (i * 7 + r) % step]
            high = np.inf if first < 1 else select(sample, first)
            low = -np.inf if last >= SAMPLE else select(sample, last)
            above, unordered = count_above(row, high)
            if unordered == 0 and above < k and high == high and low == low:
                size = 0
                for i in range(width):
                    value = row[i]
                    buffer[size] = value
                    size += (value >= low) & (value <= high)
                    if size == width:
                        break
                if above + size >= k:
                    threshold = select(buffer[:size], k - above)
                    found = True
        if not found:
            unordered = 0
            for i in range(width):
                unordered += row[i] != row[i]
            if unordered >= k:
                threshold = np.nan
            else:
                size = 0
                for i in range(width):
                    if row[i] == row[i]:
                        buffer[size] = row[i]
                        size += 1
                threshold = select(buffer[:size], k - unordered)
        reached = 0
        for i in range(width):
            marks[r, i] = not (row[i] < threshold)
            reached += not (row[i] < threshold)
        if reached != k or threshold != threshold:
            over = 0
            for i in range(width):
                over += not (row[i] <= threshold)
            with_ties(row, threshold, k - over if threshold == threshold else k, marks[r])
