"""Section 3, "Piecewise linearity": with all activation patterns fixed a k-WTA network is one affine function.

The paper says that ``f`` is then "a linear function", that it "switches from one linear function to another" when a
pattern changes, that linear regions of ReLU networks "are joined together at their boundaries, whereas in k-WTA
networks the linear regions are disconnected", and (next paragraph) that the pattern of ``W x + b`` at ``c x``, ``c >
0``, is that at ``x``. Appendix C adds that different patterns are different linear regions.

As printed, four of these sentences need a word (``piecewise-linearity-as-printed`` has the witnesses):

- with biases a piece is affine, ``M x + c``, and not linear. (Much of the literature says "linear" for both.)
- Scaling keeps the pattern for ``b = 0`` only, which the paper supposes one sentence later.
- Two patterns can be the same function, and meet without a jump: where outputs ``i, j`` swap, ``W_i v_i^T = W_j v_j^T``
  is possible (``v`` the rows before, ``W`` the columns after the activation), such as ``v_j = 2 v_i, W_i = 2 W_j``. For
  weights in general position it is not. And where the common value ``x*`` is 0 the jump vanishes for any weights, on a
  part of the boundary of lower dimension.

What is settled, and for which networks: integer networks are drawn, and all about them is computed in rational numbers.
A segment is walked from change to change without a step size, so that each piece on it is visited. For a piece, ``M``
and ``c`` are composed from masks and matrices. The network with these masks held is a composition of affine maps, so it
equals ``M x + c`` everywhere if it does at ``m + 1`` affinely independent points, and these are taken in the cell.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from kwta_theory.inputs import Inputs
from kwta_theory.seeding import derive
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.settings import Settings

Number = Fraction | int
Matrix = Sequence[Sequence[Number]]
Masks = tuple[tuple[bool, ...], ...]

INPUT_DIM = 3
# Layer sizes of the networks drawn: two, three and four affine layers.
SHAPES = ((7, 2), (6, 6, 2), (6, 5, 6, 2))
NETWORKS_OF_EACH = 4
POINTS = 40

RATIONAL, AUTOGRAD = "rational arithmetic", "autograd on random points"
SCALING_WITNESS = (
    "import torch; from kwta_theory import activation_pattern; "
    "W, b, x = torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, -1.5]), torch.tensor([1.0]); "
    "print(activation_pattern(W @ x + b, 1), activation_pattern(W @ (3 * x) + b, 1))"
)


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
    winner and a loser, or a sign, is next broken at a time that is a quotient of differences.
    """
    t = Fraction(0)
    while t < 1:
        value: list[Number] = [a + t * d for a, d in zip(start, direction, strict=True)]
        slope: list[Number] = list(direction)
        masks, end = [], Fraction(1)
        for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            value, slope = affine(weight, value, bias), affine(weight, slope)
            if number == len(network.weights) - 1:
                break
            on = pattern(list(zip(value, slope, strict=True)), network.k)
            for i, j in _rivals(on, network.k):
                gap = value[i] - (value[j] if j is not None else 0)
                closing = (slope[j] if j is not None else 0) - slope[i]
                if gap * closing > 0:  # for a ReLU unit that is off both are negative, or it stays off
                    end = min(end, t + Fraction(gap) / closing)
            masks.append(on)
            value = [v if keep else 0 for v, keep in zip(value, on, strict=True)]
            slope = [s if keep else 0 for s, keep in zip(slope, on, strict=True)]
        yield Piece(t, end, tuple(masks), tuple(map(Fraction, value)), tuple(map(Fraction, slope)))
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


def _replay(call: str) -> str:
    return f"from kwta_theory.statements import piecewise_linearity; print(piecewise_linearity.{call})"


def _affine_exactly(seed: int) -> Route:
    def route(context: RouteContext) -> Finding:
        del context
        cells, wrong = affine_defects(seed)
        text = (
            f"on {cells - wrong} of {cells} cells met by the segments the network equals the affine map composed of "
            f"its masks and matrices at {INPUT_DIM + 1} affinely independent points of the cell, hence everywhere on it"
        )
        return settle(RATIONAL, wrong == 0, text, _replay(f"affine_defects({seed})"), cells, max(wrong, 1))

    return route


def _affine_by_autograd(seed: int) -> Route:
    def route(context: RouteContext) -> Finding:
        tried, against = secant_defects(seed, context.seed)
        text = (
            f"f(y) = f(x) + J (y - x) to 9 digits for {tried - against:,} of {tried:,} random y with all patterns of x"
        )
        return search(
            AUTOGRAD, tried, against, text, _replay(f"secant_defects({seed}, {context.seed})") if against else ""
        )

    return route


def _cones_exactly(seed: int) -> Route:
    def route(context: RouteContext) -> Finding:
        del context
        cells, constant, changed = scaling_defects(seed, bias=False)
        text = (
            f"{cells - constant} of {cells} cells met by the segments have only inequalities without a constant term, "
            "which c > 0 does not change, nor does it a tie"
        )
        wrong = max(constant, changed)
        witness = _replay(f"scaling_defects({seed}, bias=False)")
        return settle(RATIONAL, wrong == 0, text, witness, cells, max(wrong, 1))

    return route


