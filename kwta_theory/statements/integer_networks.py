"""Small networks with integer weights, and all about them in rational numbers: pieces, masks, affine maps, cells.

A segment is walked from change to change without a step size, so that each piece on it is visited. For a piece, the
matrix and the offset of ``M x + c`` are composed from masks and matrices.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from kwta_theory.seeding import derive

Number = Fraction | int
Matrix = Sequence[Sequence[Number]]
Masks = tuple[tuple[bool, ...], ...]

INPUT_DIM = 3
# Layer sizes of the networks drawn: two, three and four affine layers.
SHAPES = ((7, 2), (6, 6, 2), (6, 5, 6, 2))
NETWORKS_OF_EACH = 4


@dataclass(frozen=True)
class Network:
    """An integer network ``f(x) = W1 phi(W2 phi(... Wn x + bn) + b2) + b1``; layers are listed from the input on.

    ``k`` winners in each hidden layer; ``k = 0`` stands for ReLU, the same for all hidden layers.
    """

    weights: tuple[tuple[tuple[int, ...], ...], ...]
    biases: tuple[tuple[int, ...], ...]
    k: int


@dataclass(frozen=True)
class Piece:
    """What the network is on an interval ``[start, end)`` of a segment: masks, and its value and slope at ``start``."""

    start: Fraction
    end: Fraction
    masks: Masks
    value: tuple[Fraction, ...]
    slope: tuple[Fraction, ...]


def draw_network(seed: int, widths: Sequence[int], k: int, *, bias: bool) -> Network:
    """Integers of the uniform law on [-9999, 9999]; ``widths`` are the sizes of all layers behind the input."""
    generator = np.random.default_rng(np.random.SeedSequence(seed))
    weights, biases = [], []
    for columns, rows in itertools.pairwise((INPUT_DIM, *widths)):
        weights.append(tuple(map(tuple, generator.integers(-9999, 10_000, (rows, columns)).tolist())))
        biases.append(tuple((generator.integers(-9999, 10_000, rows) * bias).tolist()))
    return Network(tuple(weights), tuple(biases), k)


def affine(matrix: Matrix, x: Sequence[Number], offset: Sequence[Number] | None = None) -> list[Number]:
    """``matrix x + offset`` in exact numbers."""
    offset = offset or [0] * len(matrix)
    return [sum((w * v for w, v in zip(row, x, strict=True)), b) for row, b in zip(matrix, offset, strict=True)]


def pattern(z: Sequence[Any], k: int) -> tuple[bool, ...]:
    """Ties to the smaller index; for ReLU (``k = 0``) what is above zero. Entries are numbers or tuples of numbers."""
    if k == 0:
        return tuple(entry > ((0, 0) if isinstance(entry, tuple) else 0) for entry in z)
    winners = sorted(range(len(z)), key=lambda i: z[i], reverse=True)[:k]  # a stable sort: equals stay in their order
    return tuple(i in winners for i in range(len(z)))


def evaluate(network: Network, x: Sequence[Number]) -> tuple[Masks, list[Number]]:
    """All patterns and the output at ``x``, straight from the definition."""
    masks, hidden = [], list(x)
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        z = affine(weight, hidden, bias)
        masks.append(pattern(z, network.k))
        hidden = [v if on else 0 for v, on in zip(z, masks[-1], strict=True)]
    return tuple(masks), affine(network.weights[-1], hidden, network.biases[-1])


def compose(network: Network, masks: Masks) -> tuple[list[list[Number]], list[Number], list[list[Number]]]:
    """``M`` and ``c`` of the piece with these masks, and its cell: rows ``(g, h)`` of inequalities ``g x + h >= 0``.

    The cell of a k-WTA network is where in each layer every winner is at least every loser.
    """
    matrix: list[list[Number]] = [[int(i == j) for j in range(INPUT_DIM + 1)] for i in range(INPUT_DIM)]
    cell = []
    for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        columns = list(zip(*matrix, strict=True))
        matrix = [affine(columns, row) for row in weight]
        matrix = [[*row[:-1], row[-1] + b] for row, b in zip(matrix, bias, strict=True)]
        if number < len(masks):
            on = masks[number]
            for i, j in itertools.product(range(len(on)), repeat=2):
                if on[i] and not on[j]:
                    cell.append([a - b for a, b in zip(matrix[i], matrix[j], strict=True)])
            matrix = [row if on[i] else [0] * len(row) for i, row in enumerate(matrix)]
    return [row[:-1] for row in matrix], [row[-1] for row in matrix], cell


def walk(network: Network, start: Sequence[int], direction: Sequence[int]) -> Iterator[Piece]:
    """The pieces of the network along ``start + t direction``, ``0 <= t <= 1``, all of them, in rational numbers.

    Just to the right of ``t`` outputs are ordered by their value, then by their slope, then by index. The order of a
    winner and a loser, or a sign, is next broken at a time that is a quotient of differences. Values are kept times the
    denominator ``q`` of ``t``, so that everything up to that quotient is an integer.
    """
    t = Fraction(0)
    while t < 1:
        p, q = t.numerator, t.denominator
        value: list[Number] = [a * q + p * d for a, d in zip(start, direction, strict=True)]
        slope: list[Number] = list(direction)
        masks, step = [], (1 - t) * q  # times q, too
        for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            value, slope = affine(weight, value, [b * q for b in bias]), affine(weight, slope)
            if number == len(network.weights) - 1:
                break
            on = pattern(list(zip(value, slope, strict=True)), network.k)
            for i, j in _rivals(on, network.k):
                gap = value[i] - (value[j] if j is not None else 0)
                closing = (slope[j] if j is not None else 0) - slope[i]
                if gap * closing > 0:  # for a ReLU unit that is off both are negative, or it stays off
                    step = min(step, Fraction(gap, closing))
            masks.append(on)
            value = [v if keep else 0 for v, keep in zip(value, on, strict=True)]
            slope = [s if keep else 0 for s, keep in zip(slope, on, strict=True)]
        end = t + step / q
        yield Piece(t, end, tuple(masks), tuple(Fraction(v, q) for v in value), tuple(map(Fraction, slope)))
        t = end


def _rivals(on: tuple[bool, ...], k: int) -> Iterator[tuple[int, int | None]]:
    """Pairs whose order decides a pattern: each winner with each loser; for ReLU each unit with zero."""
    if k == 0:
        yield from ((i, None) for i in range(len(on)))
    else:
        yield from ((i, j) for i in range(len(on)) for j in range(len(on)) if on[i] and not on[j])


@functools.lru_cache(maxsize=8)
def pieces(
    seed: int, *, bias: bool, relu: bool = False
) -> tuple[tuple[Network, tuple[int, ...], tuple[Piece, ...]], ...]:
    """The networks drawn from a seed, each with the start and the direction of its segment, and its pieces."""
    found = []
    for shape, number in itertools.product(SHAPES, range(NETWORKS_OF_EACH)):
        child = derive(seed, "piecewise-linearity", str(shape), number)
        network = draw_network(child, shape, 0 if relu else 2, bias=bias)
        generator = np.random.default_rng(np.random.SeedSequence(child, spawn_key=(1,)))
        start = tuple(generator.integers(-999, 1000, INPUT_DIM).tolist())
        # Not through the origin, where a network without biases would change everywhere at once.
        direction = [int(-2 * a + b) for a, b in zip(start, generator.integers(-499, 500, INPUT_DIM), strict=True)]
        found.append((network, (*start, *direction), tuple(walk(network, start, direction))))
    return tuple(found)


def point(segment: tuple[int, ...], t: Fraction) -> list[Fraction]:
    """``start + t direction``."""
    return [a + t * d for a, d in zip(segment[:INPUT_DIM], segment[INPUT_DIM:], strict=True)]


def simplex(network: Network, inside: list[Fraction], masks: Masks) -> list[list[Fraction]]:
    """``m + 1`` affinely independent points with these masks: an inner point, and a small step along each axis."""
    step = Fraction(1)
    for _ in range(60):
        corners = [[v + step * (i == axis) for i, v in enumerate(inside)] for axis in range(INPUT_DIM)]
        if all(evaluate(network, corner)[0] == masks for corner in corners):
            return [inside, *corners]
        step /= 4
    raise ArithmeticError("the cell has no inner point that could be found: the network drawn is degenerate.")


def torch_network(network: Network) -> Callable[[Any], tuple[Any, Any]]:
    """The network on float64 tensors through the package's own activation: ``x -> (output, all patterns)``."""
    import torch

    from kwta_theory.activation import activation_pattern, kwta

    layers = [
        (torch.tensor(weight, dtype=torch.float64), torch.tensor(bias, dtype=torch.float64))
        for weight, bias in zip(network.weights, network.biases, strict=True)
    ]

    def run(x: Any) -> tuple[Any, Any]:
        masks = []
        for weight, bias in layers[:-1]:
            z = x @ weight.T + bias
            masks.append(activation_pattern(z, network.k) if network.k else z > 0)
            x = kwta(z, network.k) if network.k else z.relu()
        return x @ layers[-1][0].T + layers[-1][1], torch.cat(masks, dim=-1)

    return run
