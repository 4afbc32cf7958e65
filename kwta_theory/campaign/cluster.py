"""A Dask cluster as a place where chunks are drawn.

The scheduler and the workers need this package, and the module of an estimator that is not the package's own; one
defined in a script or a notebook travels with its code. Dask sends orders and answers as pickles, which can run any
code: use a cluster only if you trust it as you trust this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future
from typing import Any

from threadpoolctl import ThreadpoolController

from kwta_theory.campaign import estimators
from kwta_theory.campaign.backends import BackendError
from kwta_theory.campaign.ledger import Chunk
from kwta_theory.campaign.worker import EstimatorError, Order, carry_out
from kwta_theory.checks import InvalidArgumentError

# Seconds in which a scheduler must answer at first.
ANSWER_SECONDS = 10.0
# Seconds that it may be silent later: it may be importing the packages of an estimator.
SILENT_SECONDS = 60.0
# Seconds that a run waits while the cluster has no worker: they may be starting.
NO_WORKER_SECONDS = 60.0
# Seconds between two looks at how many workers there are: a look is a question to the scheduler.
COUNT_SECONDS = 0.5
# Seconds to say goodbye in: Ctrl-C must end within two.
CLOSE_SECONDS = 0.7
KEPT = "Everything finished before is in the ledger: start the run again to go on."


class Dask:
    """A Dask cluster, found by the address of its scheduler.

    Orders of a lost worker are moved to another one by the scheduler. A cluster that is lost as a whole (its scheduler
    gone, or no worker for :data:`NO_WORKER_SECONDS`) breaks the orders in hand, and :meth:`restart` says why.

    The client lives in an event loop in a thread of its own, so that nothing here waits longer than it says: a client
    without one waits for ever where something listens that is no scheduler.

    Args:
        scheduler: its address, such as ``"tcp://10.0.0.1:8786"``.

    Raises:
        InvalidArgumentError: no address, or the package ``distributed`` is missing.
        BackendError: no scheduler answers there within :data:`ANSWER_SECONDS`.
    """

    def __init__(self, scheduler: str) -> None:
        if not isinstance(scheduler, str) or not scheduler.strip():
            raise InvalidArgumentError(f"scheduler={scheduler!r} is not allowed: it must be the address of one.")
        try:
            self._distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise InvalidArgumentError(
                "backend='dask' needs the package distributed: install kwta-theory[cluster]."
            ) from None
        self._name = f"the Dask cluster at {scheduler!r}"
        self._threads = 0
        self._lost: str | None = None
        self._orders: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, args=(scheduler,), name="dask client", daemon=True)
        self._thread.start()
        try:
            self._ready.result()
        except Exception as error:  # whatever listens there may have answered anything
            self.close(kill=True)
            late = isinstance(error, TimeoutError)
            why = f"nothing within {ANSWER_SECONDS:g} seconds" if late else _one_line(error)
            raise BackendError(f"no Dask scheduler answers at {scheduler!r}: {why}.") from error
        except BaseException:
            self.close(kill=True)
            raise

    def _live(self, scheduler: str) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner, _quiet():
            try:
                runner.run(self._main(scheduler))
            except Exception as error:
                self._ready.set_exception(error)

    async def _main(self, scheduler: str) -> None:
        """Connect, look at the workers now and then, and leave when told to."""
        self._client: Any = self._distributed.Client(
            scheduler, timeout=ANSWER_SECONDS, set_as_default=False, asynchronous=True
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._client
                await self._count()
            self._ready.set_result(None)
            await self._watch()
            await self._stop.wait()
        finally:
            for task in self._orders:
                task.cancel()
            with contextlib.suppress(OSError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._client.close()

    async def _watch(self) -> None:
        """Count the workers until told to stop or until the cluster is lost."""
        last_worker = time.monotonic()
        while not self._stop.is_set() and self._lost is None:
            try:
                if self._client.status != "running":
                    raise OSError(f"the connection is {self._client.status}")
                async with asyncio.timeout(SILENT_SECONDS):
                    await self._count()
            except Exception as error:  # whatever it is, orders must not wait for ever
                self._break(f"its scheduler does not answer any more ({_one_line(error)})")
                return
            if self._threads:
                last_worker = time.monotonic()
            elif time.monotonic() - last_worker >= NO_WORKER_SECONDS:
                self._break(f"it has had no worker for {NO_WORKER_SECONDS:g} seconds")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COUNT_SECONDS):
                    await self._stop.wait()

    async def _count(self) -> None:
        self._threads = sum((await self._client.scheduler.ncores()).values())

    def _break(self, reason: str) -> None:
        """Give up the cluster: what has arrived can still be taken, every other order is broken."""
        self._lost = self._lost or reason
        for task in self._orders:
            task.cancel()

    @property
    def slots(self) -> int:
        """Two for each thread of the workers that are there now: a cluster may grow and shrink."""
        return max(2, 2 * self._threads)

    def submit(self, order: Order) -> Future[list[Chunk]]:
        """Send it to the scheduler. The future is broken when the cluster is lost, cancelled with the order."""
        return asyncio.run_coroutine_threadsafe(self._carry(order), self._loop)

    async def _carry(self, order: Order) -> list[Chunk]:
        if self._lost is not None:
            raise BrokenExecutor(self._lost)
        task = asyncio.current_task()
        assert task is not None  # a coroutine of the loop
        self._orders.add(task)
        try:
            return await self._client.submit(carry_out_there, order, pure=False)
        except EstimatorError:
            raise
        except (CancelledError, self._distributed.scheduler.KilledWorker) as error:
            if self._client.status != "running":
                self._break("the connection to its scheduler was lost")
            raise BrokenExecutor(str(error)) from error
        except Exception as error:
            raise BackendError(
                f"{self._name} could not carry out an order ({_one_line(error)}): its scheduler and its "
                f"workers need this version of kwta_theory and the module of the estimator. {KEPT}"
            ) from error
        finally:
            self._orders.discard(task)

    def restart(self) -> None:
        """Nothing to do after the death of a worker, which the scheduler has dealt with.

        Raises:
            BackendError: the cluster is lost.
        """
        if self._lost is not None:
            raise BackendError(f"{self._name} is lost: {self._lost}. {KEPT}")

    def close(self, *, kill: bool) -> None:  # noqa: ARG002  (there is no difference: no order is waited for)
        """Leave the cluster as it is; the scheduler drops the orders in hand."""
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(2 * CLOSE_SECONDS)


def carry_out_there(order: Order) -> list[Chunk]:
    """What a worker of a cluster does: :func:`.worker.carry_out`, where the estimator is of the same version.

    Raises:
        EstimatorError: this worker knows the estimator in another version; what ``carry_out`` raises.
    """
    name, version = order.estimator.name, order.estimator.version
    if name in estimators.known() and estimators.find(name).version != version:
        raise EstimatorError(
            f"a worker of the cluster draws version {estimators.find(name).version} of {name}, and this run needs "
            f"version {version}: give both the same packages and start the worker again."
        )
    with _one_blas_thread:
        return carry_out(order)


class _OneBlasThread:
    """Limit BLAS to one thread while any thread of this process is inside.

    The limit belongs to the process, and a worker may carry out several orders at a time: the first sets it, the last
    lifts it, and a thread of its own holds it meanwhile, since threadpoolctl lets only one thread set limits. Libraries
    are looked up afresh, since a worker loads them with the orders that need them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                set_, self._lift = threading.Event(), threading.Event()
                self._holder = threading.Thread(target=self._hold, args=(set_, self._lift), daemon=True)
                self._holder.start()
                set_.wait()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._lift.set()
                self._holder.join()

    @staticmethod
    def _hold(set_: threading.Event, lift: threading.Event) -> None:
        try:
            with ThreadpoolController().select(user_api="blas").limit(limits=1):
                set_.set()
                lift.wait()
        finally:
            set_.set()


_one_blas_thread = _OneBlasThread()


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of Dask's client off standard error meanwhile: what matters is raised, in one sentence."""

    def nothing(_: logging.LogRecord) -> bool:
        return False

    log = logging.getLogger("distributed.client")
    log.addFilter(nothing)
    try:
        yield
    finally:
        log.removeFilter(nothing)
