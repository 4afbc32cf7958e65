"""The exact linear regions of a network along straight lines (refinement, layer by layer)."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, SupportsFloat, SupportsIndex

import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.regions import activations, affine  # noqa: F401  (they fill the table of functions that are known)
from kwta_theory.regions.pieces import Breakpoints, ForwardPass, Module, Pieces, TooManyPiecesError
from kwta_theory.regions.tensors import AffineTensor
from kwta_theory.seeding import Device, resolve_device

TOLERANCE = 2.0**-40
BYTES_PER_ENTRY = 80
"""Of the widest tensor: values and slopes, what is in between, and some masks."""


@dataclass(frozen=True)
class LineRegions:
    """The linear regions of a network along one line ``x(t) = start + t (end - start)``, ``0 <= t <= 1``.

    With ``n`` breakpoints there are ``n + 1`` regions; region ``i`` lies between breakpoints ``i - 1`` and ``i``.
    Tensors
    are float64 on the CPU; ``...`` is the shape of the output for one input. Slopes are derivatives by ``t``: divide by
    ``|end - start|`` for those by length.

    Attributes:
        breakpoints: shape ``(n,)``, increasing, strictly between 0 and 1.
        layers: for each breakpoint the first layer (in the order of execution) whose pattern changes there.
        units: for each breakpoint the units of that layer that change, as indices into its flattened output.
        values: shape ``(n + 1, 2, ...)``: the one-sided limits of the output at the left and right end of each region.
        slopes: shape ``(n + 1, ...)``: the derivative of the output by ``t`` in each region.
        layer_names: the names of all activation layers, in the order of execution.
        patterns: None, or for each layer the pattern in each region, shape ``(n + 1, units)``: for a piecewise linear
            function of one entry the number of knots below it (ReLU: 1 is on), for k-WTA and LWTA 1 for the winners,
            for max-pooling the place of the winner in its window.
    """

    breakpoints: torch.Tensor
    layers: tuple[str, ...]
    units: tuple[torch.Tensor, ...]
    values: torch.Tensor
    slopes: torch.Tensor
    layer_names: tuple[str, ...]
    patterns: dict[str, torch.Tensor] | None = field(default=None, repr=False)

    @property
    def count(self) -> int:
        """The number of regions."""
        return len(self.slopes)

    @property
    def left_values(self) -> torch.Tensor:
        """The limit of the output from the left at each breakpoint, ``(n, ...)``."""
        return self.values[:-1, 1]

    @property
    def right_values(self) -> torch.Tensor:
        """The limit of the output from the right at each breakpoint, ``(n, ...)``."""
        return self.values[1:, 0]

    @property
    def left_slopes(self) -> torch.Tensor:
        """The slope on the left of each breakpoint, ``(n, ...)``."""
        return self.slopes[:-1]

    @property
    def right_slopes(self) -> torch.Tensor:
        """The slope on the right of each breakpoint, ``(n, ...)``."""
        return self.slopes[1:]

    @property
    def jumps(self) -> torch.Tensor:
        """By how much the output jumps at each breakpoint, right minus left; rounding where it is continuous."""
        return self.right_values - self.left_values

    @property
    def ends(self) -> torch.Tensor:
        """Where the regions begin and end, ``(n + 2,)``: 0, the breakpoints, 1."""
        return torch.cat([self.breakpoints.new_zeros(1), self.breakpoints, self.breakpoints.new_ones(1)])

    def region_at(self, t: torch.Tensor) -> torch.Tensor:
        """The region of each ``t``; a breakpoint belongs to the region on its left."""
        return torch.searchsorted(self.breakpoints, t)

    def value_at(self, t: torch.Tensor) -> torch.Tensor:
        """The output at each ``t`` of a vector, ``(len(t), ...)``; at a breakpoint the limit from the left."""
        region = self.region_at(t)
        apart = (t - self.ends[region]).view(-1, *(1,) * (self.slopes.ndim - 1))
        return self.values[region, 0] + apart * self.slopes[region]


def line_regions(
    model: nn.Module,
    start: torch.Tensor,
    end: torch.Tensor,
    *,
    patterns: bool = False,
    tolerance: SupportsFloat = TOLERANCE,
    memory: SupportsIndex = 2**28,
    device: Device | None = None,
) -> tuple[LineRegions, ...]:
    """Every linear region of a network on the segments from ``start`` to ``end``, with the jumps between them.

    A region is a maximal open interval of ``t`` on which no activation changes its pattern, so that the network is
    affine in ``x(t) = start + t (end - start)``. Method (refinement): all pieces of all lines go through the network
    at once, each tensor as value and slope in ``t``. An activation layer sees affine functions, so every change of its
    pattern inside a piece is a root: sign changes for ReLU and its relatives, Newton's method on the concave
    ``g(t) = min over winners - max over losers`` for k-WTA, the same in each group for LWTA and in each window for
    max-pooling. The pieces are cut there and go on. After the last layer every piece is one region. Values at its ends
    are one-sided limits, in the later layers too, because a piece keeps the pattern of its interior up to its ends.

    What may be in the network: affine layers (linear, convolutions, batch normalisation in evaluation mode, padding,
    pooling by means, interpolation), sums, differences, products and quotients with constants, concatenation,
    reshaping, slices; ReLU, leaky ReLU, PReLU, ReLU6, hard tanh, clamp, threshold, absolute value, as modules or
    functions; ``kwta_theory.KWTA`` and ``LWTA``; max-pooling. Everything else is refused by name. In particular
    a sigmoid, a softmax, a layer norm, a batch norm or dropout in training mode, a product of two activations.

    Rounding. The computation is in float64. A number that is no larger than ``tolerance`` times the largest absolute
    value in its layer on that piece, plus four units in the last place of ``t`` times its slope, is not told from zero:

    - Units whose difference (for ReLU: whose value) is that small on a whole piece are equal (zero) there: the smaller
      index wins, zero is off, and there is no event. This is what duplicate units, dead units and constant borders of
      images need, whose values differ in the last digits.
    - A crossing is an event if the values are told from zero at both ends of the piece, on two sides.
    - Two changes found in one layer whose order cannot be told, because they are no further apart than this rounding
      may have moved both, are one breakpoint with several units. A change of a later layer that cannot be told from an
      existing breakpoint belongs to it.

    So exact ties and coincidences end in the exact count, as long as values are computed better than the tolerance;
    what genuinely differs by less than the tolerance is merged. The default is 4096 units of rounding. Layers in which
    larger numbers cancel (a batch norm that subtracts a mean much larger than what it leaves) need a larger one. A
    count that stays the same for tolerances 64 times smaller and larger did not depend on it.

    Args:
        model: any module in eager mode made of the above; it is called on a batch. It is copied, in float64; its
            parameters, mode, hooks, dtype and gradients are left as they are.
        start: where the lines begin, a batch of inputs ``(lines, ...)``.
        end: where they end, the same shape. Where start and end are equal there is one region.
        patterns: also return the pattern of every layer in every region.
        tolerance: as above, in (0, 1e-3].
        memory: about how many bytes the tensors of a pass may take; longer lists of pieces are split.
            More than some hundred pieces at once are no faster.
        device: where to compute; None for the device of the model's parameters.

    Returns:
        The regions of each line.

    Raises:
        InvalidArgumentError: for a model with something else in it (the sentence names the layer and the function), for
            inputs of another shape, not finite or not real.

    Source: Section 3, "Linear region density", and Appendix B: the regions that the paper counts on random layers.

    >>> network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> with torch.no_grad():  # |x| by two units
    ...     for parameter, numbers in zip(network.parameters(), ([[1.0], [-1.0]], [0, 0], [[1, 1]], [0]), strict=True):
    ...         _ = parameter.copy_(torch.tensor(numbers))
    >>> (line,) = line_regions(network, torch.tensor([[-1.0]]), torch.tensor([[3.0]]))
    >>> line.count, line.breakpoints.tolist(), line.layers, line.units[0].tolist(), line.slopes.flatten().tolist()
    (2, [0.25], ('1',), [0, 1], [-4.0, 4.0])
    """
    start, end = _check_lines(model, start, end)
    tolerance = check_number("tolerance", tolerance, 0.0, 1e-3, open_minimum=True)
    memory = check_integer("memory", memory, 1)
    where = _device(model, start, device)
    network = _copy(model, where)
    start, end = (point.detach().to(device=where, dtype=torch.float64) for point in (start, end))
    with torch.no_grad():
        return _Job(network, start, end, tolerance, memory, bool(patterns)).run()


def _check_lines(model: nn.Module, start: torch.Tensor, end: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if not isinstance(model, nn.Module):
        raise InvalidArgumentError(f"model is a {type(model).__name__}: it must be a torch.nn.Module.")
    for name, point in (("start", start), ("end", end)):
        if not isinstance(point, torch.Tensor) or point.is_complex() or point.dtype == torch.bool:
            raise InvalidArgumentError(f"{name} is not a tensor of real numbers: it must be a batch of inputs.")
        if point.ndim < 2 or point.numel() == 0:
            raise InvalidArgumentError(
                f"{name} has shape {tuple(point.shape)}: it must be (lines, ...), at least one line, not empty."
            )
        if not bool(point.isfinite().all()):
            raise InvalidArgumentError(f"{name} has NaN or infinity: every entry must be finite.")
    if start.shape != end.shape:
        raise InvalidArgumentError(
            f"start has shape {tuple(start.shape)} and end {tuple(end.shape)}: they must be the same."
        )
    return start, end


def _device(model: nn.Module, start: torch.Tensor, device: Device | None) -> torch.device:
    if device is not None:
        return resolve_device(device)
    first = next(itertools.chain(model.parameters(), model.buffers()), start)
    return first.device


def _copy(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with its parameters and buffers in float64; nothing of it is shared with the original."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(_double(parameter, device), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = _double(buffer, device)
    return copy.deepcopy(model, memo)


def _double(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    dtype = torch.float64 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(device=device, dtype=dtype, copy=True)


def _known(module: nn.Module) -> Callable[[Any, Any], Any] | None:
    """What a module does, where that is known without its code; a subclass with a ``forward`` of its own is not."""
    return next((f for kind, f in activations.MODULES.items() if type(module).forward is kind.forward), None)


@contextmanager
def _followed(network: nn.Module, run: ForwardPass) -> Iterator[None]:
    """Let ``run`` know in which module it is, and give it those modules whose code is known."""

    def enter(*_: Any, here: Module) -> None:
        run.modules.append(here)

    def leave(*_: Any) -> None:
        run.modules.pop()

    handles, replaced = [], []
    for path, module in network.named_modules():
        known = _known(module)
        torchs = known is not None or type(module).__module__.startswith("torch.nn.")
        enter_here = functools.partial(enter, here=Module(path, type(module).__name__, torchs))
        handles.append(module.register_forward_pre_hook(enter_here, prepend=True))
        handles.append(module.register_forward_hook(leave))
        if known is not None:
            module.forward = functools.partial(known, module)
            replaced.append(module)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in replaced:
            del module.forward


class _Job:
    """All passes of one call."""

    def __init__(
        self, network: nn.Module, start: torch.Tensor, end: torch.Tensor, tolerance: float, memory: int, patterns: bool
    ) -> None:
        self.network, self.start, self.direction = network, start, end - start
        self.tolerance, self.keep_patterns = tolerance, patterns
        # Without pieces nothing is computed, but the network is looked at, and refused if need be.
        empty, _ = self._pass(self._whole(slice(0, 0)), None)
        self.names = tuple(empty.layers)
        self.most_pieces = max(1, memory // (BYTES_PER_ENTRY * empty.widest))

    def _whole(self, which: slice) -> Pieces:
        line = torch.arange(len(self.start), device=self.start.device)[which]
        low = self.start.new_zeros(len(line))
        return Pieces(line, low, low + 1.0)

    def _pass(self, pieces: Pieces, most_pieces: int | None) -> tuple[ForwardPass, torch.Tensor | None]:
        """One pass: outputs, ``(2, pieces, ...)``; None where there were too many pieces to go on."""
        run = ForwardPass(pieces, self.tolerance, most_pieces, self.keep_patterns)
        along = self.direction[pieces.line]
        centre = pieces.centre.view(-1, *(1,) * (along.ndim - 1))
        x = AffineTensor.make(run, torch.stack([self.start[pieces.line] + centre * along, along]), 0)
        with _followed(self.network, run):
            try:
                out = self.network(x)
            except TooManyPiecesError:
                return run, None
        if not isinstance(out, AffineTensor):
            raise InvalidArgumentError(
                f"the model returned a {type(out).__name__}: it must return one tensor, a batch of outputs that depend "
                "on its inputs."
            )
        return run, out.current()

    def run(self) -> tuple[LineRegions, ...]:
        """All lines, in passes of bounded size.

        A pass begins with as many lines as are expected to end in three eighths of the pieces that it may have, by how
        many came of one before. So few passes are given up on the way, and many short lines share one. Parts of lines,
        where a pass had to be given up, are counted for themselves.
        """
        jobs = [(self._whole(slice(None)), 0)]
        grown: dict[int, tuple[int, int]] = {}
        done: list[tuple[Pieces, torch.Tensor, list[torch.Tensor]]] = []
        cuts: list[Breakpoints] = []
        while jobs:
            waiting, given_up = jobs.pop()
            size = self._size(grown.get(given_up))
            if len(waiting) > size:
                jobs.append((_part(waiting, slice(size, None)), given_up))
            begun = min(size, len(waiting))
            run, out = self._pass(_part(waiting, slice(size)), self.most_pieces)
            before, after = grown.get(given_up, (0, 0))
            grown[given_up] = before + begun, after + len(run.pieces)
            cuts += run.breakpoints
            pieces = run.pieces
            if out is None:
                jobs.append((pieces, given_up + 1))
                continue
            patterns = [pattern[pieces.ancestors(generation)] for generation, pattern in run.patterns]
            done.append((pieces, out, patterns))
        return self._assemble(done, cuts)

    def _size(self, grown: tuple[int, int] | None) -> int:
        """With how many lines or parts a pass begins, from how many began and ended until now."""
        size = self.most_pieces // 16 if grown is None else self.most_pieces * 3 * grown[0] // (8 * grown[1])
        return max(1, min(size, self.most_pieces))

    def _assemble(
        self, done: list[tuple[Pieces, torch.Tensor, list[torch.Tensor]]], cuts: list[Breakpoints]
    ) -> tuple[LineRegions, ...]:
        """Put pieces and breakpoints in order, and give each line its own."""
        order = _order(torch.cat([pieces.line for pieces, _, _ in done]), torch.cat([p.low for p, _, _ in done]))
        line = torch.cat([pieces.line for pieces, _, _ in done])[order].cpu()
        half = torch.cat([pieces.half for pieces, _, _ in done])[order].cpu()
        out = torch.cat([out for _, out, _ in done], dim=1)[:, order].cpu()
        patterns = [torch.cat(parts)[order].cpu() for parts in zip(*(parts for _, _, parts in done), strict=True)]
        spread = out[1] * half.view(-1, *(1,) * (out.ndim - 2))

        breaks = _Breaks(cuts, line)
        # A cut at which no unit of its layer changed is none: the parts on its two sides are one region.
        new_line = torch.ones(len(line) + 1, dtype=torch.bool)
        new_line[1:-1] = line[1:] != line[:-1]
        edge = new_line.clone()
        edge[~new_line] = breaks.real
        first, last = edge[:-1].nonzero().squeeze(1), edge[1:].nonzero().squeeze(1)
        values = torch.stack([out[0, first] - spread[first], out[0, last] + spread[last]], dim=1)
        regions = torch.bincount(line[first], minlength=len(self.start)).tolist()
        answer, region, cut = [], 0, 0
        for count in regions:
            mine, cuts_of_mine = slice(region, region + count), slice(cut, cut + count - 1)
            answer.append(
                LineRegions(
                    breakpoints=breaks.t[cuts_of_mine],
                    layers=tuple(self.names[i] for i in breaks.layer[cuts_of_mine].tolist()),
                    units=breaks.units[cuts_of_mine],
                    values=values[mine],
                    slopes=out[1, first[mine]],
                    layer_names=self.names,
                    patterns=dict(zip(self.names, (p[first[mine]] for p in patterns), strict=True))
                    if self.keep_patterns
                    else None,
                )
            )
            region, cut = region + count, cut + count - 1
        return tuple(answer)


def _part(pieces: Pieces, which: slice) -> Pieces:
    """Some of the pieces, without their past."""
    return Pieces(pieces.line[which], pieces.low[which], pieces.high[which])


class _Breaks:
    """All breakpoints in order; ``real`` is False for those where nothing changes, which are left out of the rest."""

    def __init__(self, cuts: list[Breakpoints], like: torch.Tensor) -> None:
        empty = like[:0]
        line = torch.cat([empty, *(cut.line.cpu() for cut in cuts)])
        t = torch.cat([empty.double(), *(cut.t.cpu() for cut in cuts)])
        layer = torch.cat([empty, *(torch.full_like(cut.line, cut.layer).cpu() for cut in cuts)])
        size = torch.cat([empty, *(torch.bincount(cut.owner, minlength=len(cut.t)).cpu() for cut in cuts)])
        units = torch.cat([empty, *(cut.unit.cpu() for cut in cuts)]).split(size.tolist())
        order = _order(line, t)
        self.real = size[order] > 0
        order = order[self.real]
        self.t, self.layer = t[order], layer[order]
        self.units = tuple(units[i] for i in order.tolist())


def _order(line: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The order by line, then by position."""
    order = t.argsort(stable=True)
    return order[line[order].argsort(stable=True)]
