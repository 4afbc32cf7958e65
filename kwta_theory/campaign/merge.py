"""Merging ledgers: a union of sets, keyed by task, seed and chunk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from kwta_theory.campaign.ledger import Chunk, Ledger, LedgerError
from kwta_theory.campaign.task import Task
from kwta_theory.checks import InvalidArgumentError


def merge(out: str | os.PathLike[str], inputs: Sequence[str | os.PathLike[str]], *, wait: float = 0.0) -> None:
    """Write into ``out`` every chunk of the inputs, beside what it holds.

    A chunk that both hold is counted once, so merging a ledger with itself, or twice, changes nothing, and the order of
    the inputs does not matter. Sums of one chunk from two machines may differ in their last digits (1e-9); the text
    that sorts first is kept. Everything is read and compared before anything is written, in one transaction.

    Args:
        out: the ledger to write; made when it is not there. It may be one of the inputs.
        inputs: ledgers, which are not changed.
        wait: seconds to wait for another process that writes to ``out``.

    Raises:
        LedgerError: an input that cannot be read; versions of an estimator that differ; a chunk that differs, with its
            task, seed and number. ``out`` is then as it was.
    """
    paths = list(dict.fromkeys(Path(path).resolve() for path in inputs))
    if not paths:
        raise InvalidArgumentError("inputs is empty: give at least one ledger to merge.")
    union = _Union()
    with contextlib.ExitStack() as stack:
        # An output that is there is locked before anything is read; a new one is made when nothing contradicts.
        target = stack.enter_context(Ledger(out, wait=wait)) if Path(out).exists() else None
        for path in paths:
            if target is None or path != target.path.resolve():
                with Ledger(path, write=False) as source:
                    union.add(source)
        if target is None:
            target = stack.enter_context(Ledger(out, wait=wait))
        union.add(target)
        target.absorb(union.tasks.values(), union.labels, union.counted.values(), union.ahead.values())


Key = tuple[str, int, int]
Entry = tuple[Task, int, Chunk]


class _Union:
    """Everything in some ledgers, each chunk once."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.labels: set[tuple[str, str, str]] = set()
        self.counted: dict[Key, Entry] = {}
        self.ahead: dict[Key, Entry] = {}
        self.versions: dict[str, tuple[int, Path]] = {}

    def add(self, ledger: Ledger) -> None:
        """Take in one ledger."""
        for task in ledger.tasks():
            version, path = self.versions.setdefault(task.estimator, (task.version, ledger.path))
            if version != task.version:
                raise LedgerError(
                    f"ledger {str(path)!r} holds version {version} of {task.estimator!r} and {str(ledger.path)!r} "
                    f"version {task.version}: their trials do not mix."
                )
            self.tasks.setdefault(task.id, task)
            for seed in ledger.seeds(task):
                for chunk in ledger.chunks(task, seed):
                    self._put(self.counted, task, seed, chunk, ledger.path)
                for chunk in ledger.ahead(task, seed):
                    self._put(self.ahead, task, seed, chunk, ledger.path)
        self.labels.update(ledger.labels())

    def _put(self, table: dict[Key, Entry], task: Task, seed: int, chunk: Chunk, path: Path) -> None:
        key = (task.id, seed, chunk.number)
        for there in filter(None, (self.counted.get(key), self.ahead.get(key))):
            if not there[2].tally.close_to(chunk.tally):
                raise LedgerError(
                    f"chunk {chunk.number} of task {task.id[:12]} ({task.title}) with seed {seed} in ledger "
                    f"{str(path)!r} differs from that in another ledger: the two were not drawn by the same program."
                )
        same = table.get(key)
        if same is None or _order(chunk) < _order(same[2]):
            table[key] = (task, seed, chunk)


def _order(chunk: Chunk) -> tuple[str, float]:
    return chunk.tally.to_json(), chunk.seconds
