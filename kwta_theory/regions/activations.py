"""The activations by the names under which a network calls them, and pooling by the maximum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kwta_theory.checks import winners
from kwta_theory.modules import KWTA, LWTA
from kwta_theory.regions.layers import Pointwise, ReLU, Winners
from kwta_theory.regions.pieces import ActivationLayer
from kwta_theory.regions.tensors import AffineTensor, as_constant, handles, in_place, window


def _activate(
    x: AffineTensor, layer: ActivationLayer, function: str = "", shape: Sequence[int] | None = None
) -> AffineTensor:
    """Run a layer. It is called as its module, or ``module.function`` if it is called in the code of somebody's own."""
    here = x.run.modules[-1]
    name = ".".join(part for part in (here.path, "" if here.known else function) if part) or here.kind
    out = x.run.activate(x.current(), layer, name)
    pieces = x.run.pieces
    out = out.reshape(2, len(pieces), *(x.shape[1:] if shape is None else shape))
    return AffineTensor.make(x.run, out, pieces.generation)


def _pointwise(
    x: AffineTensor, name: str, knots: list[float], slopes: list[float], intercepts: list[float]
) -> AffineTensor:
    return _activate(x, Pointwise(*(x.rows.new_tensor(part) for part in (knots, slopes, intercepts))), name)


@handles(functional.relu, torch.relu, Tensor.relu)
def _relu(x: AffineTensor, inplace: bool = False) -> AffineTensor:
    return _in_place_if(True, _relu, x) if inplace else _activate(x, ReLU(x.rows), "relu")


def _in_place_if(inplace: bool, handler: Callable[..., AffineTensor], x: AffineTensor, *args: Any) -> AffineTensor:
    if not inplace:
        return handler(x, *args)
    if x.shared:
        return x.run.refuse("changes in place a tensor of which a view exists: take the form that is not in place.")
    out = handler(x, *args)
    x.rows, x.generation = out.rows, out.generation
    return x


@handles(functional.leaky_relu)
def _leaky_relu(x: AffineTensor, negative_slope: float = 0.01, inplace: bool = False) -> AffineTensor:
    if inplace:
        return _in_place_if(True, _leaky_relu, x, negative_slope)
    return _pointwise(x, "leaky_relu", [0.0], [negative_slope, 1.0], [0.0, 0.0])


