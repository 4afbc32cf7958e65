"""Run a campaign: draw the chunks that are missing, write each down, stop each task when it has enough."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from kwta_theory.campaign import backends, estimators
from kwta_theory.campaign.backends import Backend, BackendError
from kwta_theory.campaign.estimate import Estimate, estimate
from kwta_theory.campaign.ledger import LARGEST_SEED, Chunk, Ledger
from kwta_theory.campaign.schedule import Change, Schedule, Stream
from kwta_theory.campaign.task import Task
from kwta_theory.campaign.until import Until
from kwta_theory.campaign.worker import Order
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number

# An order of several chunks grows until it takes about this long: below it, sending costs more than drawing.
ORDER_SECONDS = 0.5
LARGEST_ORDER = 256
# How long to wait for an arrival before looking at the clock again.
_GLANCE = 0.2


@dataclass(frozen=True)
class Status:
    """Where one task stands.

    Attributes:
        task: the task.
        seed: of its stream.
        estimate: of its first outcome, from the chunks that count.
        chunks: how many count.
        drawn: how many were finished in this run.
        met: the rule that it met: ``"trials"``, ``"relative-error"``, ``"decided"``; None while it has met none.
        seconds_left: a forecast, infinite where there is none.
    """

    task: Task
    seed: int
    estimate: Estimate
    chunks: int
    drawn: int
    met: str | None
    seconds_left: float


Report = Callable[[Sequence[Status]], None]


def run(
    tasks: Sequence[Task],
    ledger: Ledger | str | os.PathLike[str],
    until: Until,
    *,
    seed: int = 0,
    workers: int = 1,
    backend: str = "processes",
    scheduler: str | None = None,
    batch: int | None = None,
    wait_for_ledger: float = 0.0,
    report: Report | None = None,
) -> list[Status]:
    """Sample tasks until each has enough, going on from what the ledger holds.

    Chunk ``c`` of a task is drawn from ``seeding.derive(seed, task id, c)``, and a rule looks at a task after each
    chunk, in their order. So the result depends on the seed, the tasks and the rules: not on the workers, the backend,
    the batch, the order in which chunks arrive, or on how often the run was interrupted. (A time limit decides how many
    chunks there are, not what is in them.)

    Args:
        tasks: what to sample; one listed twice is sampled once.
        ledger: an open one, or its file.
        until: when to stop.
        seed: names the stream, in ``[0, 2^63)``. Ledgers of runs with different seeds add up when merged; runs with
            the same seed draw the same trials.
        workers: processes on this machine.
        backend: ``"processes"``, ``"serial"`` (in this process) or ``"dask"``.
        scheduler: address of a Dask scheduler.
        batch: chunks in an order; None for as many as take about half a second.
        wait_for_ledger: seconds to wait for another process that writes to the ledger.
        report: called with where all tasks stand, at most five times a second and at the end.

    Returns:
        Where each task stands, in their order; the numbers are those of this seed alone.

    Raises:
        InvalidArgumentError: an argument that is not allowed, a rule that a task cannot meet.
        LedgerError: the ledger cannot be written, or holds another version of an estimator.
        EstimatorError: an estimator failed.
        BackendError: workers that cannot be reached or keep dying.
        KeyboardInterrupt: after everything that had arrived was written and the workers were ended.

    >>> import tempfile
    >>> tasks = [Task.of("same-pattern", width=20, k=2, cosine=0.9, chunk_trials=500)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     status = run(tasks, folder + "/runs.db", Until(trials=1000))[0]
    >>> status.estimate.trials, status.met
    (1000, 'trials')
    """
    seed = check_integer("seed", seed, 0, LARGEST_SEED)
    check_number("wait_for_ledger", wait_for_ledger, 0.0)
    if batch is not None:
        check_integer("batch", batch, minimum=1)
    tasks = list(dict.fromkeys(tasks))
    if not tasks:
        raise InvalidArgumentError("tasks is empty: give at least one.")
    for task in tasks:
        until.check(task)
        if estimators.find(task.estimator).version != task.version:
            raise InvalidArgumentError(
                f"{task.title} is of version {task.version}, and this package draws version "
                f"{estimators.find(task.estimator).version}: make the task again."
            )
    if not isinstance(ledger, Ledger):
        with Ledger(ledger, wait=wait_for_ledger) as opened:
            return run(tasks, opened, until, seed=seed, workers=workers, backend=backend, scheduler=scheduler,
                       batch=batch, report=report)  # fmt: skip
    streams = []
    for task in tasks:
        ledger.register(task)
        total = ledger.total(task, seed)
        waiting = {chunk.number: chunk for chunk in ledger.ahead(task, seed)}
        streams.append(Stream(task, until.chunks(task), total.chunks, total.tally, total.seconds, waiting))
    return _Run(Schedule(streams, until), ledger, until, seed, batch, report).go(backend, workers, scheduler)


@dataclass
class _Run:
    """One call of :func:`run`."""

    schedule: Schedule
    ledger: Ledger
    until: Until
    seed: int
    batch: int | None
    report: Report | None
    orders: dict[Future[list[Chunk]], tuple[Stream, list[int]]] = field(default_factory=dict)
    unwritten: list[tuple[Stream, Change]] = field(default_factory=list)
    deaths: int = 0
    size: int = 1
    reported: float = -1.0
    started: float = field(default_factory=time.monotonic)
    slots: int = 1

    def go(self, backend: str, workers: int, scheduler: str | None) -> list[Status]:
        self.unwritten += self.schedule.begin()
        self._write()
        if not self.schedule.finished:
            pool = backends.connect(backend, workers, scheduler)
            kill = True
            try:
                self._loop(pool)
                kill = False
            except KeyboardInterrupt:
                self._keep_arrived()
                raise
            finally:
                pool.close(kill=kill)
        self._tell(last=True)
        return self._statuses()

    def _loop(self, pool: Backend) -> None:
        while True:
            self.slots = pool.slots
            while len(self.orders) < self.slots and not self._out_of_time():
                order = self.schedule.next(self.batch or self.size)
                if order is None:
                    break
                stream, chunks = order
                self.orders[pool.submit(self._order(stream, chunks))] = order
                self._tell()
            if not self.orders:
                return
            done, _ = wait(self.orders, timeout=_GLANCE, return_when=FIRST_COMPLETED)
            self._arrived(done, pool)
            self._tell()

    def _order(self, stream: Stream, chunks: Sequence[int]) -> Order:
        from kwta_theory import seeding

        task = stream.task
        numbered = tuple((chunk, seeding.derive(self.seed, task.id, chunk)) for chunk in chunks)
        return Order(estimators.find(task.estimator), task.parameters, task.chunk_trials, numbered)

    def _arrived(self, done: set[Future[list[Chunk]]], pool: Backend) -> None:
        broken: BaseException | None = None
        for future in done:
            error = future.exception() if not future.cancelled() else BackendError("the order was cancelled.")
            if error is None:
                self._take(future)
            elif future.cancelled() or backends.died(error):
                broken = error
            else:
                self._write()
                raise error
        if broken is None:
            self.deaths = 0
        self._write()
        if broken is not None:
            self._recover(broken, pool)

    def _take(self, future: Future[list[Chunk]]) -> None:
        stream, _ = self.orders[future]
        chunks = future.result()
        self.unwritten.append((stream, self.schedule.take(stream, chunks)))
        del self.orders[future]
        if self.batch is None and self.slots > 1:
            pace = sum(chunk.seconds for chunk in chunks) / len(chunks)
            # At most doubled at a time, so that one quick chunk does not make a long order.
            self.size = max(1, min(2 * self.size, LARGEST_ORDER, int(ORDER_SECONDS / max(pace, 1e-6))))

    def _recover(self, cause: BaseException, pool: Backend) -> None:
        """A worker has died: what it had in hand, and what its neighbours had, is drawn again."""
        self.deaths += 1
        for future, (stream, chunks) in list(self.orders.items()):
            if not future.done() or future.cancelled() or future.exception() is not None:
                self.schedule.lost(stream, chunks)
                del self.orders[future]
                future.cancel()
        if self.deaths > backends.PATIENCE:
            raise BackendError(
                f"workers died {self.deaths} times without finishing a chunk in between ({type(cause).__name__}): they "
                "may lack memory. Everything finished before is in the ledger."
            ) from cause
        self.size = 1
        pool.restart()

    def _write(self) -> None:
        """Commit what is not yet on disk. An interruption between commit and clearing writes it again: no change."""
        if self.unwritten:
            counted = [(s.task, self.seed, chunk) for s, change in self.unwritten for chunk in change.counted]
            ahead = [(s.task, self.seed, chunk) for s, change in self.unwritten for chunk in change.ahead]
            settled = [(s.task, self.seed) for s, change in self.unwritten if change.settled]
            self.ledger.record(counted, ahead, settled)
            self.unwritten.clear()

    def _keep_arrived(self) -> None:
        """After Ctrl-C: what has arrived is taken, though nobody waited for it."""
        for future in [future for future in self.orders if future.done() and not future.cancelled()]:
            if future.exception() is None:
                self._take(future)
        self._write()

    def _out_of_time(self) -> bool:
        return self.until.seconds is not None and time.monotonic() - self.started >= self.until.seconds

    def _statuses(self) -> list[Status]:
        return [self._status(stream) for stream in self.schedule.streams]

    def _status(self, stream: Stream) -> Status:
        found = estimate(stream.tally, stream.task.primary, self.until.error)
        left = 0.0
        if stream.met is None:
            still_open = sum(other.met is None for other in self.schedule.streams)
            pace = stream.seconds / stream.tally.trials if stream.tally.trials else float("inf")
            workers = max(1.0, self.slots / 2)
            left = self.until.trials_left(stream.tally, found) * pace * still_open / workers
            if self.until.seconds is not None:
                left = min(left, max(0.0, self.until.seconds - (time.monotonic() - self.started)))
        return Status(stream.task, self.seed, found, stream.counted, stream.drawn, stream.met, left)

    def _tell(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self.report is not None and (last or now - self.reported >= _GLANCE):
            self.reported = now
            self.report(self._statuses())
