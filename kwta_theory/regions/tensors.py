"""A tensor that is affine in ``t`` on every piece, and the list of what torch may do to it.

A network is run as it is, on an :class:`AffineTensor`. Every function of torch that is called on one is looked up in
:data:`HANDLERS`; one that is not there is refused by name. So nothing is taken for affine that is not known to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from kwta_theory.regions.pieces import ForwardPass

BATCH = 2
"""The batch size that the network sees; every sample of it stands for a piece."""

HANDLERS: dict[Any, Callable[..., Any]] = {}


class AffineTensor(torch.Tensor):
    """Looks like a float64 tensor of :data:`BATCH` samples; holds values and slopes, ``(2, pieces, *sample shape)``."""

    rows: torch.Tensor
    generation: int
    run: ForwardPass
    shared: bool

    @staticmethod
    def make(run: ForwardPass, rows: torch.Tensor, generation: int, *, shared: bool = False) -> AffineTensor:
        """Wrap values and slopes at the centres of the pieces of a generation."""
        shape = (BATCH, *rows.shape[2:])
        tensor = torch.Tensor._make_wrapper_subclass(AffineTensor, shape, dtype=rows.dtype, device=rows.device)
        tensor.rows, tensor.generation, tensor.run, tensor.shared = rows, generation, run, shared
        run.widest = max(run.widest, math.prod(rows.shape[2:]))
        return tensor

    def like(self, rows: torch.Tensor, *, shared: bool = False) -> AffineTensor:
        """Other values and slopes on the same pieces."""
        return AffineTensor.make(self.run, rows, self.generation, shared=shared)

    def current(self) -> torch.Tensor:
        """Values and slopes on the pieces of today."""
        if self.generation != self.run.pieces.generation:
            self.rows = self.run.pieces.follow(self.rows, self.generation)
            self.generation = self.run.pieces.generation
        return self.rows

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Look the function up, or refuse it."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in _QUESTIONS or getattr(func, "__self__", None) in _PROPERTIES:
                return func(*args, **kwargs)
            handler = HANDLERS.get(func)
            if handler is None:
                name = getattr(func, "__name__", str(func))
                if name == "__get__":
                    name = getattr(getattr(func, "__self__", None), "__name__", name)
                _run_of(args, kwargs).refuse(f"calls {name}, which is not known to be affine or piecewise linear.")
            return handler(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's stub has it as an instance method
        cls,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """What comes past ``__torch_function__`` is nothing that is known."""
        if func is torch.ops.aten.detach.default:
            return args[0]
        return _run_of(args, kwargs or {}).refuse(f"calls {func}, which is not known to be affine or piecewise linear.")


_QUESTIONS = {
    torch.Tensor.size,
    torch.Tensor.dim,
    torch.Tensor.ndimension,
    torch.Tensor.numel,
    torch.Tensor.nelement,
    torch.Tensor.__len__,
    torch.Tensor.__hash__,
    torch.Tensor.__repr__,
    torch.Tensor.is_floating_point,
    torch.Tensor.is_complex,
    torch.Tensor.get_device,
    torch.is_floating_point,
    torch.is_complex,
    torch.numel,
}
_PROPERTIES = {
    getattr(torch.Tensor, name)
    for name in ("shape", "dtype", "device", "ndim", "layout", "requires_grad", "is_cuda", "is_sparse", "is_quantized",
                 "is_mps", "is_meta", "is_nested", "is_mkldnn", "is_leaf", "grad_fn")
}  # fmt: skip


def _run_of(args: Sequence[Any], kwargs: dict[str, Any]) -> ForwardPass:
    leaves, _ = tree_flatten((args, kwargs))
    return next(leaf.run for leaf in leaves if isinstance(leaf, AffineTensor))


def handles(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what happens when a network calls one of ``functions``."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            HANDLERS[function] = handler
        return handler

    return register


def in_place(handler: Callable[..., Any], *functions: Any) -> None:
    """Register functions that write the result of a handler into their first argument."""

    @handles(*functions)
    def write(x: Any, *args: Any, **kwargs: Any) -> Any:
        run = _run_of([x, *args], kwargs)
        if not isinstance(x, AffineTensor):
            return run.refuse("writes an activation into a constant tensor.")
        if x.shared:
            return run.refuse("changes in place a tensor of which a view exists: take the form that is not in place.")
        out = handler(x, *args, **kwargs)
        if out.shape != x.shape:
            return run.refuse("changes the shape of a tensor in place.")
        x.rows, x.generation = out.rows, out.generation
        return x


def per_sample(x: AffineTensor, constant: Any) -> Any:
    """A constant that broadcasts against samples of ``x``: a number, or a tensor without the dimension of the batch."""
    if not isinstance(constant, torch.Tensor):
        return constant
    if isinstance(constant, AffineTensor) or constant.is_complex():
        return x.run.refuse("combines activations with something that is not a real constant.")
    constant = as_constant(x, constant)
    if constant.ndim < x.ndim:
        return constant
    if constant.ndim > x.ndim:
        return x.run.refuse("combines an activation with a constant of more dimensions.")
    if len(constant) not in (1, BATCH) or not torch.equal(constant[:1].expand_as(constant), constant):
        return x.run.refuse("combines an activation with a constant that differs between the samples of a batch.")
    return constant[0]


def as_constant(x: AffineTensor, constant: torch.Tensor) -> torch.Tensor:
    """A tensor of numbers in the dtype and on the device of the computation."""
    return constant.detach().to(device=x.rows.device, dtype=x.rows.dtype)


def batchwise(
    x: AffineTensor, function: Callable[[torch.Tensor], torch.Tensor], *, shared: bool = False
) -> AffineTensor:
    """A linear map of each sample, applied to values and slopes at once."""
    rows = x.rows
    out = function(rows.flatten(0, 1))
    return x.like(out.reshape(2, rows.shape[1], *out.shape[1:]), shared=shared)


def keeps_batch(x: AffineTensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Size:
    """The shape that a view of ``x`` has; refuse one that moves or mixes the dimension of the batch."""
    before = torch.empty(x.shape, device="meta")
    after = function(before)
    stride_kept = after.ndim > 0 and len(after) == BATCH and after.stride(0) == before.stride(0)
    if not stride_kept or after.numel() == 0:
        x.run.refuse("moves, mixes or removes the dimension of the batch (or leaves nothing).")
    return after.shape


def sample_dims(x: AffineTensor, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """Dimensions counted from the front, none of them that of the batch."""
    if dim is None:
        x.run.refuse("reduces over the batch.")
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    dims = tuple(d % x.ndim for d in dims)
    if not dims or 0 in dims:
        x.run.refuse("reduces over the batch.")
    return dims


def window(value: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """A number for each dimension."""
    return (value,) * dims if isinstance(value, int) else tuple(value) * (dims if len(value) == 1 else 1)
