"""k-WTA on a CPU, faster than by operations of torch, and the same to the bit.

``torch.topk`` selects the k-th value *and* sorts out the k winners; the pattern needs the value alone. The bits of the
floats, read as integers, are searched by one of two loops:

- :mod:`kwta_theory._fast_pattern_kernel`, compiled by numba where that is installed (the extra ``fast``), finds the
  value by counting and writes output and mask: about one nanosecond per entry of float32;
- :mod:`kwta_theory._fast_pattern_numpy` finds it with NumPy's partition: two to three nanoseconds.

A backward pass is one selection. What is channels-last in memory is read and written there, not converted.

The first call with numba in the life of an installation compiles for some seconds per size of float (16, 32, 64 bits);
numba keeps the machine code beside the package or in the user's cache folder. In later processes the first call imports
numba and loads that, about half a second together.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import torch
from torch.autograd import forward_ad

# Below this many entries a call costs more than it saves.
SMALLEST = 4096
# Where the rows are shorter, NumPy is as fast as the loop that numba compiles, which starts anew in every row.
SMALLEST_COMPILED = 512
# Formats in which a sample is one piece of memory, and the number of dimensions that each is for (0: any).
_FORMATS = ((torch.contiguous_format, 0), (torch.channels_last, 4), (torch.channels_last_3d, 5))
# Entries that a thread should have at least.
_PER_THREAD = 2**16
# The integer type of the same size, and infinity in it: larger ones, without the sign, are NaN.
_BITS = {
    torch.float16: (torch.int16, 0x7C00),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float32: (torch.int32, 0x7F800000),
    torch.float64: (torch.int64, 0x7FF0000000000000),
}


def usable(y: torch.Tensor) -> bool:
    """Whether k-WTA of ``y``, or a selection from it, may be computed here.

    Plain floating-point tensors on the CPU, and nothing that watches operations: no compiler, tracer, transform of
    ``torch.func``, dispatch mode or forward-mode derivative, for which a result from outside of torch is a constant.
    """
    return (
        not torch.compiler.is_compiling()  # first, so that the compiler sees no more of this than a constant
        and not _watched()
        and type(y) in (torch.Tensor, torch.nn.Parameter)
        and y.dtype in _BITS
        and SMALLEST <= y.numel() < 2**31  # the loops count in 32 bits
        and _ordinary(y)
    )


def _watched() -> bool:
    if torch.jit.is_tracing():
        return True
    try:
        transforms = torch._C._functorch.peek_interpreter_stack() is not None
        modes = torch._C._len_torch_dispatch_stack() + torch._C._len_torch_function_stack()
        level: int = forward_ad._current_level
    except AttributeError:  # private names, which may go: then the slower route is right for everyone
        return True
    return transforms or modes > 0 or level >= 0


def _ordinary(y: torch.Tensor) -> bool:
    """Whether the memory of ``y`` holds its numbers: strided, on the CPU, and no mark of torch on it says otherwise.

    Such marks are a lazy change of sign, a lazy zero, and the batches of ``torch.autograd.grad`` with
    ``is_grads_batched=True``.
    """
    try:
        keys: int = torch._C._dispatch_keys(y).raw_repr()
        return not keys & ~_ordinary_keys()
    except AttributeError:  # as above
        return False


@functools.cache
def _ordinary_keys() -> int:
    with torch.inference_mode(False):
        return int(torch._C._dispatch_keys(torch.empty(0, device="cpu")).raw_repr())


@functools.cache
def installed() -> bool:
    """Whether numba can be imported and compiles."""
    try:
        return not importlib.import_module("numba").config.DISABLE_JIT
    except ImportError:  # missing, or too old for this NumPy
        return False


def pattern(y: torch.Tensor, k: int) -> torch.Tensor:
    """The mask of the ``k`` largest entries along the last dimension, ties to the smaller index.

    Args:
        y: a tensor for which :func:`usable` is true.
        k: in ``[1, y.shape[-1]]``.
    """
    return _select(y, k, 1, out=False)[1]


def activation(y: torch.Tensor, k: int, units: int = 1) -> torch.Tensor:
    """The ``k`` largest entries along the last dimension, zero elsewhere; differentiable as :func:`torch.where` is.

    Args:
        y: as in :func:`pattern`.
        k: at least 1, at most the number of entries that compete.
        units: so many last dimensions together hold the entries that compete, in their order as one dimension.
    """
    if y.requires_grad and torch.is_grad_enabled():
        result: torch.Tensor = _Activation.apply(y, k, units)
        return result
    return _select(y, k, units, marks=False)[0]


def masked(y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``torch.where(mask, y, 0)`` for a bool mask of the same shape, whatever ``y`` is."""
    if not usable(y):
        return torch.where(mask, y, 0)
    if y.requires_grad and torch.is_grad_enabled():
        result: torch.Tensor = _Masked.apply(y, mask)
        return result
    layout = _format(mask)
    y, mask = y.detach().contiguous(memory_format=layout), mask.contiguous(memory_format=layout)
    out = torch.empty_like(y, memory_format=layout)
    bits, _ = _BITS[y.dtype]
    arrays = (y.view(bits), out.view(bits), mask.view(torch.uint8))
    _in_threads("masked", *(_in_order_of_memory(array, layout).view(-1) for array in arrays))
    return out