@handles(functional.rrelu)
def _rrelu(
    x: AffineTensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> AffineTensor:
    if training:
        return x.run.refuse("draws its slopes at random: call eval() on the model first.")
    if inplace:
        return _in_place_if(True, _rrelu, x, lower, upper)
    return _pointwise(x, "rrelu", [0.0], [(lower + upper) / 2, 1.0], [0.0, 0.0])


@handles(torch.prelu, functional.prelu, Tensor.prelu)
def _prelu(x: AffineTensor, weight: Tensor) -> AffineTensor:
    if isinstance(weight, AffineTensor):
        return x.run.refuse("uses an activation as a weight.")
    weight = as_constant(x, weight)
    channels = weight.view(-1, *(1,) * (x.ndim - 2)) if weight.numel() > 1 else weight.view(())
    negative = channels.expand(x.shape[1:]).reshape(-1)
    slopes = torch.stack([negative, torch.ones_like(negative)])
    zero = x.rows.new_zeros(2)
    return _activate(x, Pointwise(zero[:1], slopes, zero), "prelu")


def _clip(x: AffineTensor, low: Any, high: Any, name: str) -> AffineTensor:
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return x.run.refuse("clips at tensors, which is not treated: use numbers.")
    if low is not None and high is not None and not low < high:
        return x.run.refuse(f"clips to [{low}, {high}], an interval without interior.")
    knots, slopes, intercepts = [], [1.0], [0.0]
    if low is not None:
        knots, slopes, intercepts = [low], [0.0, 1.0], [low, 0.0]
    if high is not None:
        knots, slopes, intercepts = [*knots, high], [*slopes, 0.0], [*intercepts, high]
    return _pointwise(x, name, knots, slopes, intercepts)


@handles(functional.hardtanh)
def _hardtanh(x: AffineTensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> AffineTensor:
    return _in_place_if(inplace, _clip, x, min_val, max_val, "hardtanh")


@handles(functional.relu6)
def _relu6(x: AffineTensor, inplace: bool = False) -> AffineTensor:
    return _in_place_if(inplace, _clip, x, 0.0, 6.0, "relu6")


@handles(torch.clamp, Tensor.clamp, torch.clip, Tensor.clip)
def _clamp(x: AffineTensor, min: Any = None, max: Any = None) -> AffineTensor:  # noqa: A002  (torch's names)
    return _clip(x, min, max, "clamp")


@handles(torch.abs, Tensor.abs, torch.absolute, Tensor.absolute, Tensor.__abs__)
def _absolute(x: AffineTensor) -> AffineTensor:
    return _pointwise(x, "abs", [0.0], [-1.0, 1.0], [0.0, 0.0])


@handles(functional.threshold, torch.threshold)
def _threshold(x: AffineTensor, threshold: float, value: float, inplace: bool = False) -> AffineTensor:
    if inplace:
        return _in_place_if(True, _threshold, x, threshold, value)
    return _pointwise(x, "threshold", [threshold], [0.0, 1.0], [value, 0.0])


in_place(_relu, Tensor.relu_, torch.relu_)
in_place(_leaky_relu, functional.leaky_relu_)
in_place(_hardtanh, functional.hardtanh_)
in_place(_clamp, Tensor.clamp_, torch.clamp_, Tensor.clip_)
in_place(_absolute, Tensor.abs_, torch.abs_)


def kwta(module: KWTA, x: Any) -> Any:
    """What a :class:`kwta_theory.KWTA` does to a tensor that is affine on pieces."""
    if x.ndim < 2:
        return x.run.refuse("takes the batch for units.")
    return _activate(x, Winners(winners(math.prod(x.shape[1:]), module.sparsity_ratio)))


def lwta(module: LWTA, x: Any) -> Any:
    """What a :class:`kwta_theory.LWTA` does: groups of consecutive channels, at each position their own."""
    if x.ndim < 2:
        return x.run.refuse("takes the batch for units.")
    channels, size = x.shape[1], module.group_size
    if channels % size and not module.partial_group:
        return x.run.refuse(f"has groups of {size}, which do not divide the {channels} channels.")
    index = torch.arange(math.prod(x.shape[1:]), device=x.rows.device).view(channels, -1)
    index = functional.pad(index, (0, 0, 0, -channels % size), value=-1)
    groups = index.view(-1, size, index.shape[1]).transpose(1, 2).reshape(-1, size)
    return _activate(x, Winners(1, groups))


def _windows(length: int, size: int, stride: int, padding: int, dilation: int, outputs: int) -> Tensor:
    """The positions under each window along one dimension, ``-1`` beyond the border: ``(outputs, size)``."""
    at = torch.arange(outputs)[:, None] * stride - padding + torch.arange(size) * dilation
    return at.masked_fill((at < 0) | (at >= length), -1)


def _adaptive_windows(length: int, outputs: int) -> Tensor:
    first = torch.arange(outputs) * length // outputs
    last = -(-(torch.arange(1, outputs + 1) * length) // outputs)
    at = first[:, None] + torch.arange(int((last - first).max()))
    return at.masked_fill(at >= last[:, None], -1)


def _max_pool(x: AffineTensor, positions: Sequence[Tensor], name: str) -> AffineTensor:
    """Pool over windows that are products of one-dimensional ones."""
    outputs: tuple[int, ...]
    if len(positions) == 1:
        flat, outputs = positions[0], (len(positions[0]),)
    else:
        rows, columns = positions
        at = rows[:, None, :, None] * x.shape[3] + columns[None, :, None, :]
        missing = (rows < 0)[:, None, :, None] | (columns < 0)[None, :, None, :]
        flat, outputs = at.masked_fill(missing, -1).flatten(2).flatten(0, 1), (len(rows), len(columns))
    if bool((flat < 0).all(1).any()):
        return x.run.refuse("has a window that lies beyond the border.")
    area = math.prod(x.shape[1:]) // x.shape[1]
    groups = flat[None] + torch.arange(x.shape[1])[:, None, None] * area
    groups = groups.masked_fill(flat < 0, -1).flatten(0, 1).to(x.rows.device)
    return _activate(x, Winners(1, groups, pool=True), name, (x.shape[1], *outputs))


def _register_max_pool(function: Any, dims: int) -> None:
    @handles(function)
    def pool(
        x: AffineTensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> AffineTensor:
        if return_indices or x.ndim != dims + 2:
            return x.run.refuse("asks for the indices of a pooling, or takes the batch for channels.")
        shape = function(torch.empty(x.shape, device="meta"), kernel_size, stride, padding, dilation, ceil_mode).shape
        sizes, paddings, dilations = window(kernel_size, dims), window(padding, dims), window(dilation, dims)
        strides = sizes if stride is None or stride == [] else window(stride, dims)
        positions = [
            _windows(*parts) for parts in zip(x.shape[2:], sizes, strides, paddings, dilations, shape[2:], strict=True)
        ]
        return _max_pool(x, positions, f"max_pool{dims}d")


_register_max_pool(functional.max_pool1d, 1)
_register_max_pool(functional.max_pool2d, 2)
_register_max_pool(torch.max_pool1d, 1)
_register_max_pool(torch.max_pool2d, 2)


def _register_adaptive_max_pool(function: Any, dims: int) -> None:
    @handles(function)
    def pool(x: AffineTensor, output_size: Any, return_indices: bool = False) -> AffineTensor:
        if return_indices or x.ndim != dims + 2:
            return x.run.refuse("asks for the indices of a pooling, or takes the batch for channels.")
        sizes = [
            length if size is None else size
            for length, size in zip(x.shape[2:], window(output_size, dims), strict=True)
        ]
        positions = [_adaptive_windows(length, size) for length, size in zip(x.shape[2:], sizes, strict=True)]
        return _max_pool(x, positions, f"adaptive_max_pool{dims}d")


_register_adaptive_max_pool(functional.adaptive_max_pool1d, 1)
_register_adaptive_max_pool(functional.adaptive_max_pool2d, 2)

MODULES: dict[type[nn.Module], Callable[[Any, Any], Any]] = {KWTA: kwta, LWTA: lwta}
"""Modules whose code is not looked at, because what they do is known."""
