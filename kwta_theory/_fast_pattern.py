"""k-WTA on a CPU at one to two nanoseconds per entry, where numba is installed (the extra ``fast``).

``torch.topk`` selects the k-th value *and* sorts out the k winners; the pattern needs the value alone, and finds it by
counting (:mod:`kwta_theory._fast_pattern_kernel`). Output and mask are then written together, and the backward pass is
one selection. Every result is that of the operations of torch in :mod:`kwta_theory.activation`, to the bit.

The first call in the life of an installation compiles for about two seconds per size of float (16, 32, 64 bits); numba
keeps the machine code beside the package or in the user's cache folder. In later processes the first call imports
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
# Where the rows are shorter, topk is as fast.
SMALLEST_WIDTH = 16
# Entries that a thread should have at least.
_PER_THREAD = 2**16
# The integer type of the same size, and infinity in it: larger ones, without the sign, are NaN.
_BITS = {
    torch.float16: (torch.int16, 0x7C00),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float32: (torch.int32, 0x7F800000),
    torch.float64: (torch.int64, 0x7FF0000000000000),
}


def usable(y: torch.Tensor, width: int = SMALLEST_WIDTH) -> bool:
    """Whether k-WTA of ``y`` along a dimension of this ``width``, or a selection from it, may be computed here.

    Plain floating-point tensors on the CPU, and nothing that watches operations: no compiler, tracer, transform of
    ``torch.func``, dispatch mode or forward-mode derivative, for which a result from outside of torch is a constant.
    """
    return (
        not torch.compiler.is_compiling()  # first, so that the compiler sees no more of this than a constant
        and type(y) in (torch.Tensor, torch.nn.Parameter)
        and y.dtype in _BITS
        and SMALLEST <= y.numel() < 2**31  # the kernel counts in 32 bits
        and width >= SMALLEST_WIDTH
        and not _watched()
        and _ordinary(y)
        and installed()
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
    return _select(y, k, out=False)[1]


def activation(y: torch.Tensor, k: int) -> torch.Tensor:
    """The ``k`` largest entries along the last dimension, zero elsewhere; differentiable as :func:`torch.where` is.

    Args:
        y: as in :func:`pattern`.
        k: as in :func:`pattern`.
    """
    if y.requires_grad and torch.is_grad_enabled():
        result: torch.Tensor = _Activation.apply(y, k)
        return result
    return _select(y, k, marks=False)[0]


def masked(y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``torch.where(mask, y, 0)`` for a contiguous bool mask of the same shape, whatever ``y`` is."""
    if not usable(y):
        return torch.where(mask, y, 0)
    if y.requires_grad and torch.is_grad_enabled():
        result: torch.Tensor = _Masked.apply(y, mask)
        return result
    y, mask = y.detach().contiguous(), mask.contiguous()
    out = torch.empty(y.shape, dtype=y.dtype)
    bits, _ = _BITS[y.dtype]
    _in_threads("masked", y.view(bits).view(-1), out.view(bits).view(-1), mask.view(torch.uint8).view(-1))
    return out


class _Activation(torch.autograd.Function):
    """k-WTA. Only for what :func:`usable` lets through: it knows nothing of transforms or forward-mode derivatives."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, k: int) -> torch.Tensor:
        out, mask = _select(y, k)
        ctx.save_for_backward(mask)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return masked(gradient, *ctx.saved_tensors), None


class _Masked(torch.autograd.Function):
    """A selection, which is linear: its derivative is itself, in every order."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(mask)
        return masked(y, mask)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return masked(gradient, *ctx.saved_tensors), None


def _select(y: torch.Tensor, k: int, *, out: bool = True, marks: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and mask; the one that is not asked for is empty."""
    y, (bits, infinity) = y.detach().contiguous(), _BITS[y.dtype]
    count, nothing = y.numel() // y.shape[-1], (*y.shape[:-1], 0)
    output = torch.empty(y.shape if out else nothing, dtype=y.dtype)
    mask = torch.empty(y.shape if marks else nothing, dtype=torch.bool)
    arrays = (y.view(bits), output.view(bits), mask.view(torch.uint8))
    _in_threads("rows", *(array.view(count, array.shape[-1]) for array in arrays), infinity=infinity, k=k)
    return output, mask


def _in_threads(name: str, *arrays: torch.Tensor, **numbers: int) -> None:
    """Run a loop of the kernel on parts of all ``arrays`` along their first dimension."""
    kernel, count = getattr(_kernel(), name), len(arrays[0])
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


@functools.cache
def _kernel() -> ModuleType:
    return importlib.import_module("kwta_theory._fast_pattern_kernel")
