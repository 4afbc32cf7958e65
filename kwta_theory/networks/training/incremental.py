"""Changing the sparsity ratio of a network while it is trained (Section 2.2)."""

from __future__ import annotations

from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.modules import KWTA


def set_sparsity_ratio(model: nn.Module, ratio: float) -> None:
    """Give every k-WTA module of a model this ratio.

    Raises:
        InvalidArgumentError: a ratio outside (0, 1], or a model without k-WTA.
    """
    modules = [module for module in model.modules() if isinstance(module, KWTA)]
    if not modules:
        raise InvalidArgumentError(f"sparsity_ratio={ratio!r} has no effect: the network has no k-WTA activation.")
    for module in modules:
        module.sparsity_ratio = ratio
