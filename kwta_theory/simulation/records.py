"""Results of estimators: frozen sufficient statistics that add up, so that runs with different seeds can be pooled."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np

from kwta_theory.checks import InvalidArgumentError

Record = TypeVar("Record", bound="Additive")


# Metadata of a field that must agree before two records are added: what was estimated.
PARAMETER = {"law": "same"}
# Metadata of a field with one entry per trial: adding records appends them.
SEQUENCE = {"law": "concatenate"}


@dataclasses.dataclass(frozen=True, eq=False)
class Additive:
    """A record with ``+`` and ``==`` field by field: parameters must agree, statistics add, sequences are appended."""

    def __add__(self: Record, other: Record) -> Record:
        if type(other) is not type(self):
            return NotImplemented
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            left, right = getattr(self, field.name), getattr(other, field.name)
            law = field.metadata.get("law", "add")
            if law == "same":
                if not np.array_equal(left, right):
                    raise InvalidArgumentError(
                        f"results with {field.name}={left!r} and {field.name}={right!r} cannot be added: "
                        "they estimate different things."
                    )
            elif law == "concatenate":
                changes[field.name] = np.concatenate([left, right])
            elif isinstance(left, tuple):
                if len(left) != len(right):
                    raise InvalidArgumentError(
                        f"{field.name} has {len(left)} and {len(right)} entries: results of different inputs cannot be "
                        "added."
                    )
                changes[field.name] = tuple(a + b for a, b in zip(left, right, strict=True))
            else:
                if np.shape(left) != np.shape(right):
                    raise InvalidArgumentError(
                        f"{field.name} has shapes {np.shape(left)} and {np.shape(right)}: results of different inputs "
                        "cannot be added."
                    )
                changes[field.name] = left + right
        return dataclasses.replace(self, **changes)

    def __radd__(self: Record, start: int) -> Record:
        """``sum`` starts at the integer 0."""
        return self if isinstance(start, int) and start == 0 else NotImplemented

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))
        return all(
            np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f"
            else np.array_equal(a, b) if isinstance(a, np.ndarray)
            else a == b
            for a, b in pairs
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]
