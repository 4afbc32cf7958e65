"""A Dask cluster as a place where chunks are drawn."""

from __future__ import annotations

import importlib
from concurrent.futures import Future
from typing import Any

from kwta_theory.campaign.backends import BackendError
from kwta_theory.campaign.ledger import Chunk
from kwta_theory.campaign.worker import Order, carry_out
from kwta_theory.checks import InvalidArgumentError


class Dask:
    """A Dask cluster, found by the address of its scheduler, which moves the orders of a worker that is lost."""

    def __init__(self, scheduler: str) -> None:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise InvalidArgumentError(
                "backend='dask' needs the package distributed: install kwta-theory[cluster]."
            ) from None
        try:
            self._client: Any = distributed.Client(scheduler, timeout=10, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise BackendError(
                f"no Dask scheduler answers at {scheduler!r}: {error or type(error).__name__}."
            ) from None
        self._executor = self._client.get_executor(pure=False)

    @property
    def slots(self) -> int:
        """Two for each thread of the workers that are there now: a cluster may grow and shrink."""
        threads = sum(self._client.nthreads().values())
        return max(2, 2 * threads)

    def submit(self, order: Order) -> Future[list[Chunk]]:
        """Send it to the scheduler."""
        return self._executor.submit(carry_out, order)

    def restart(self) -> None:
        """The scheduler has done it."""

    def close(self, *, kill: bool) -> None:
        """Leave the cluster as it is; orders in hand are cancelled."""
        self._executor.shutdown(wait=not kill)
        self._client.close(timeout=1 if kill else 10)
