"""What the paper reports of trained networks: its tables as data, its figures' claims in words (``paper.json``)."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from kwta_theory.checks import InvalidArgumentError

TABLES = ("1", "2", "3", "4")


@dataclass(frozen=True)
class Published:
    """One number of a row of a table, or all of them: accuracies in percent as printed.

    Attributes:
        table: ``"1"`` to ``"4"``.
        data: ``"cifar10"``, ``"svhn"`` or ``"mnist"``.
        model: name of the architecture; ``"smallcnn"`` for the paper's "3-layer CNN".
        activation: as in :func:`kwta_theory.networks.activation_factory`; the paper's LWTA-0.1 is ``lwta-10``, its
            LWTA-0.2 ``lwta-5``.
        training: method, ``"free"`` for the paper's FAT.
        robust: ``A_rob``; in Table 3 the accuracy under transfer from the source.
        clean: ``A_std``, None in Table 3.
        attacks: accuracy under each attack, in Table 1: ``pgd``, ``cw``, ``deepfool``, ``mim`` and ``transfer``, the
            paper's BB.
        source: activation and training of the network that the points are from, in Table 3.
    """

    table: str
    data: str
    model: str
    activation: str
    training: str
    robust: float
    clean: float | None = None
    attacks: Mapping[str, float] = field(default_factory=dict)
    source: tuple[str, str] | None = None

    @property
    def title(self) -> str:
        """For a person."""
        source = "" if self.source is None else f" from {' '.join(self.source)}"
        return f"Table {self.table}, {self.data} {self.model} {self.activation} {self.training}{source}"


@functools.cache
def _read() -> Any:
    return json.loads(resources.files(__package__).joinpath("paper.json").read_text(encoding="utf-8"))


def record() -> dict[str, Any]:
    """The whole file: ``source``, ``unit``, ``settings`` (D.1, D.4), ``tables``, ``figures``, ``claims``.

    >>> record()["settings"]["epsilon"]
    {'cifar10': 0.031, 'svhn': 0.047, 'mnist': 0.3}
    """
    copied: dict[str, Any] = json.loads(json.dumps(_read()))
    return copied


def rows(table: str) -> tuple[Published, ...]:
    """The rows of a table, in its order; of Table 3 the entries, row by row.

    Raises:
        InvalidArgumentError: no such table.

    >>> [row.robust for row in rows("4") if row.training == "natural"]
    [0.0, 62.2]
    """
    if table not in TABLES:
        raise InvalidArgumentError(f"table={table!r} is not known: it must be one of {', '.join(TABLES)}.")
    found = []
    for row in _read()["tables"][table]["rows"]:
        parts = {name: value for name, value in row.items() if not name.startswith("source_")}
        source = (row["source_activation"], row["source_training"]) if "source_activation" in row else None
        found.append(Published(table=table, source=source, **parts))
    return tuple(found)


def find(table: str, data: str, model: str, activation: str, training: str) -> Published | None:
    """The row of a network, None where the table has none; of Table 3 the first of the target's four entries."""
    wanted = (data, model, activation, training)
    return next(
        (row for row in rows(table) if (row.data, row.model, row.activation, row.training) == wanted),
        None,
    )


def inconsistencies() -> tuple[str, ...]:
    """Where the tables contradict each other, their captions or the text, each in a sentence.

    ``A_rob`` is defined as the worst case among the columns (Table 1, D.3), so it cannot exceed any of them, nor can an
    attacked accuracy exceed the clean one; Table 2 repeats Table 1; the text draws conclusions that hold for every row.
    """
    found = []
    for row in rows("1"):
        least = min(row.attacks, key=lambda name: row.attacks[name])
        if row.robust != row.attacks[least]:
            found.append(f"{row.title}: A_rob is {row.robust:g} %, and the column {least} {row.attacks[least]:g} %.")
    for row in (*rows("1"), *rows("2"), *rows("4")):
        found += [
            f"{row.title}: {value:g} % under {name} exceed the {row.clean:g} % without an attack."
            for name, value in (*row.attacks.items(), ("the worst attack", row.robust))
            if row.clean is not None and value > row.clean
        ]
    for row in rows("2"):
        same = find("1", row.data, row.model, row.activation, row.training)
        if same is not None and (same.clean, same.robust) != (row.clean, row.robust):
            found.append(f"{row.title}: Table 1 has {same.clean:g} and {same.robust:g} %.")
    return (*found, *_weaker_than_black_box(), *_against_the_text())


def _weaker_than_black_box() -> list[str]:
    """Where points of another network did more harm than a white-box attack: a sign of hidden gradients.

    Section 4.1 quotes Athalye et al. (2018) for that sign and says that it was not observed.
    """
    found = []
    for row in rows("1"):
        black = row.attacks["transfer"]
        weak = [f"{name} ({value:g} %)" for name, value in row.attacks.items() if value > black]
        if weak:
            found.append(f"{row.title}: transfer leaves {black:g} %, less than the white-box {' and '.join(weak)}.")
    return found


def _against_the_text() -> list[str]:
    """Sentences of D.3 that say "consistently" or give an order, held against Tables 2 and 3."""
    found = []
    for row in rows("2"):
        kind, _, size = row.activation.partition("-")
        if kind == "lwta":
            ours = find("2", row.data, row.model, f"kwta-{1 / int(size):g}", row.training)
            if ours is None or ours.clean is None or row.clean is None:
                found.append(f"{row.title}: it has no k-WTA beside it.")
            elif ours.clean <= row.clean or ours.robust <= row.robust:
                found.append(f"{row.title}: k-WTA is not better in both accuracies, as D.3 says.")
    entries = {(row.activation, row.training, row.source): row for row in rows("3")}
    for row in rows("3"):
        # Like is compared with like: the diagonal, where the source is a copy of the target, is left out.
        twin = entries["relu", row.training, row.source]
        if row.activation != "relu" and row.robust < twin.robust and not (_diagonal(row) or _diagonal(twin)):
            found.append(f"{row.title}: {row.robust:g} %, the ReLU target {twin.robust:g} %; D.3 says it is harder.")
        other = entries[row.activation, row.training, ("relu", row.source[1] if row.source else "")]
        if row.robust < other.robust and not (_diagonal(row) or _diagonal(other)):
            found.append(f"{row.title}: {row.robust:g} %, from ReLU {other.robust:g} %; D.3 says the first is weaker.")
    return found


def _diagonal(row: Published) -> bool:
    return row.source == (row.activation, row.training)
