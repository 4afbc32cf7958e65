"""The activation pattern on a CPU in about two passes over a row, where numba is installed (the extra ``fast``).

``torch.topk`` selects the k-th value *and* sorts out the k winners; the pattern needs the value alone. Here a sample of
the row brackets it, one pass counts what lies above the bracket and collects what lies inside, and the k-th largest is
selected among those few. The bracket only saves time: when the value is not inside, or a NaN is met, the whole row is
selected from. So the result is that of :func:`kwta_theory.activation_pattern` to the bit, always.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

# Below this many entries a call costs more than it saves.
SMALLEST = 4096
# Entries that a thread should have at least.
_PER_THREAD = 2**16


def usable(y: torch.Tensor) -> bool:
    """Whether the pattern of ``y`` along its last dimension may be computed here.

    Plain float32 or float64 tensors on the CPU, and nothing that watches operations: no compiler, tracer, transform of
    ``torch.func`` or dispatch mode, for which a result from outside of torch would be a constant.
    """
    return (
        y.numel() >= SMALLEST
        and type(y) in (torch.Tensor, torch.nn.Parameter)
        and y.device.type == "cpu"
        and y.dtype in (torch.float32, torch.float64)
        and y.is_contiguous()
        and not _watched()
        and installed()
    )


@functools.cache
def installed() -> bool:
    """Whether numba is there."""
    return importlib.util.find_spec("numba") is not None


def _watched() -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    try:
        transforms = torch._C._functorch.peek_interpreter_stack() is not None
        modes = torch._C._len_torch_dispatch_stack() + torch._C._len_torch_function_stack()
    except AttributeError:  # private names, which may go: then the slower route is right for everyone
        return True
    return transforms or bool(modes)


def pattern(y: torch.Tensor, k: int) -> torch.Tensor:
    """The mask of the ``k`` largest entries along the last dimension, ties to the smaller index.

    Args:
        y: a tensor for which :func:`usable` is true.
        k: in ``[1, y.shape[-1]]``.
    """
    rows = y.detach().view(-1, y.shape[-1])
    mask = torch.empty(rows.shape, dtype=torch.bool)
    values, marks = rows.numpy(), mask.numpy()
    count = len(values)
    threads = max(1, min(torch.get_num_threads(), count, rows.numel() // _PER_THREAD))
    kernel = _kernel()
    if threads == 1:
        kernel(values, k, marks)
    else:
        edges = [count * i // threads for i in range(threads + 1)]
        parts = itertools.pairwise(edges)
        list(_threads(threads).map(lambda part: kernel(values[slice(*part)], k, marks[slice(*part)]), parts))
    return mask.view(y.shape)


@functools.lru_cache(maxsize=4)
def _threads(count: int) -> ThreadPoolExecutor:
    """Threads that stay: they release the interpreter's lock in the kernel. No more than torch is told to use."""
    return ThreadPoolExecutor(count, thread_name_prefix="kwta")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child starts its own
    os.register_at_fork(after_in_child=_threads.cache_clear)


@functools.cache
def _kernel() -> Callable[..., None]:
    """Compiled at the first call in the life of an installation; numba keeps the machine code on disk."""
    return importlib.import_module("kwta_theory._fast_pattern_kernel").rows
