"""How often the sentences of Section 3 on pieces and jumps are right, on networks drawn from a seed.

Each sentence is counted twice: in rational numbers on the cells that a segment meets, and in float64 on random points
through the package's own activation.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from kwta_theory.statements.integer_networks import (
    INPUT_DIM,
    affine,
    compose,
    evaluate,
    pieces,
    point,
    simplex,
    torch_network,
)

POINTS = 40


def affine_defects(seed: int) -> tuple[int, int]:
    """Cells met by the segments, and in how many of them the network is not its affine map; exact."""
    checked = wrong = 0
    for network, segment, found in pieces(seed, bias=True):
        for piece in found:
            matrix, offset, cell = compose(network, piece.masks)
            for x in simplex(network, point(segment, (piece.start + piece.end) / 2), piece.masks):
                inside = all(value >= 0 for value in affine(cell, [*x, 1]))
                if not inside or evaluate(network, x) != (piece.masks, affine(matrix, x, offset)):
                    wrong += 1
                    break
            checked += 1
    return checked, wrong


def secant_defects(seed: int, draws: int) -> tuple[int, int]:
    """Random points with all patterns of another, and how many of them miss the tangent of it; float64."""
    import torch

    generator = np.random.default_rng(np.random.SeedSequence(draws))
    tried = against = 0
    for network, _, _ in pieces(seed, bias=True):
        run = torch_network(network)
        for x in torch.from_numpy(generator.uniform(-99, 99, (POINTS // 4, INPUT_DIM))):
            output, masks = run(x)
            jacobian = torch.autograd.functional.jacobian(lambda v, run=run: run(v)[0], x)
            near = x + torch.from_numpy(generator.normal(0, 3, (POINTS, INPUT_DIM)))
            outputs, theirs = run(near)
            same = (theirs == masks).all(dim=1)
            defect = (outputs - output - (near - x) @ jacobian.T).abs().amax(dim=1)
            tried += int(same.sum())
            against += int((same & (defect > 1e-9 * outputs.abs().amax(dim=1))).sum())
    return tried, against


def scaling_defects(seed: int, *, bias: bool) -> tuple[int, int, int]:
    """Cells met; those with a constant term in an inequality; those with a point ``x`` unlike ``x/10^6``.

    Exact. Without constant terms a cell is a cone.
    """
    cells = constant = changed = 0
    for network, segment, found in pieces(seed, bias=bias):
        for piece in found:
            cells += 1
            constant += any(row[-1] != 0 for row in compose(network, piece.masks)[2])
            x = point(segment, (piece.start + piece.end) / 2)
            changed += evaluate(network, [v / 10**6 for v in x])[0] != piece.masks
    return cells, constant, changed


def scaled_layer(width: int, k: int, seed: int, *, bias: bool) -> int:
    """In a Gaussian layer with 16 inputs, how many of 40 random ``x`` have another pattern at ``c x``; float64."""
    import torch

    from kwta_theory.activation import activation_pattern

    generator = np.random.default_rng(np.random.SeedSequence(seed))
    weight = torch.from_numpy(generator.standard_normal((width, 16)))
    offset = torch.from_numpy(generator.standard_normal(width) * bias)
    x = torch.from_numpy(generator.standard_normal((POINTS, 16)))
    # Powers of two: floating point multiplies them without rounding, so that only the claim is tested.
    scale = 2.0 ** torch.from_numpy(generator.integers(-40, 41, (POINTS, 1))).double()
    first, second = (activation_pattern(v @ weight.T + offset, k) for v in (x, scale * x))
    return int((first != second).any(dim=1).sum())


def different_maps(seed: int) -> tuple[int, int]:
    """All patterns of the networks with one hidden layer, and how many affine maps they are, per network; exact."""
    patterns = maps = 0
    for network, _, _ in pieces(seed, bias=True):
        if len(network.weights) == 2:
            units = range(len(network.weights[0]))
            masks = [(tuple(i in on for i in units),) for on in itertools.combinations(units, network.k)]
            patterns += len(masks)
            maps += len({str(compose(network, mask)[:2]) for mask in masks})
    return patterns, maps


def equal_gradients(seed: int, draws: int) -> tuple[int, int]:
    """Pairs of patterns at random points of those networks, and how many pairs have the same gradient; float64."""
    import torch

    generator = np.random.default_rng(np.random.SeedSequence(draws))
    tried = against = 0
    for network, _, _ in pieces(seed, bias=True):
        if len(network.weights) == 2:
            run = torch_network(network)
            seen: dict[tuple[bool, ...], Any] = {}
            for x in torch.from_numpy(generator.uniform(-99, 99, (POINTS, INPUT_DIM))):
                jacobian = torch.autograd.functional.jacobian(lambda v, run=run: run(v)[0], x)
                seen.setdefault(tuple(run(x)[1].tolist()), jacobian)
            for one, other in itertools.combinations(seen.values(), 2):
                tried += 1
                against += int(torch.equal(one, other))
    return tried, against


def jumps(seed: int, *, relu: bool) -> tuple[int, int]:
    """Changes on the segments, and at how many of them the limits from both sides differ; exact."""
    differ = []
    for _, _, found in pieces(seed, bias=True, relu=relu):
        for left, right in itertools.pairwise(found):
            limit = [v + s * (left.end - left.start) for v, s in zip(left.value, left.slope, strict=True)]
            differ.append(limit != list(right.value))
    return len(differ), sum(differ)


def bisected_jumps(seed: int, *, relu: bool) -> tuple[int, int]:
    """Changes of a pattern that a grid on the segments shows, and at how many of them ``f`` jumps; float64."""
    import torch

    tried = jumped = 0
    for network, segment, _ in pieces(seed, bias=True, relu=relu):
        run = torch_network(network)
        start, direction = torch.tensor(segment, dtype=torch.float64).view(2, INPUT_DIM)
        along = lambda t, run=run, a=start, d=direction: run(a + t[:, None] * d)  # noqa: E731
        grid = torch.linspace(0, 1, 2001, dtype=torch.float64)
        values, masks = along(grid)
        changed = (masks.diff(dim=0) != 0).any(dim=1)
        low, high = grid[:-1][changed], grid[1:][changed]
        left = along(low)[1]
        # To 2e-12 of the segment: at 1e-15 rounding decides which side a point is on, and it differs between batches.
        for _ in range(28):
            middle = (low + high) / 2
            same = (along(middle)[1] == left).all(dim=1)
            low, high = torch.where(same, middle, low), torch.where(same, high, middle)
        outputs = along(torch.cat([low, high]))[0].view(2, len(low), -1)
        # A jump stands out from the continuous change over 2e-12 of the segment and from rounding, both about 1e-11 of
        # the largest |f| on it. (|f| at the change is no scale: it is a mere bias where all ReLU units are off.)
        gap = (outputs[1] - outputs[0]).abs().amax(dim=1)
        tried += len(low)
        jumped += int((gap > 1e-8 * values.abs().max()).sum())
    return tried, jumped
