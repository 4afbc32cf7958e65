"""How an estimate came in: after the chunks of a task, with the band that contains the expectation all along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.report.canvas import EXACT, MEASURED
from kwta_theory.report.drawing import Numbers

if TYPE_CHECKING:
    from kwta_theory.campaign import Ledger, Task
    from kwta_theory.campaign.ledger import Chunk


@dataclass(frozen=True)
class Running:
    """An estimate as its trials came in: arrays of equal length, one entry for each shown number of trials."""

    trials: npt.NDArray[np.float64]
    estimates: npt.NDArray[np.float64]
    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]


def running(
    source: Ledger | Sequence[Chunk],
    task: Task,
    seed: int = 0,
    outcome: str | None = None,
    error: float = 1e-3,
    *,
    most: int = 200,
) -> Running:
    """The running estimate with its confidence sequence, after the chunks of one task and seed.

    The whole band contains the expectation with probability at least ``1 - error``, at all trials together (for means
    without known bounds: in the limit of many trials).

    Args:
        source: an open ledger, or the chunks themselves in order.
        task: whose.
        seed: of its stream; without effect on chunks.
        outcome: its name; None for the first of the task.
        error: of the band.
        most: entries shown, spaced evenly in the logarithm where there are more chunks.

    Raises:
        InvalidArgumentError: an outcome that the task does not have, no chunks.
    """
    from kwta_theory.campaign import Ledger, Tally, estimate

    found = next((o for o in task.outcomes if o.name == (outcome or task.primary.name)), None)
    if found is None:
        names = ", ".join(o.name for o in task.outcomes)
        raise InvalidArgumentError(f"outcome={outcome!r} is not measured by {task.estimator!r}: it measures {names}.")
    chunks = source.chunks(task, seed) if isinstance(source, Ledger) else list(source)
    if not chunks:
        raise InvalidArgumentError(f"{task.title} has no chunks with seed {seed}: run it first.")
    shown = {round(n) for n in np.geomspace(1, len(chunks), most)}
    tally, entries = Tally(), []
    for number, chunk in enumerate(chunks, start=1):
        tally += chunk.tally
        if number in shown:
            now = estimate(tally, found, error)
            entries.append((now.trials, now.value, now.interval.lower, now.interval.upper))
    return Running(*np.array(entries, dtype=np.float64).T)


def convergence(
    axis: Axes,
    trials: Numbers,
    estimates: Numbers,
    lower: Numbers,
    upper: Numbers,
    exact: float | None = None,
    *,
    label: str = "running estimate",
    color: str = MEASURED,
) -> None:
    """A running estimate with its confidence sequence against the trials, on a logarithmic axis.

    The four arrays are those of :class:`Running`; ``exact`` is drawn as a level.
    """
    x = np.asarray(trials, dtype=np.float64)
    axis.fill_between(
        x, np.asarray(lower), np.asarray(upper), color=color, alpha=0.2, linewidth=0, label="confidence sequence"
    )
    axis.plot(x, np.asarray(estimates), color=color, linewidth=1.4, label=label)
    if exact is not None:
        axis.axhline(exact, color=EXACT, linewidth=1.4, linestyle="--", label="exact")
    axis.set_xscale("log")
    axis.set_xlabel("trials")