def _scaled_exactly(seed: int) -> Route:
    def route(context: RouteContext) -> Finding:
        del context
        cells, _, changed = scaling_defects(seed, bias=True)
        text = f"in {changed} of {cells} cells met by the segments a point x has not the patterns of x/10^6"
        return search(RATIONAL, cells, changed, text, SCALING_WITNESS if changed else "")

    return route


def _scaled_by_drawing(settings: Settings, *, bias: bool) -> Route:
    def route(context: RouteContext) -> Finding:
        width, k = settings.width, settings.ratio_winners
        against = scaled_layer(width, k, context.seed, bias=bias)
        text = f"the pattern at c x is not that at x for {against} of {POINTS} random x and c = 2^-40 to 2^40"
        replay = SCALING_WITNESS if bias else _replay(f"scaled_layer({width}, {k}, {context.seed}, bias=False)")
        return search("Gaussian layers", POINTS, against, text, replay if against else "")

    return route


def _maps_differ_exactly(seed: int) -> Route:
    def route(context: RouteContext) -> Finding:
        del context
        patterns, maps = different_maps(seed)
        text = f"the {patterns} patterns of {NETWORKS_OF_EACH} networks with one hidden layer are {maps} affine maps"
        witness = _replay(f"different_maps({seed})")
        return settle("enumeration of all patterns", maps == patterns, text, witness, patterns, max(patterns - maps, 1))

    return route


def _gradients_differ(seed: int) -> Route:
    def route(context: RouteContext) -> Finding:
        tried, against = equal_gradients(seed, context.seed)
        text = f"{tried - against} of {tried} pairs of patterns at random points have different gradients"
        return search(
            AUTOGRAD, tried, against, text, _replay(f"equal_gradients({seed}, {context.seed})") if against else ""
        )

    return route


def _jumps_exactly(seed: int, *, relu: bool) -> Route:
    def route(context: RouteContext) -> Finding:
        del context
        changes, differ = jumps(seed, relu=relu)
        wrong = differ if relu else changes - differ
        text = f"the limits from both sides differ at {differ} of the {changes} changes on the segments"
        return settle(RATIONAL, wrong == 0, text, _replay(f"jumps({seed}, relu={relu})"), changes, max(wrong, 1))

    return route


def _jumps_by_bisection(seed: int, *, relu: bool) -> Route:
    def route(context: RouteContext) -> Finding:
        del context
        tried, jumped = bisected_jumps(seed, relu=relu)
        against = jumped if relu else tried - jumped
        text = f"f jumps at {jumped} of {tried} changes found on a grid and bisected"
        witness = _replay(f"bisected_jumps({seed}, relu={relu})") if against else ""
        return search("bisection in float64", tried, against, text, witness)

    return route


def check_hypotheses(settings: Settings) -> None:
    """None: the statement is about every network."""
    del settings


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """Affine pieces, cones, different pieces, jumps; for ReLU no jumps."""
    del inputs
    seed = derive(settings.seed, "piecewise-linearity")
    drawn = {"networks": len(SHAPES) * NETWORKS_OF_EACH, "m": INPUT_DIM, "seed": settings.seed}
    note = (
        "settled for the integer networks drawn and the cells met; for all networks it is the algebra in the docstring"
    )
    yield Claim(
        drawn,
        "with all patterns fixed, f is one affine map",
        (_affine_exactly(seed), _affine_by_autograd(seed)),
        note=note,
        scope="affine",
    )
    yield Claim(
        drawn | {"width": settings.width, "k": settings.ratio_winners},
        "without biases the patterns at c x, c > 0, are those at x",
        (_cones_exactly(seed), _scaled_by_drawing(settings, bias=False)),
        note=note,
        scope="b = 0",
    )
    yield Claim(
        drawn | {"networks": NETWORKS_OF_EACH},
        "different patterns are different affine maps",
        (_maps_differ_exactly(seed), _gradients_differ(seed)),
        note="settled for the networks drawn; it fails for special weights, see piecewise-linearity-as-printed",
        scope="general position",
    )
    yield Claim(
        drawn,
        "k-WTA: f jumps wherever a pattern changes",
        (_jumps_exactly(seed, relu=False), _jumps_by_bisection(seed, relu=False)),
        note="settled for the changes met; it fails for special weights, and at the points where x* = 0",
        scope="general position",
    )
    yield Claim(
        drawn,
        "ReLU: f never jumps where a pattern changes",
        (_jumps_exactly(seed, relu=True), _jumps_by_bisection(seed, relu=True)),
        note="settled for the changes met; in general it follows from the continuity of ReLU",
        scope="ReLU",
    )


