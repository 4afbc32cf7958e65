"""What is affine: layers with weights, pooling by means, sums, and everything that only moves entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kwta_theory.regions.tensors import (
    AffineTensor,
    as_constant,
    batchwise,
    handles,
    in_place,
    keeps_batch,
    per_sample,
    sample_dims,
)


def _bias(out: AffineTensor, bias: Tensor | None, dim: int) -> AffineTensor:
    """Add a bias to the values; slopes have none."""
    if bias is not None:
        out.rows[0] += as_constant(out, bias).view(-1, *(1,) * (out.ndim - 1 - dim))
    return out


def _weight(x: Any, weight: Any, bias: Any = None) -> Tensor:
    if not isinstance(x, AffineTensor):
        return weight.run.refuse("uses an activation as a weight.")
    if isinstance(weight, AffineTensor) or isinstance(bias, AffineTensor):
        return x.run.refuse("uses an activation as a weight.")
    return as_constant(x, weight)


@handles(functional.linear)
def _linear(x: AffineTensor, weight: Tensor, bias: Tensor | None = None) -> AffineTensor:
    weight = _weight(x, weight, bias)
    if x.ndim < 2:
        return x.run.refuse("takes the batch for features.")
    return _bias(batchwise(x, lambda rows: functional.linear(rows, weight)), bias, x.ndim - 1)


def _convolution(function: Callable[..., Tensor], dims: int) -> None:
    @handles(function)
    def convolve(
        x: AffineTensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> AffineTensor:
        weight = _weight(x, weight, bias)
        if x.ndim != dims + 2:
            return x.run.refuse("takes the batch for channels: give it inputs with a batch.")
        return _bias(batchwise(x, lambda rows: function(rows, weight, None, *args, **kwargs)), bias, 1)


for _function, _dims in (
    (torch.conv1d, 1),
    (torch.conv2d, 2),
    (torch.conv3d, 3),
    (torch.conv_transpose1d, 1),
    (torch.conv_transpose2d, 2),
    (torch.conv_transpose3d, 3),
):
    _convolution(_function, _dims)


@handles(functional.batch_norm)
def _batch_norm(
    x: AffineTensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,  # noqa: ARG001  (torch's signature)
    eps: float = 1e-5,
) -> AffineTensor:
    if training or running_mean is None or running_var is None:
        return x.run.refuse(
            "normalises by the statistics of the batch, which is not affine: call eval() on the model first."
        )
    shape = (-1, *(1,) * (x.ndim - 2))
    scale = (as_constant(x, running_var) + eps).rsqrt()
    if weight is not None:
        scale = scale * as_constant(x, weight)
    shift = -as_constant(x, running_mean) * scale
    if bias is not None:
        shift = shift + as_constant(x, bias)
    rows = x.rows * scale.view(shape)
    rows[0] += shift.view(shape)
    return x.like(rows)


def _linear_in_first(*functions: Any, dims: int) -> None:
    """Functions that are linear in their first argument and treat each sample of a batch alike."""
    for function in functions:

        @handles(function)
        def apply(x: AffineTensor, *args: Any, _function: Any = function, **kwargs: Any) -> AffineTensor:
            if x.ndim != dims + 2:
                return x.run.refuse("takes the batch for channels: give it inputs with a batch.")
            return batchwise(x, lambda rows: _function(rows, *args, **kwargs))


_linear_in_first(functional.avg_pool1d, functional.adaptive_avg_pool1d, dims=1)
_linear_in_first(functional.avg_pool2d, functional.adaptive_avg_pool2d, dims=2)
_linear_in_first(functional.pixel_shuffle, functional.pixel_unshuffle, dims=2)
_linear_in_first(functional.avg_pool3d, functional.adaptive_avg_pool3d, dims=3)


@handles(torch.mean, Tensor.mean)
def _mean(x: AffineTensor, dim: Any = None, keepdim: bool = False) -> AffineTensor:
    dims = sample_dims(x, dim)
    return batchwise(x, lambda rows: rows.mean(dims, keepdim))


@handles(torch.sum, Tensor.sum)
def _sum(x: AffineTensor, dim: Any = None, keepdim: bool = False) -> AffineTensor:
    dims = sample_dims(x, dim)
    return batchwise(x, lambda rows: rows.sum(dims, keepdim))


@handles(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm)
def _matmul(x: AffineTensor, weight: Tensor) -> AffineTensor:
    weight = _weight(x, weight)
    if x.ndim < 2 or weight.ndim > 2:
        return x.run.refuse("multiplies matrices in a way that mixes the samples of a batch.")
    return batchwise(x, lambda rows: rows @ weight)


@handles(torch.addmm)
def _addmm(bias: Tensor, x: AffineTensor, weight: Tensor) -> AffineTensor:
    return _add(_matmul(x, weight), bias)


def _both(a: AffineTensor, b: AffineTensor) -> tuple[Tensor, Tensor]:
    if a.ndim != b.ndim:
        a.run.refuse("combines activations of different dimensions.")
    return a.current(), b.current()


@handles(torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
def _add(a: Any, b: Any, *, alpha: float = 1.0) -> AffineTensor:
    if isinstance(a, AffineTensor) and isinstance(b, AffineTensor):
        first, second = _both(a, b)
        return a.like(first + second if alpha == 1.0 else first + alpha * second)
    x, constant, own, factor = (a, b, 1.0, alpha) if isinstance(a, AffineTensor) else (b, a, alpha, 1.0)
    constant = per_sample(x, constant)
    value, slope = x.rows * own
    value = value + constant * factor
    return x.like(torch.stack([value, slope.expand_as(value)]))


@handles(torch.sub, Tensor.sub, Tensor.__sub__, torch.subtract, Tensor.subtract)
def _subtract(a: Any, b: Any, *, alpha: float = 1.0) -> AffineTensor:
    return _add(a, b, alpha=-alpha)


@handles(torch.rsub, Tensor.__rsub__)
def _subtract_from(a: Any, b: Any, *, alpha: float = 1.0) -> AffineTensor:
    return _add(b, a, alpha=-alpha)


@handles(torch.neg, Tensor.neg, Tensor.__neg__, torch.negative, Tensor.negative)
def _negative(x: AffineTensor) -> AffineTensor:
    return x.like(-x.rows)


@handles(torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.multiply, Tensor.multiply)
def _multiply(a: Any, b: Any) -> AffineTensor:
    if isinstance(a, AffineTensor) and isinstance(b, AffineTensor):
        return a.run.refuse("multiplies two activations, which is not piecewise linear.")
    x, constant = (a, b) if isinstance(a, AffineTensor) else (b, a)
    return x.like(x.rows * per_sample(x, constant))


@handles(torch.div, Tensor.div, Tensor.__truediv__, torch.true_divide, Tensor.true_divide, torch.divide, Tensor.divide)
def _divide(a: Any, b: Any, *, rounding_mode: str | None = None) -> AffineTensor:
    if isinstance(b, AffineTensor):
        return b.run.refuse("divides by an activation, which is not piecewise linear.")
    if rounding_mode is not None:
        return a.run.refuse("divides and rounds, which is not piecewise linear.")
    return a.like(a.rows / per_sample(a, b))


in_place(_add, Tensor.add_, Tensor.__iadd__)
in_place(_subtract, Tensor.sub_, Tensor.__isub__, Tensor.subtract_)
in_place(_multiply, Tensor.mul_, Tensor.__imul__, Tensor.multiply_)
in_place(_divide, Tensor.div_, Tensor.__itruediv__, Tensor.divide_)


def _join(function: Any, tensors: Sequence[Any], dim: int, ndim: int) -> AffineTensor:
    x = next(tensor for tensor in tensors if isinstance(tensor, AffineTensor))
    if dim % ndim == 0:
        return x.run.refuse("joins along the batch.")
    parts = []
    for tensor in tensors:
        if isinstance(tensor, AffineTensor):
            parts.append(tensor.current())
        else:
            value = per_sample(x, tensor).expand(len(x.run.pieces), *tensor.shape[1:])
            parts.append(torch.stack([value, torch.zeros_like(value)]))
    return x.like(function(parts, dim=dim % ndim + 1))


@handles(torch.cat, torch.concat, torch.concatenate)
def _concatenate(tensors: Sequence[Any], dim: int = 0) -> AffineTensor:
    return _join(torch.cat, tensors, dim, tensors[0].ndim)


@handles(torch.stack)
def _stack(tensors: Sequence[Any], dim: int = 0) -> AffineTensor:
    return _join(torch.stack, tensors, dim, tensors[0].ndim + 1)


def _reshaping(*functions: Any) -> None:
    """Functions that keep the order of the entries."""
    for function in functions:

        @handles(function)
        def reshape(x: AffineTensor, *args: Any, _function: Any = function, **kwargs: Any) -> AffineTensor:
            shape = keeps_batch(x, lambda tensor: _function(tensor, *args, **kwargs))
            x.shared = True
            return x.like(x.rows.reshape(*x.rows.shape[:2], *shape[1:]), shared=True)


_reshaping(torch.flatten, Tensor.flatten, torch.reshape, Tensor.reshape, Tensor.view, torch.unflatten, Tensor.unflatten)
_reshaping(torch.squeeze, Tensor.squeeze, torch.unsqueeze, Tensor.unsqueeze)


def _rearranging(*functions: Any) -> None:
    """Views that move or choose entries within each sample."""
    for function in functions:

        @handles(function)
        def rearrange(x: AffineTensor, *args: Any, _function: Any = function, **kwargs: Any) -> AffineTensor:
            keeps_batch(x, lambda tensor: _function(tensor, *args, **kwargs))
            x.shared = True
            return batchwise(x, lambda rows: _function(rows, *args, **kwargs), shared=True)


_rearranging(torch.permute, Tensor.permute, torch.transpose, Tensor.transpose, torch.movedim, Tensor.movedim)
_rearranging(torch.narrow, Tensor.narrow)


@handles(Tensor.__getitem__)
def _get_item(x: AffineTensor, index: Any) -> AffineTensor:
    indices = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(i, int | slice) or i is Ellipsis or i is None for i in indices):
        return x.run.refuse("chooses entries by a tensor or a list of indices, which is not treated.")
    keeps_batch(x, lambda tensor: tensor[index])
    x.shared = True
    return batchwise(x, lambda rows: rows[index], shared=True)


@handles(torch.chunk, Tensor.chunk)
def _chunk(x: AffineTensor, chunks: int, dim: int = 0) -> tuple[AffineTensor, ...]:
    (dim,) = sample_dims(x, dim)
    x.shared = True
    return tuple(x.like(part, shared=True) for part in x.rows.chunk(chunks, dim + 1))


@handles(torch.split, Tensor.split)
def _split(x: AffineTensor, split_size_or_sections: Any, dim: int = 0) -> tuple[AffineTensor, ...]:
    (dim,) = sample_dims(x, dim)
    x.shared = True
    return tuple(x.like(part, shared=True) for part in x.rows.split(split_size_or_sections, dim + 1))


@handles(functional.pad)
def _pad(x: AffineTensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> AffineTensor:
    if len(pad) // 2 >= x.ndim:
        return x.run.refuse("pads the batch.")
    if mode != "constant":
        return batchwise(x, lambda rows: functional.pad(rows, pad, mode))
    out = batchwise(x, lambda rows: functional.pad(rows, pad))
    if value:
        out.rows[0] += functional.pad(torch.zeros_like(x.rows[0]), pad, value=value)
    return out


@handles(functional.interpolate)
def _interpolate(
    x: AffineTensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **kwargs: Any
) -> AffineTensor:
    """Every mode of torch is linear in the picture."""
    return batchwise(x, lambda rows: functional.interpolate(rows, size, scale_factor, mode, **kwargs))


def _dropout(*functions: Any) -> None:
    @handles(*functions)
    def drop(
        x: AffineTensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,  # noqa: ARG001  (torch's signature)
    ) -> AffineTensor:
        return x.run.refuse("drops units at random: call eval() on the model first.") if training and p else x


_dropout(functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)
_dropout(functional.alpha_dropout, functional.feature_alpha_dropout)
_dropout(torch.dropout, torch.alpha_dropout, torch.feature_dropout, torch.feature_alpha_dropout)


@handles(Tensor.clone, torch.clone)
def _clone(x: AffineTensor, **_: Any) -> AffineTensor:
    return x.like(x.rows.clone())


@handles(
    Tensor.contiguous,
    Tensor.detach,
    torch.detach,
    Tensor.to,
    Tensor.float,
    Tensor.double,
    Tensor.type_as,
    Tensor.requires_grad_,
)
def _same(x: AffineTensor, *args: Any, **_: Any) -> AffineTensor:
    """Everything is computed in float64 on one device, whatever the network would convert to."""
    targets = [a.dtype if isinstance(a, Tensor) else a for a in args] + [_.get("dtype")]
    if any(isinstance(target, torch.dtype) and not target.is_floating_point for target in targets):
        return x.run.refuse("converts activations to a dtype that is not floating point.")
    return x
