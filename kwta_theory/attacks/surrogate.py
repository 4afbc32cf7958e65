"""Backward-pass substitution: the forward pass is the network's own, the backward pass that of a smoother activation.

k-WTA passes a gradient to its ``k`` winners only, so an attack never learns that a loser is about to win. With the mask
of the ``2k`` largest in the backward pass it does (BPDA: Athalye, Carlini, Wagner, ICML 2018).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from kwta_theory.activation import activation_pattern
from kwta_theory.attacks.gradients import Gradient, Plain, Target
from kwta_theory.checks import InvalidArgumentError, winners
from kwta_theory.modules import KWTA, LWTA

Rows = torch.Tensor


def wide(rows: Rows, k: int) -> torch.Tensor:
    """The mask of the ``2k`` largest."""
    return activation_pattern(rows, min(2 * k, rows.shape[-1])).to(rows.dtype)


def relu(rows: Rows, k: int) -> torch.Tensor:  # noqa: ARG001  (all surrogates have one signature)
    """ReLU's mask."""
    return (rows > 0).to(rows.dtype)


def identity(rows: Rows, k: int) -> torch.Tensor:  # noqa: ARG001
    """Every entry passes its gradient."""
    return torch.ones_like(rows)


def soft(rows: Rows, k: int) -> torch.Tensor:
    """A soft threshold: ``sigmoid((y - t)/s)``, ``t`` the k-th largest entry, ``s`` a tenth of the deviation."""
    threshold = rows.topk(k, dim=-1, sorted=False).values.amin(-1, keepdim=True)
    scale = (0.1 * rows.std(dim=-1, keepdim=True)).clamp_min(torch.finfo(rows.dtype).tiny)
    return torch.sigmoid((rows - threshold) / scale)


SURROGATES: dict[str, Callable[[Rows, int], torch.Tensor]] = {
    "wide": wide,
    "relu": relu,
    "soft": soft,
    "identity": identity,
}


class _PassThrough(torch.autograd.Function):
    """The value ``output``; the derivative with respect to ``inputs`` is ``diag(weight)``."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, output: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:  # noqa: ARG004
        ctx.save_for_backward(weight)
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0] * weight, None, None


@contextlib.contextmanager
def surrogate_backward(model: nn.Module, name: str) -> Iterator[None]:
    """Within it, gradients through the k-WTA and LWTA modules of a model are those of a surrogate; values stay.

    It works by hooks on these modules, which are removed however the block is left. A k-WTA that is no module of this
    package is not seen: put :class:`kwta_theory.KWTA` in its place first (:func:`kwta_theory.replace_activations`).

    Args:
        model: any network; one without these activations is not changed.
        name: one of :data:`SURROGATES`.

    Raises:
        InvalidArgumentError: an unknown name.

    >>> y = torch.tensor([[1.0, 4.0, 3.0, 2.0]], requires_grad=True)
    >>> with surrogate_backward(model := KWTA(0.25), "wide"):
    ...     model(y), torch.autograd.grad(model(y).sum(), y)[0]
    (tensor([[0., 4., 0., 0.]], grad_fn=<_PassThroughBackward>), tensor([[0., 1., 1., 0.]]))
    """
    weigh = _surrogate_named(name)

    def substitute(module: nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        y = arguments[0]
        with torch.no_grad():
            if isinstance(module, KWTA):
                rows = y.detach() if y.ndim == 1 else y.detach().flatten(1)
                weight = weigh(rows, winners(rows.shape[-1], module.sparsity_ratio)).view(y.shape)
            else:
                weight = _grouped(y.detach(), module.group_size, weigh)  # type: ignore[arg-type]
        return _PassThrough.apply(y, output.detach(), weight)

    handles = [m.register_forward_hook(substitute) for m in model.modules() if isinstance(m, KWTA | LWTA)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _grouped(y: torch.Tensor, size: int, weigh: Callable[[Rows, int], torch.Tensor]) -> torch.Tensor:
    """The weights of LWTA: those of one winner in each group of channels, the last group perhaps smaller."""
    dim = min(1, y.ndim - 1)
    parts = []
    for group in y.split(size, dim=dim):
        rows = group.movedim(dim, -1)
        # One unit alone always wins; its deviation is not defined.
        parts.append((weigh(rows, 1) if rows.shape[-1] > 1 else torch.ones_like(rows)).movedim(-1, dim))
    return torch.cat(parts, dim=dim)


@dataclass(frozen=True)
class Surrogate(Gradient):
    """The gradient of ``inner`` with a substituted backward pass.

    Attributes:
        name: one of :data:`SURROGATES`.
        inner: the gradient whose backward pass is substituted.

    Raises:
        InvalidArgumentError: an unknown name.
    """

    name: str
    inner: Gradient = field(default_factory=Plain)

    def __post_init__(self) -> None:
        _surrogate_named(self.name)

    @property
    def tests_iterate(self) -> bool:  # type: ignore[override]
        """As ``inner``: the values of the network are its own."""
        return self.inner.tests_iterate

    def __call__(self, target: Target, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """See :class:`Gradient`."""
        with surrogate_backward(target.model, self.name):
            return self.inner(target, x)

    def passes(self, progress: float, restart: int) -> int:
        """Those of ``inner``."""
        return self.inner.passes(progress, restart)


def _surrogate_named(name: str) -> Callable[[Rows, int], torch.Tensor]:
    if name not in SURROGATES:
        raise InvalidArgumentError(f"surrogate={name!r} is not known: it must be one of {', '.join(SURROGATES)}.")
    return SURROGATES[name]
