"""The activations as modules: what a network is built from."""

from __future__ import annotations

from typing import SupportsFloat, SupportsIndex

import torch
from torch import nn

from kwta_theory.activation import kwta, kwta_of_samples, lwta
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number, winners


@torch.compiler.assume_constant_result
def _winners(width: str, ratio: str) -> int:
    """``k``, worked out by Python and not by torch.compile, which cannot do exact arithmetic.

    Both numbers come as text: to the compiler a number may be a symbol, a text is a constant and is guarded on, so that
    another width or ratio gets a graph with its own ``k``.
    """
    return winners(int(width), float(ratio))


class KWTA(nn.Module):
    """k-WTA on a whole sample: ``k = floor(sparsity_ratio * N)`` of its ``N`` outputs survive (Section 2.1).

    The first dimension is the batch; all others together (``C * H * W`` of a convolution, in this order) are the one
    vector among whose entries the winners are chosen. An input of one dimension is one sample without a batch, as for
    ``nn.Linear``. An image without a batch has to be given as ``(1, C, H, W)``: nothing in its shape tells it apart
    from a batch of ``C`` matrices.

    ``k`` is worked out at every call from the width that arrives, so one module can serve layers of different sizes.
    There are no parameters and no buffers; ``sparsity_ratio`` may be assigned between two steps of training, which is
    the incremental fine-tuning of Section 2.2.

    Args:
        sparsity_ratio: the paper's gamma, in (0, 1]; 1 is the identity.

    Raises:
        InvalidArgumentError: when the ratio is outside (0, 1]; at a call, when the input is not a tensor that
            :func:`kwta_theory.kwta` accepts or when the ratio leaves no winner (the sentence says width and ratio).

    >>> KWTA(0.5)(torch.tensor([[[1.0, -2.0], [3.0, 0.5]], [[-1.0, -2.0], [-3.0, -4.0]]]))
    tensor([[[ 1.,  0.],
             [ 3.,  0.]],
    <BLANKLINE>
            [[-1., -2.],
             [ 0.,  0.]]])
    """

    def __init__(self, sparsity_ratio: SupportsFloat) -> None:
        super().__init__()
        self.sparsity_ratio = sparsity_ratio

    @property
    def sparsity_ratio(self) -> float:
        """The paper's gamma; assigning it checks it."""
        return float(self._ratio)

    @sparsity_ratio.setter
    def sparsity_ratio(self, value: SupportsFloat) -> None:
        # Kept as text, which gives back the same float, for the reason in _winners: torch.compile makes a symbol of a
        # float attribute as soon as two modules differ in it.
        self._ratio = repr(check_number("sparsity_ratio", value, 0.0, 1.0, open_minimum=True))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape and dtype of ``y`` in which every sample keeps its ``k`` largest entries."""
        if not isinstance(y, torch.Tensor) or y.ndim == 0:
            raise InvalidArgumentError(f"y={y!r} is not allowed: KWTA takes a tensor of at least one dimension.")
        # A number already for all but torch.jit.trace, which makes a constant of it and warns.
        width = int(y.shape[0] if y.ndim == 1 else y.shape[1:].numel())
        k = _winners(f"{width}", self._ratio)
        return kwta(y, k) if y.ndim == 1 else kwta_of_samples(y, k)

    def extra_repr(self) -> str:
        """The ratio, for ``print(model)``."""
        return f"sparsity_ratio={self.sparsity_ratio:g}"


class LWTA(nn.Module):
    """Local Winner-Take-All: the largest of every ``group_size`` consecutive channels survives.

    Groups lie along dimension 1, the channels of a convolution (each position has its own winners) or the features of
    a linear layer; an input of one dimension is one sample without a batch. For sequences, whose features are the last
    dimension, use :func:`kwta_theory.lwta`.

    Args:
        group_size: units in a group, at least 1; it must divide the width that arrives. The paper compares it with
            k-WTA at the sparsity ratio ``1 / group_size`` (Appendix D.3).
        partial_group: let the last group be smaller where ``group_size`` does not divide the width, as the paper's
            groups of ten in layers of 64 channels must be.

    Raises:
        InvalidArgumentError: when ``group_size`` is below 1; at a call, as :func:`kwta_theory.lwta`.

    Source: Srivastava, Masci, Kazerounian, Gomez, Schmidhuber, "Compete to Compute", NIPS 2013.

    >>> LWTA(2)(torch.tensor([[1.0, -2.0, 3.0, 0.5]]))
    tensor([[1., 0., 3., 0.]])
    """

    def __init__(self, group_size: SupportsIndex, *, partial_group: bool = False) -> None:
        super().__init__()
        self.group_size = check_integer("group_size", group_size, minimum=1)
        self.partial_group = bool(partial_group)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape and dtype of ``y`` in which every group keeps its largest entry."""
        if not isinstance(y, torch.Tensor) or y.ndim == 0:
            raise InvalidArgumentError(f"y={y!r} is not allowed: LWTA takes a tensor of at least one dimension.")
        dim = min(1, y.ndim - 1)
        rest = y.shape[dim] % self.group_size
        if not (self.partial_group and rest):
            return lwta(y, self.group_size, dim)
        full = y.shape[dim] - rest
        last = lwta(y.narrow(dim, full, rest), rest, dim)
        return torch.cat([lwta(y.narrow(dim, 0, full), self.group_size, dim), last], dim) if full else last

    def extra_repr(self) -> str:
        """The size of the groups, for ``print(model)``."""
        return f"group_size={self.group_size}" + ", partial_group=True" * self.partial_group
