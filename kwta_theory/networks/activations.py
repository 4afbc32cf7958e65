"""Activations by name: ``relu``, ``leaky-relu``, ``kwta-0.1``, ``lwta-10``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.modules import KWTA, LWTA

Factory = Callable[[], nn.Module]
NAMES = "relu, leaky-relu, kwta-RATIO (such as kwta-0.1) or lwta-SIZE (such as lwta-10)"
# Stricter than float() and int(), which also read spaces, underscores and the digits of other scripts.
_NAME = re.compile(r"relu|leaky-relu|(kwta)-((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)|(lwta)-(\d{1,9})", re.ASCII)


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
    kind, number = parse(name)
    try:
        if kind == "kwta":
            KWTA(number)
            return functools.partial(KWTA, number)
        if kind == "lwta":
            size = int(number)
            LWTA(size)
            return functools.partial(LWTA, size, partial_group=True)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"activation={name!r}: {error}") from None
    return nn.ReLU if kind == "relu" else nn.LeakyReLU


def parse(name: str) -> tuple[str, float]:
    """The kind of an activation and its ratio or size, 0 where it has none; the number itself is not checked.

    Raises:
        InvalidArgumentError: a name that is not of the form in :data:`NAMES`.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise InvalidArgumentError(f"activation={name!r} is not known: it must be {NAMES}.")
    kwta, ratio, lwta, size = match.groups()
    return kwta or lwta or match[0], float(ratio) if kwta else int(size or 0)
