"""Verifies the theory of "Enhancing Adversarial Defense by k-Winners-Take-All" by computing.

The names that a user needs; each is imported when it is first used, so that ``kwta --help`` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kwta_theory.activation import activation_pattern, kwta, lwta
    from kwta_theory.modules import KWTA, LWTA
    from kwta_theory.replace import replace_activations
    from kwta_theory.statements import Outcome, Verdict, verify

__version__ = "0.1.0"

_HOME = {
    "activation_pattern": "kwta_theory.activation",
    "kwta": "kwta_theory.activation",
    "lwta": "kwta_theory.activation",
    "KWTA": "kwta_theory.modules",
    "LWTA": "kwta_theory.modules",
    "replace_activations": "kwta_theory.replace",
    "Outcome": "kwta_theory.statements",
    "Verdict": "kwta_theory.statements",
    "verify": "kwta_theory.statements",
}

__all__ = [
    "KWTA",
    "LWTA",
    "Outcome",
    "Verdict",
    "activation_pattern",
    "kwta",
    "lwta",
    "replace_activations",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
