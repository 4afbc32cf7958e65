"""Which chunk is drawn next, and which count: decided without processes, clocks or files.

A chunk counts when all earlier ones of its task do and no rule was met by them. So what counts depends on the seed, the
parameters and the rules; the order in which chunks arrive only decides how long some of them wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kwta_theory.campaign.ledger import Chunk
from kwta_theory.campaign.tally import Tally
from kwta_theory.campaign.task import Task
from kwta_theory.campaign.until import Until


@dataclass
class Stream:
    """The chunks of one task with one seed, as far as they are known.

    Attributes:
        task: what is sampled.
        limit: chunks that it can need at most.
        counted: chunks that count: 0, 1, ..., counted - 1.
        tally: their sum.
        seconds: the time they took.
        waiting: finished chunks after a gap, by number.
        ordered: chunks that are being drawn.
        drawn: chunks finished in this run.
        met: the rule that ended it, or None.
    """

    task: Task
    limit: float
    counted: int = 0
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    waiting: dict[int, Chunk] = field(default_factory=dict)
    ordered: set[int] = field(default_factory=set)
    drawn: int = 0
    met: str | None = None

    def missing(self, most: int) -> list[int]:
        """The next chunks that are neither finished nor being drawn, consecutive, at most so many."""
        first = self.counted
        while first in self.waiting or first in self.ordered:
            first += 1
        found: list[int] = []
        while len(found) < most and first < self.limit and first not in self.waiting and first not in self.ordered:
            found.append(first)
            first += 1
        return found


@dataclass(frozen=True)
class Change:
    """What an arrival changes on disk: see :meth:`kwta_theory.campaign.Ledger.record`."""

    counted: tuple[Chunk, ...]
    ahead: tuple[Chunk, ...]
    settled: bool


class Schedule:
    """The streams of a run.

    Args:
        streams: one for each task, with what the ledger knows of it.
        until: the rules.
    """

    def __init__(self, streams: Sequence[Stream], until: Until) -> None:
        self.streams = list(streams)
        self.until = until

    def begin(self) -> list[tuple[Stream, Change]]:
        """What the ledger already settles: chunks that waited and now count, rules that are already met."""
        return [(stream, self._advance(stream, [])) for stream in self.streams]

    def next(self, most: int = 1) -> tuple[Stream, list[int]] | None:
        """The next order: chunks of the open task that has had the fewest, so that a time limit treats all alike."""
        open_streams = [stream for stream in self.streams if stream.met is None]
        for stream in sorted(open_streams, key=lambda stream: stream.drawn + len(stream.ordered)):
            chunks = stream.missing(most)
            if chunks:
                stream.ordered.update(chunks)
                return stream, chunks
        return None

    def lost(self, stream: Stream, chunks: Iterable[int]) -> None:
        """An order that no one will finish: its chunks are missing again."""
        stream.ordered.difference_update(chunks)

    def take(self, stream: Stream, chunks: Sequence[Chunk]) -> Change:
        """Chunks have arrived, in any order and perhaps not for the first time."""
        new = [c for c in chunks if c.number >= stream.counted and c.number not in stream.waiting]
        stream.ordered.difference_update(chunk.number for chunk in chunks)
        stream.drawn += len(new)
        if stream.met is not None:
            return Change((), (), settled=False)
        stream.waiting.update((chunk.number, chunk) for chunk in new)
        return self._advance(stream, new)

    def _advance(self, stream: Stream, new: Sequence[Chunk]) -> Change:
        counted: list[Chunk] = []
        while True:
            # Asked before every chunk, also the first: a resumed run may have enough.
            stream.met = self.until.met(stream.task, stream.tally)
            if stream.met is not None or stream.counted not in stream.waiting:
                break
            chunk = stream.waiting.pop(stream.counted)
            stream.tally += chunk.tally
            stream.seconds += chunk.seconds
            stream.counted += 1
            counted.append(chunk)
        settled = stream.met is not None
        if settled:
            stream.waiting.clear()
        ahead = tuple(chunk for chunk in new if chunk.number in stream.waiting)
        return Change(tuple(counted), ahead, settled)

    @property
    def finished(self) -> bool:
        """Whether every task has met a rule."""
        return all(stream.met is not None for stream in self.streams)