# f(x) = 2 x in two pieces: outputs (x, 2 x), one winner, weights (2, 1) after it. And f(x) = x + 1 in one piece.
TWO_PATTERNS_ONE_MAP = Network((((1, 0, 0), (2, 0, 0)), ((2, 1),)), ((0, 0), (0,)), 1)
ONE_AFFINE_PIECE = Network((((1, 0, 0),), ((1,),)), ((0,), (1,)), 1)
LINEAR_WITNESS = (
    "import torch; from kwta_theory import kwta; f = lambda x: kwta(x, 1) + 1.0; "
    "print(f(torch.tensor([2.0])), 2 * f(torch.tensor([1.0])))"
)
SAME_MAP_WITNESS = (
    "import torch; from kwta_theory import activation_pattern, kwta; V, W = torch.tensor([[1.0], [2.0]]), "
    "torch.tensor([[2.0, 1.0]]); x = torch.tensor([[-1.0], [1.0]]); "
    "print(activation_pattern(x @ V.T, 1), kwta(x @ V.T, 1) @ W.T - 2 * x)"
)


def _linear_exactly(context: RouteContext) -> Finding:
    del context
    offset = compose(ONE_AFFINE_PIECE, ((True,),))[1]
    return settle(RATIONAL, offset == [0], f"f(x) = x_1 + {offset[0]} is one piece, with f(0) = 1", LINEAR_WITNESS)


def _linear_by_torch(context: RouteContext) -> Finding:
    import torch

    del context
    run = torch_network(ONE_AFFINE_PIECE)
    one, two = (run(torch.tensor([v, 0.0, 0.0], dtype=torch.float64))[0].item() for v in (1.0, 2.0))
    against = int(two != 2 * one)
    return search(
        "evaluation",
        1,
        against,
        f"f(2 x) = {two:g} and 2 f(x) = {2 * one:g} with one pattern",
        LINEAR_WITNESS * against,
    )


def _switch_exactly(context: RouteContext) -> Finding:
    del context
    left, right = (compose(TWO_PATTERNS_ONE_MAP, (mask,))[:2] for mask in ((True, False), (False, True)))
    return settle(
        RATIONAL,
        left != right,
        "outputs (x_1, 2 x_1) with one winner and weights (2, 1): both patterns are the map 2 x_1",
        SAME_MAP_WITNESS,
    )


def _switch_by_torch(context: RouteContext) -> Finding:
    import torch

    del context
    x = torch.zeros(2, INPUT_DIM, dtype=torch.float64)
    x[:, 0] = torch.tensor([-1.0, 1.0])
    output, masks = torch_network(TWO_PATTERNS_ONE_MAP)(x)
    against = int(bool((masks[0] != masks[1]).any()) and torch.equal(output, 2 * x[:, :1]))
    return search(
        "evaluation", 1, against, "patterns differ at x_1 = -1 and 1, and f = 2 x_1 at both", SAME_MAP_WITNESS * against
    )


def _joined_exactly(context: RouteContext) -> Finding:
    del context
    left, right = walk(TWO_PATTERNS_ONE_MAP, (-1, 0, 0), (2, 0, 0))
    limit = [v + s * (left.end - left.start) for v, s in zip(left.value, left.slope, strict=True)]
    return settle(
        RATIONAL,
        limit != list(right.value),
        "the pattern changes at x_1 = 0 and both limits of f there are 0",
        SAME_MAP_WITNESS,
    )


def _joined_by_torch(context: RouteContext) -> Finding:
    import torch

    del context
    x = torch.zeros(2, INPUT_DIM, dtype=torch.float64)
    x[:, 0] = torch.tensor([-1e-300, 1e-300], dtype=torch.float64)
    output, masks = torch_network(TWO_PATTERNS_ONE_MAP)(x)
    against = int(bool((masks[0] != masks[1]).any()) and float(output.abs().max()) < 1e-299)
    return search(
        "evaluation", 1, against, "f is -2e-300 and 2e-300 on both sides of the change", SAME_MAP_WITNESS * against
    )


def printed_cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """The sentences as they stand; all four are false."""
    del inputs
    seed = derive(settings.seed, "piecewise-linearity")
    note = "true with the word added that piecewise-linearity has"
    for claimed, routes in (
        ("with all patterns fixed, f is linear, biases included", (_linear_exactly, _linear_by_torch)),
        (
            "the pattern of W x + b at c x, c > 0, is that at x",
            (_scaled_exactly(seed), _scaled_by_drawing(settings, bias=True)),
        ),
        ("whenever a pattern changes, f switches to another linear map", (_switch_exactly, _switch_by_torch)),
        ("linear regions of every k-WTA network are disconnected", (_joined_exactly, _joined_by_torch)),
    ):
        yield Claim({"seed": settings.seed}, claimed, routes, note=note)


TEXT = (
    "If the activation patterns of all layers are fixed, then f(x) is a linear function; when a pattern changes, f "
    "switches from one linear function to another. Linear regions of ReLU networks are joined together at their "
    "boundaries, whereas in k-WTA networks they are disconnected. If x' = c x with c > 0, the pattern is unchanged."
)
STATEMENT = Statement(
    "piecewise-linearity", "Section 3, piecewise linearity", TEXT, check_hypotheses, cases, uses_inputs=False
)
AS_PRINTED = Statement(
    "piecewise-linearity-as-printed",
    "Section 3, piecewise linearity, as printed",
    TEXT,
    check_hypotheses,
    printed_cases,
    scope="as printed",
    uses_inputs=False,
)