class _Activation(torch.autograd.Function):
    """k-WTA. Only for what :func:`usable` lets through: it knows nothing of transforms or forward-mode derivatives."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, k: int, units: int) -> torch.Tensor:
        out, mask = _select(y, k, units)
        ctx.save_for_backward(mask)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return masked(gradient, *ctx.saved_tensors), None, None


class _Masked(torch.autograd.Function):
    """A selection, which is linear: its derivative is itself, in every order."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(mask)
        return masked(y, mask)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return masked(gradient, *ctx.saved_tensors), None


def _format(y: torch.Tensor) -> torch.memory_format:
    """The first of the formats that ``y`` has, or the contiguous one."""
    return next(
        (layout for layout, dims in _FORMATS if dims in (0, y.ndim) and y.is_contiguous(memory_format=layout)),
        torch.contiguous_format,
    )


def _in_order_of_memory(y: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    return y if layout == torch.contiguous_format else y.movedim(1, -1)


def _select(
    y: torch.Tensor, k: int, units: int, *, out: bool = True, marks: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and mask, with the strides of ``y`` where it is contiguous or channels-last; empty if not asked for."""
    layout = _format(y) if units == y.ndim - 1 else torch.contiguous_format  # channels-last splits other units
    y, (bits, infinity) = y.detach().contiguous(memory_format=layout), _BITS[y.dtype]
    width = y.shape[-units:].numel()
    shape, channels = (y.numel() // width, width), 1 if layout == torch.contiguous_format else y.shape[1]
    output = torch.empty_like(y, memory_format=layout) if out else y.new_empty(0)
    mask = torch.empty_like(y, dtype=torch.bool, memory_format=layout) if marks else y.new_empty(0, dtype=torch.bool)
    arrays = (
        _in_order_of_memory(array, layout).view(shape) if array.numel() else array.view(shape[0], 0)
        for array in (y.view(bits), output.view(bits), mask.view(torch.uint8))
    )
    _in_threads("rows", *arrays, infinity=infinity, k=k, channels=channels)
    return output, mask


def _in_threads(name: str, *arrays: torch.Tensor, **numbers: int) -> None:
    """Run a loop of the kernel on parts of all ``arrays`` along their first dimension."""
    kernel, count = getattr(_kernel(arrays[0].shape[-1]), name), len(arrays[0])
    views = [array.numpy() for array in arrays]
    threads = max(1, min(torch.get_num_threads(), count, arrays[0].numel() // _PER_THREAD))
    if threads == 1:
        kernel(*views, *numbers.values())
        return
    edges = [count * i // threads for i in range(threads + 1)]
    parts = [slice(*edge) for edge in itertools.pairwise(edges)]
    list(_threads(threads).map(lambda part: kernel(*(view[part] for view in views), *numbers.values()), parts))


@functools.lru_cache(maxsize=4)
def _threads(count: int) -> ThreadPoolExecutor:
    """Threads that stay: they release the interpreter's lock in the kernel. No more than torch is told to use."""
    return ThreadPoolExecutor(count, thread_name_prefix="kwta")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child starts its own
    os.register_at_fork(after_in_child=_threads.cache_clear)


def _kernel(width: int) -> ModuleType:
    compiled = width >= SMALLEST_COMPILED and installed()
    return importlib.import_module(f"kwta_theory._fast_pattern_{'kernel' if compiled else 'numpy'}")
