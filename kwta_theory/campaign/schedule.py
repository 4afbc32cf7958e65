"""Which chunk is drawn next, and which count: decided without processes, clocks or files.

A chunk counts when all earlier ones of its task do and no rule was met by them. So what counts depends on the seed, the
parameters and the rules; the order in which chunks arrive only decides how long some of them wait.
"""

from __future__ import annotations

import heapq
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
        lost: chunks that were ordered in vain, a heap.
        frontier: chunks from here on were never ordered.
        size: chunks of an order, unless the run has a size of its own.
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
    lost: list[int] = field(default_factory=list)
    frontier: int = 0
    size: int = 1
    drawn: int = 0
    met: str | None = None

    def missing(self, most: int) -> list[int]:
        """The next chunks that are neither finished nor being drawn, at most so many; each is named once."""
        found: list[int] = []
        while len(found) < most and self.lost:
            number = heapq.heappop(self.lost)
            if number >= self.counted and number not in self.waiting:  # it may have come after all
                found.append(number)
        self.frontier = max(self.frontier, self.counted)
        while len(found) < most and self.frontier < self.limit:
            if self.frontier not in self.waiting:
                found.append(self.frontier)
            self.frontier += 1
        return found

    @property
    def turns(self) -> int:
        """Chunks that this run has given it: whoever has had the fewest is next."""
        return self.drawn + len(self.ordered)


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
        self._open = len(self.streams)
        # (turns, index), lazily: a stream may have had more turns since, or be finished.
        self._queue = [(0, index) for index in range(len(self.streams))]
        self._index = {id(stream): index for index, stream in enumerate(self.streams)}

    def begin(self) -> list[tuple[Stream, Change]]:
        """What the ledger already settles: chunks that waited and now count, rules that are already met."""
        return [(stream, self._advance(stream, [])) for stream in self.streams]

    def next(self, most: int | None = None) -> tuple[Stream, list[int]] | None:
        """The next order: chunks of the open task that has had the fewest, so that a time limit treats all alike.

        Args:
            most: chunks in it; None for the stream's own size.
        """
        while self._queue:
            turns, index = heapq.heappop(self._queue)
            stream = self.streams[index]
            if stream.met is not None:
                continue
            if turns < stream.turns:
                heapq.heappush(self._queue, (stream.turns, index))
                continue
            chunks = stream.missing(stream.size if most is None else most)
            if chunks:  # else all are on their way; a loss brings the stream back
                stream.ordered.update(chunks)
                heapq.heappush(self._queue, (stream.turns, index))
                return stream, chunks
        return None

    def lost(self, stream: Stream, chunks: Iterable[int]) -> None:
        """An order that no one will finish: its chunks are missing again."""
        for number in stream.ordered.intersection(chunks):
            stream.ordered.remove(number)
            heapq.heappush(stream.lost, number)
        if stream.met is None:
            heapq.heappush(self._queue, (stream.turns, self._index[id(stream)]))

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
            self._open -= 1
            stream.waiting.clear()
        ahead = tuple(chunk for chunk in new if chunk.number in stream.waiting)
        return Change(tuple(counted), ahead, settled)

    @property
    def finished(self) -> bool:
        """Whether every task has met a rule."""
        return self._open == 0

    @property
    def open(self) -> int:
        """Tasks that have met no rule."""
        return self._open
