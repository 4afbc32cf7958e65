"""Where chunks are drawn: here, in processes of this machine, or on a cluster (:mod:`.cluster`). All give futures."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import replace
from typing import Protocol

from kwta_theory.campaign.ledger import Chunk
from kwta_theory.campaign.worker import Order, carry_out
from kwta_theory.checks import InvalidArgumentError, check_integer

NAMES = ("processes", "serial", "dask")
# Threads of a worker process; set before its libraries are loaded, when they listen.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
# Seconds between a worker's looks at whether its run is still alive.
_WATCH = 0.5
# Workers that may die one after the other, without a chunk finished in between, before the run gives up.
PATIENCE = 3


class BackendError(Exception):
    """Workers that cannot be reached or keep dying. The text is one sentence."""


class Backend(Protocol):
    """Something that carries out orders."""

    @property
    def slots(self) -> int:
        """Orders that it should hold at a time, so that no worker waits."""
        ...

    def submit(self, order: Order) -> Future[list[Chunk]]:
        """Begin an order. It may come back with fewer chunks than were asked for, from its beginning."""
        ...

    def restart(self) -> None:
        """After a worker has died: make it able to go on."""
        ...

    def close(self, *, kill: bool) -> None:
        """End it; with ``kill`` at once, whatever it is doing."""
        ...


class Serial:
    """In this process, one chunk after the other."""

    slots = 1

    def submit(self, order: Order) -> Future[list[Chunk]]:
        """Carry out its first chunk before returning: the sooner it is written down, the better."""
        future: Future[list[Chunk]] = Future()
        try:
            future.set_result(carry_out(replace(order, seconds=0.0)))
        except Exception as error:
            future.set_exception(error)
        return future

    def restart(self) -> None:
        """Nothing can have died."""

    def close(self, *, kill: bool) -> None:
        """Nothing to end."""


class Processes:
    """Processes of this machine, by joblib's loky: each with one thread, deaf to Ctrl-C, which the runner answers.

    A worker ends itself when its run is killed.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.slots = 2 * workers  # one in hand and one waiting for each
        self._executor = self._start()

    def _start(self) -> Executor:
        from joblib.externals.loky import ProcessPoolExecutor

        return ProcessPoolExecutor(self.workers, initializer=_begin, initargs=(os.getpid(),), env=ONE_THREAD)

    def submit(self, order: Order) -> Future[list[Chunk]]:
        """Queue it; the first one starts the workers."""
        with _later_interrupts():
            return self._executor.submit(carry_out, order)

    def restart(self) -> None:
        """Loky ends all workers when one dies: start them again."""
        self.close(kill=True)
        self._executor = self._start()

    def close(self, *, kill: bool) -> None:
        """End the processes."""
        self._executor.shutdown(wait=True, kill_workers=kill)  # type: ignore[call-arg]


def check(backend: str, workers: int, scheduler: str | None) -> int:
    """Refuse what :func:`connect` would refuse, before anything is begun; returns the workers."""
    workers = check_integer("workers", workers, minimum=1)
    if backend not in NAMES:
        raise InvalidArgumentError(f"backend={backend!r} is not allowed: it must be one of {', '.join(NAMES)}.")
    if (backend == "dask") != (scheduler is not None):
        raise InvalidArgumentError(
            f"scheduler={scheduler!r} does not fit backend={backend!r}: an address is for 'dask', which needs one."
        )
    if backend != "processes" and workers != 1:
        raise InvalidArgumentError(f"workers={workers} has no effect with backend={backend!r}: leave it out.")
    return workers


def connect(backend: str, workers: int, scheduler: str | None) -> Backend:
    """The backend of a name.

    Args:
        backend: ``"processes"``, ``"serial"`` or ``"dask"``. One process is no gain: ``workers=1`` draws in this one.
        workers: processes.
        scheduler: address of the Dask scheduler, such as ``"tcp://10.0.0.1:8786"``.

    Raises:
        InvalidArgumentError: an option that has no effect, or one that is missing.
        BackendError: no scheduler answers.
    """
    workers = check(backend, workers, scheduler)
    if scheduler is not None:
        from kwta_theory.campaign.cluster import Dask

        return Dask(scheduler)
    return Processes(workers) if backend == "processes" and workers > 1 else Serial()


def died(error: BaseException) -> bool:
    """Whether a future failed because its worker was lost, not because of what it drew."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ in ("KilledWorker", "CancelledError")


@contextlib.contextmanager
def _later_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back in this thread; a process that is started meanwhile is deaf to it from birth."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # some versions of Python let the signal through again when they start this
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(parent: int) -> None:
    """The first thing that a worker process does: ignore Ctrl-C, watch over its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)
