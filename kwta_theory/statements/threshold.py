"""Where a probability crosses a level along the width, by drawing: every point of the search is a decision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from kwta_theory import seeding
from kwta_theory.confidence import Decision, Proportion, decide

# Steps of each of the two bisections of a search.
STEPS = 12
# A bisection ends at this factor in the width: finer than what ten thousand trials tell apart.
RESOLUTION = math.log(1.1)


@dataclass(frozen=True)
class Crossing:
    """Between two widths a probability of success passes a level.

    Attributes:
        below: ``log`` of the largest width at which counting put it below the level.
        above: ``log`` of the smallest width at which counting put it above.
        trials: layers drawn at one width, at most.
        decisions: widths at which layers were drawn.
    """

    below: float
    above: float
    trials: int
    decisions: int


def crossing(
    draw: Callable[[float, int, int], Proportion],
    level: float,
    low: float,
    high: float,
    trials: int,
    error: float,
    seed: int,
) -> Crossing:
    """Narrow ``[low, high]`` down by drawing layers, as far as the number of trials decides.

    The smallest width that counts as above and the largest that counts as below are each found by bisection, which
    supposes that the probability grows with the width; that each single decision is right does not suppose it.

    Args:
        draw: ``(log_width, trials, seed) -> Proportion`` of success.
        level: of the probability of success.
        low: ``log`` width at which it is known to be below the level.
        high: ``log`` width at which it is known to be above.
        trials: at most so many layers for one decision.
        error: probability that any decision of the search is wrong.
        seed: every layer follows from it and from the width alone.
    """
    known: dict[float, Decision] = {low: Decision.BELOW, high: Decision.ABOVE}

    def side(log_width: float) -> Decision:
        if log_width not in known:

            def chunk(number: int, count: int) -> Proportion:
                return draw(log_width, count, seeding.derive(seed, repr(log_width), number))

            known[log_width] = decide(chunk, level, error / (2 * STEPS), trials).decision
        return known[log_width]

    for wanted in (Decision.BELOW, Decision.ABOVE):
        for _ in range(STEPS):
            below = max(x for x, decision in known.items() if decision is Decision.BELOW)
            above = min(x for x, decision in known.items() if decision is Decision.ABOVE)
            undecided = [x for x, decision in known.items() if decision is Decision.UNDECIDED and below < x < above]
            start, stop = below, above
            if undecided:
                start, stop = (below, min(undecided)) if wanted is Decision.BELOW else (max(undecided), above)
            if stop - start <= max(RESOLUTION, 1e-3 * stop):
                break
            side(0.5 * (start + stop))
    below = max(x for x, decision in known.items() if decision is Decision.BELOW)
    above = min(x for x, decision in known.items() if decision is Decision.ABOVE)
    return Crossing(below, above, trials, len(known) - 2)
