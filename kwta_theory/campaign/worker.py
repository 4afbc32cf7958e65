"""What a worker does. It is told the seed of each chunk, so it needs nothing but its order."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass

from threadpoolctl import ThreadpoolController

from kwta_theory.campaign.estimators import Estimator, Value
from kwta_theory.campaign.ledger import Chunk
from kwta_theory.campaign.tally import Tally


class EstimatorError(Exception):
    """A chunk that could not be drawn. The text is one sentence with the task and the cause."""


@dataclass(frozen=True)
class Order:
    """Some chunks of one task to draw.

    Attributes:
        estimator: the estimator itself; its functions travel by name.
        parameters: canonical.
        chunk_trials: trials in each chunk.
        chunks: ``(number, seed of its random numbers)``.
    """

    estimator: Estimator
    parameters: Mapping[str, Value]
    chunk_trials: int
    chunks: tuple[tuple[int, int], ...]


def carry_out(order: Order) -> list[Chunk]:
    """Draw the chunks of an order, one after the other, on one core.

    Raises:
        EstimatorError: the estimator failed, is of another version here, or returned something else than it promised.
    """
    return [_draw(order, number, seed) for number, seed in order.chunks]


def _draw(order: Order, number: int, seed: int) -> Chunk:
    start = time.perf_counter()
    try:
        with _one_thread():
            tally = order.estimator.draw(order.parameters, order.chunk_trials, seed)
    except Exception as error:
        raise EstimatorError(
            f"chunk {number} of {order.estimator.name} with {dict(order.parameters)} failed: "
            f"{type(error).__name__}: {error}"
        ) from error
    promised = {outcome.name: outcome.kind for outcome in order.estimator.outcomes}
    right = (
        isinstance(tally, Tally)
        and tally.trials == order.chunk_trials
        and set(tally.counts) == {name for name, kind in promised.items() if kind == "event"}
        and set(tally.moments) == {name for name, kind in promised.items() if kind != "event"}
    )
    if not right:
        raise EstimatorError(
            f"{order.estimator.name} returned {tally!r}: it must be a tally of {order.chunk_trials} trials with "
            f"{', '.join(promised)}."
        )
    return Chunk(number, tally, time.perf_counter() - start)


@functools.cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def _one_thread():  # type: ignore[no-untyped-def]  # threadpoolctl has no types
    """Limit BLAS and OpenMP to one thread while a chunk is drawn: workers do not fight, and sums do not depend on them.

    The limit is lifted afterwards. A library that is first loaded by the chunk itself is not seen; processes that the
    runner starts have the limit in their environment.
    """
    return _pools().limit(limits=1)
