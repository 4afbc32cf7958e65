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

# An order of several chunks grows until it takes about this long: sending it costs a hundredth of that. Not longer,
# because chunks that are finished within an order are lost when it is killed. The package's own chunks take longer.
ORDER_SECONDS = 0.1


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
        seconds: no chunk is begun that would probably end after so long, except the first. So an order is never much
            longer than a chunk or than this, whatever its author thought a chunk would take.
    """

    estimator: Estimator
    parameters: Mapping[str, Value]
    chunk_trials: int
    chunks: tuple[tuple[int, int], ...]
    seconds: float = ORDER_SECONDS


def carry_out(order: Order) -> list[Chunk]:
    """Draw the chunks of an order, one after the other, on one core: those from its beginning that its time allows.

    Raises:
        EstimatorError: the estimator failed at the first chunk, or returned something else than it promised. (A later
            chunk that fails ends the order: it will be the first of another one.)
    """
    start = time.perf_counter()
    chunks: list[Chunk] = []
    for number, seed in order.chunks:
        try:
            chunks.append(_draw(order, number, seed))
        except EstimatorError:
            if not chunks:
                raise
            break
        if time.perf_counter() - start + chunks[-1].seconds > order.seconds:
            break
    return chunks


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
    shares = [name for name, kind in promised.items() if kind == "share"]
    right = (
        isinstance(tally, Tally)
        and tally.trials == order.chunk_trials
        and set(tally.counts) == {name for name, kind in promised.items() if kind == "event"}
        and set(tally.moments) == {name for name, kind in promised.items() if kind != "event"}
        and all(0 <= tally.moments[name].squares <= tally.moments[name].total <= tally.trials for name in shares)
    )
    if not right:
        raise EstimatorError(
            f"{order.estimator.name} returned {tally!r}: it must be a tally of {order.chunk_trials} trials with "
            f"{', '.join(f'{name} ({kind})' for name, kind in promised.items())}."
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
