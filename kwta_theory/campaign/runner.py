"""Run a campaign: draw the chunks that are missing, write each down, stop each task when it has enough."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field

from kwta_theory.campaign import backends, estimators
from kwta_theory.campaign.backends import Backend, BackendError
from kwta_theory.campaign.estimate import Estimate, estimate
from kwta_theory.campaign.ledger import LARGEST_SEED, Chunk, Ledger, LedgerError
from kwta_theory.campaign.schedule import Change, Schedule, Stream
from kwta_theory.campaign.tally import Tally
from kwta_theory.campaign.task import Task
from kwta_theory.campaign.until import Until
from kwta_theory.campaign.worker import ORDER_SECONDS, EstimatorError, Order
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number

LARGEST_ORDER = 256
# An order that takes longer than this is not queued behind another: a time limit or Ctrl-C would find it there.
LONG_ORDER = 1.0
# How long to wait for an arrival before looking at the clock again, and the least time between two reports.
_GLANCE = 0.2
# Reports take at most this part of the time: those of large grids are rarer.
_REPORTS = 0.05
# After Ctrl-C or a failure, how long to wait for orders in hand: long enough for all that are made of short chunks.
_LAST_ORDERS = 0.6


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
        batch: chunks in an order to a worker, at most; None for up to 256. An order ends after about 0.1 seconds,
            whatever its size, and what is drawn in this process is written down chunk by chunk.
        wait_for_ledger: seconds to wait for another process that writes to the ledger's file.
        report: called with where all tasks stand, at most five times a second and at the end.

    Returns:
        Where each task stands, in their order; the numbers are those of this seed alone.

    Raises:
        InvalidArgumentError: an argument that is not allowed, a rule that a task cannot meet.
        LedgerError: the ledger cannot be written, or holds another version of an estimator.
        EstimatorError: an estimator failed.
        BackendError: workers that cannot be started or reached, or keep dying.
        KeyboardInterrupt: Ctrl-C, within two seconds.

    Whatever ends it early, every chunk that was finished is written down first, and the workers are ended. Lost are
    chunks in the making; where the ledger itself cannot be written, what came since it last could; and where chunks are
    sent in orders of several, which are those far below 0.1 seconds, at most so much of a worker's time, should the
    next chunk of such an order take more than half a second.

    >>> import tempfile
    >>> tasks = [Task.of("same-pattern", width=20, k=2, cosine=0.9, chunk_trials=500)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     status = run(tasks, folder + "/runs.db", Until(trials=1000))[0]
    >>> status.estimate.trials, status.met
    (1000, 'trials')
    """
    seed = check_integer("seed", seed, 0, LARGEST_SEED)
    check_number("wait_for_ledger", wait_for_ledger, 0.0)
    if wait_for_ledger and isinstance(ledger, Ledger):
        raise InvalidArgumentError(
            f"wait_for_ledger={wait_for_ledger!r} has no effect: the ledger is open already, so leave it out."
        )
    backends.check(backend, workers, scheduler)
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
    ledger.register(*tasks)
    streams = []
    for task in tasks:
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
    torn: bool = False  # an interruption now would find a chunk that is counted and not among what is to be written
    deaths: int = 0
    slots: int = 1
    long: bool = True
    next_report: float = -math.inf
    estimates: dict[int, tuple[Tally, Estimate]] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def go(self, backend: str, workers: int, scheduler: str | None) -> list[Status]:
        self.unwritten += self.schedule.begin()
        self._write()
        self._tell()
        if not self.schedule.finished:
            pool = backends.connect(backend, workers, scheduler)
            kill = True
            try:
                self._loop(pool)
                kill = bool(self.orders)  # they are of tasks that have enough
            except LedgerError:
                raise
            except BaseException:
                self._keep_arrived()
                raise
            finally:
                pool.close(kill=kill)
        self._tell(last=True)
        return self._statuses()

    def _loop(self, pool: Backend) -> None:
        while not self.schedule.finished:
            self.slots = pool.slots
            while len(self.orders) < (max(1, self.slots // 2) if self.long else self.slots):
                order = None if self._out_of_time() else self.schedule.next(self.batch)
                if order is None:
                    break
                self._submit(order, pool)
                self._tell()
            if not self.orders:
                return
            done, _ = wait(self.orders, timeout=_GLANCE, return_when=FIRST_COMPLETED)
            self._arrived(done, pool)
            self._tell()

    def _submit(self, order: tuple[Stream, list[int]], pool: Backend) -> None:
        stream, chunks = order
        try:
            self.orders[pool.submit(self._order(stream, chunks))] = order
        except BrokenExecutor as error:  # a worker died with nothing in hand
            self.schedule.lost(stream, chunks)
            self._recover(error, pool)
        except OSError as error:
            raise BackendError(f"a worker cannot be started: {error.strerror or error}.") from error

    def _order(self, stream: Stream, chunks: Sequence[int]) -> Order:
        from kwta_theory import seeding

        task = stream.task
        numbered = tuple((chunk, seeding.derive(self.seed, task.id, chunk)) for chunk in chunks)
        return Order(estimators.find(task.estimator), task.parameters, task.chunk_trials, numbered)

    def _arrived(self, done: set[Future[list[Chunk]]], pool: Backend) -> None:
        broken: BaseException | None = None
        failed: BaseException | None = None
        for future in done:
            error = future.exception() if not future.cancelled() else BackendError("the order was cancelled.")
            if error is None:
                self._take(future)
                self.deaths = 0
            elif future.cancelled() or backends.died(error):
                broken = error
            else:
                failed = error
        self._write()
        if isinstance(failed, EstimatorError | BackendError):
            raise failed
        if failed is not None:
            raise EstimatorError(
                f"chunks could not be sent to a worker and back: {type(failed).__name__}: {failed}"
            ) from failed
        if broken is not None:
            self._recover(broken, pool)

    def _take(self, future: Future[list[Chunk]]) -> None:
        stream, ordered = self.orders[future]
        chunks = future.result()
        self.torn = True
        self.unwritten.append((stream, self.schedule.take(stream, chunks)))
        del self.orders[future]
        self.torn = False
        self.schedule.lost(stream, ordered)  # those that the order had no time for
        spent = sum(chunk.seconds for chunk in chunks)
        self.long = spent > LONG_ORDER
        # At most doubled at a time, so that one quick chunk does not make a long order.
        fitting = int(ORDER_SECONDS * len(chunks) / max(spent, 1e-6))
        stream.size = max(1, min(2 * stream.size, LARGEST_ORDER, fitting))

    def _recover(self, cause: BaseException, pool: Backend) -> None:
        """A worker has died: what it had in hand, and what its neighbours had, is drawn again."""
        self.deaths += 1
        for future, (stream, chunks) in list(self.orders.items()):
            if not future.done() or future.cancelled() or future.exception() is not None:
                self.schedule.lost(stream, chunks)
                stream.size = 1
                del self.orders[future]
                future.cancel()
        if self.deaths > backends.PATIENCE:
            raise BackendError(
                f"workers died {self.deaths} times without finishing a chunk in between ({type(cause).__name__}): they "
                "may lack memory. Everything finished before is in the ledger."
            ) from cause
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
        """After Ctrl-C or a failure: what is finished, or will be in a moment, is written, though nobody waited for it.

        An interruption can come between any two steps. Where it has torn what is counted from what is to be written,
        nothing more is counted: chunks are put down as waiting, and the next run counts them.
        """
        wait(self.orders, timeout=_LAST_ORDERS)
        for future in list(self.orders):
            if future.done() and not future.cancelled() and future.exception() is None:
                if self.torn:
                    change = Change((), tuple(future.result()), settled=False)
                    self.unwritten.append((self.orders[future][0], change))
                else:
                    self._take(future)
        self._write()

    def _out_of_time(self) -> bool:
        return self.until.seconds is not None and time.monotonic() - self.started >= self.until.seconds

    def _statuses(self) -> list[Status]:
        return [self._status(stream) for stream in self.schedule.streams]

    def _status(self, stream: Stream) -> Status:
        tally, found = self.estimates.get(id(stream), (None, None))
        if found is None or tally is not stream.tally:
            found = estimate(stream.tally, stream.task.primary, self.until.error)
            self.estimates[id(stream)] = (stream.tally, found)
        left = 0.0 if stream.met is not None else self._seconds_left(stream, found)
        return Status(stream.task, self.seed, found, stream.counted, stream.drawn, stream.met, left)

    def _seconds_left(self, stream: Stream, found: Estimate) -> float:
        """A forecast, as if all open tasks were as slow as this one, on half as many workers as there are slots."""
        trials = self.until.trials_left(stream.tally, found)
        left = math.inf
        if stream.tally.trials and math.isfinite(trials):
            left = trials * stream.seconds / stream.tally.trials * self.schedule.open / max(1.0, self.slots / 2)
        if self.until.seconds is not None:
            left = min(left, max(0.0, self.until.seconds - (time.monotonic() - self.started)))
        return left

    def _tell(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self.report is not None and (last or now >= self.next_report):
            self.report(self._statuses())
            spent = time.monotonic() - now
            self.next_report = now + max(_GLANCE, spent / _REPORTS)
