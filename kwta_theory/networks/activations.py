"""Activations by name: ``relu``, ``leaky-relu``, ``kwta-0.1``, ``lwta-10``."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.modules import KWTA, LWTA

Factory = Callable[[], nn.Module]
NAMES = "relu, leaky-relu, kwta-RATIO (such as kwta-0.1) or lwta-SIZE (such as lwta-10)"


def activation_factory(name: str) -> Factory:
    """What makes a fresh activation module.

    Args:
        name: ``"relu"``; ``"leaky-relu"`` (slope 0.01); ``"kwta-RATIO"``, the paper's k-WTA-gamma; ``"lwta-SIZE"``,
            local Winner-Take-All in groups of SIZE channels. The paper's LWTA-0.1 is ``"lwta-10"``; where the channels
            do not fill the groups, as 64 channels in groups of ten, the last group is smaller.

    Raises:
        InvalidArgumentError: any other name, a ratio outside (0, 1], a size below 1.

    >>> activation_factory("kwta-0.1")()
    KWTA(sparsity_ratio=0.1)
    """
    wrong = f"activation={name!r} is not known: it must be {NAMES}."
    if not isinstance(name, str):
        raise InvalidArgumentError(wrong)
    kind, _, number = name.partition("-")
    if name == "relu":
        return nn.ReLU
    if name == "leaky-relu":
        return nn.LeakyReLU
    try:
        if kind == "kwta":
            ratio = float(number)
            KWTA(ratio)
            return functools.partial(KWTA, ratio)
        if kind == "lwta":
            size = int(number)
            LWTA(size)
            return functools.partial(LWTA, size, partial_group=True)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"activation={name!r}: {error}") from None
    except ValueError:
        pass
    raise InvalidArgumentError(wrong)
