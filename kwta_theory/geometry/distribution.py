"""The law of the radius over Gaussian layers: how often the theorem about every ``x'`` holds, at every ``beta``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import joblib
import numpy as np
from scipy import stats
from threadpoolctl import ThreadpoolController

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.confidence import Interval, lower_bound, upper_bound
from kwta_theory.geometry.cell import LARGEST_INPUT_DIM, pattern_cell
from kwta_theory.geometry.exact import Array
from kwta_theory.geometry.programmes import CertificationError
from kwta_theory.geometry.radius import EFFORTS
from kwta_theory.geometry.relaxation import LARGEST_INPUT_DIM as LARGEST_RELAXATION


@dataclass(frozen=True)
class HoldingProbability:
    """How often the statement at one ``beta`` holds.

    Attributes:
        beta: squared distance perpendicular to ``x``, over ``|x|^2``, from which on every pattern shall be another.
        holds: draws with certificate: ``R^2 < beta``.
        fails: draws with a witness at ``|u|^2 >= beta``.
        open: draws whose bracket contains ``beta``.
        brackets: what the brackets allow for the frequency in this sample, ``[holds, holds + open] / draws``.
        interval: contains the probability with probability at least ``1 - error``: the brackets and the sampling.
        error: of the interval.
        simultaneous: whether the intervals of all ``beta`` hold together with that probability.
    """

    beta: float
    holds: int
    fails: int
    open: int
    brackets: Interval
    interval: Interval
    error: float
    simultaneous: bool


@dataclass(frozen=True)
class Quantile:
    """A quantile of ``R^2``.

    Attributes:
        level: ``p``; the quantile is the least ``b`` with ``P(R^2 <= b) >= p``.
        brackets: what the brackets allow for the ``ceil(p draws)``-th smallest value of this sample.
        interval: contains the quantile with probability at least ``1 - error``; its end may be infinite.
        error: of the interval.
    """

    level: float
    brackets: Interval
    interval: Interval
    error: float


@dataclass(frozen=True, eq=False)
class RadiusDistribution:
    """Brackets of ``R^2`` of independent Gaussian layers; see :func:`radius_distribution`.

    Attributes:
        width: ``l``.
        input_dim: ``m``.
        k: winners.
        seed: of the layers; draw ``i`` is the same for every effort and number of draws.
        effort: of each bracket.
        lower: ``(draws,)``, a point with the pattern of ``x`` exists at this ``|u|^2``; infinity for unbounded cells.
        upper: ``(draws,)``, no point with the pattern of ``x`` lies beyond; infinity where nothing was proven.
        uncertified: draws of which no bracket was found. They stay in the sample, as ``[0, infinity]``.
    """

    width: int
    input_dim: int
    k: int
    seed: int
    effort: str
    lower: Array
    upper: Array
    uncertified: int = 0

    def __post_init__(self) -> None:
        arrays = [np.array(array, dtype=np.float64) for array in (self.lower, self.upper)]
        for name, array in zip(("lower", "upper"), arrays, strict=True):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        low, high = arrays
        if low.ndim != 1 or low.shape != high.shape or not len(low) or not np.all((low >= 0) & (low <= high)):
            raise InvalidArgumentError("lower and upper must be two arrays of one length with 0 <= lower <= upper.")

    @property
    def draws(self) -> int:
        """Number of layers."""
        return len(self.lower)

    def probability(
        self, beta: SupportsFloat, *, error: SupportsFloat = 1e-3, simultaneous: bool = False
    ) -> HoldingProbability:
        """``P(every x' with d^2(x, x')/|x|^2 >= beta has another pattern)``, the probability in Theorems 1, 8 and 9.

        It holds for a layer with ``R^2 < beta``: certain where ``upper < beta``, refuted by the witness where
        ``lower >= beta``, and open between. With ``S`` the unknown number of layers where it holds,
        ``holds <= S <= holds + open``, and the limits of Clopper and Pearson rise with the count: the lower one is
        taken of ``holds``, the upper one of ``holds + open``, each at half of the error.

        ``simultaneous`` gives intervals that hold for all ``beta`` at once with probability at least ``1 - error``:
        ``holds / n - e`` to ``(holds + open) / n + e`` with ``e = sqrt(log(2 / error) / 2n)``, the inequality of
        Dvoretzky, Kiefer and Wolfowitz with the constant of Massart (1990) for the distribution function of ``R^2``.

        Args:
            beta: positive.
            error: probability that the interval misses, in (0, 1).
            simultaneous: for every ``beta`` at once.

        >>> sample = RadiusDistribution(10, 2, 1, 0, "box", np.array([0.1, 0.3, 0.5]), np.array([0.2, 0.4, np.inf]))
        >>> found = sample.probability(0.4)
        >>> found.holds, found.fails, found.open
        (1, 1, 1)
        """
        beta = check_number("beta", beta, 0.0, open_minimum=True)
        error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
        draws = self.draws
        holds, fails = int(np.sum(self.upper < beta)), int(np.sum(self.lower >= beta))
        brackets = Interval(holds / draws, (draws - fails) / draws)
        if simultaneous:
            half = math.sqrt(math.log(2 / error) / (2 * draws))
            interval = Interval(max(0.0, brackets.lower - half), min(1.0, brackets.upper + half))
        else:
            ends = lower_bound(holds, draws, error / 2), upper_bound(draws - fails, draws, error / 2)
            interval = Interval(*ends)
        return HoldingProbability(beta, holds, fails, draws - holds - fails, brackets, interval, error, simultaneous)

    def quantile(self, level: SupportsFloat, *, error: SupportsFloat = 1e-3) -> Quantile:
        """A quantile ``q`` of ``R^2``, the ``beta`` from which on the statement holds with probability ``level``.

        By order statistics, for any law: ``X_(r) > q`` means that fewer than ``r`` of ``n`` draws are at most ``q``,
        of probability at most ``P(Binomial(n, level) < r)``, and ``X_(s) < q`` that at least ``s`` are below, of
        probability at most ``P(Binomial(n, level) >= s)``. The ends are the lower end of the bracket of rank ``r`` and
        the upper end of that of rank ``s``, with the largest ``r`` and the smallest ``s`` of probability at most
        ``error / 2`` each; 0 and infinity where there is none.

        Args:
            level: in (0, 1).
            error: probability that the interval misses, in (0, 1).
        """
        level = check_number("level", level, 0.0, 1.0, open_minimum=True, open_maximum=True)
        error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
        draws, low, high = self.draws, np.sort(self.lower), np.sort(self.upper)
        ranks = np.arange(1, draws + 1)
        first = int(np.sum(stats.binom.cdf(ranks - 1, draws, level) <= error / 2))
        last = draws + 1 - int(np.sum(stats.binom.sf(ranks - 1, draws, level) <= error / 2))
        middle = max(math.ceil(level * draws), 1) - 1
        interval = Interval(
            float(low[first - 1]) if first else 0.0, float(high[last - 1]) if last <= draws else math.inf
        )
        return Quantile(level, Interval(float(low[middle]), float(high[middle])), interval, error)


def radius_distribution(
    width: SupportsIndex,
    input_dim: SupportsIndex,
    k: SupportsIndex,
    draws: SupportsIndex,
    seed: SupportsIndex,
    *,
    effort: str = "box",
    workers: SupportsIndex = 1,
) -> RadiusDistribution:
    """Brackets of ``R^2 = sup |u|^2`` over the cell of ``x``, for independent layers of standard normal entries.

    ``u`` is the component of ``x'`` perpendicular to ``x`` where both have the same component along ``x``, ``|x|`` = 1
    (:func:`.pattern_cell`), so the statement of Theorems 1, 8 and 9 at level ``beta`` holds for a layer exactly when
    no point of the cell has ``|u|^2 >= beta``: one number for each layer answers every ``beta``. The rows of ``W`` are
    standard normal vectors, whose law no rotation changes, so that of ``R`` is the same for every ``x``, and
    ``x = e_1`` is taken. It does not depend on the variance of the entries either, because the pattern does not.

    No draw is dropped: one whose bracket fails counts as ``[0, infinity]``.

    Args:
        width: ``l``.
        input_dim: ``m``, at most 256; at most 64 with an effort above ``"box"``.
        k: winners, below the width.
        draws: number of layers.
        seed: of the layers (:class:`kwta_theory.seeding.Stream`, one generator for each draw).
        effort: of :meth:`.PatternCell.radius`; from ``"relaxation"`` on exact, but for rounding, up to 6 dimensions.
        workers: processes; changes no number, because each draw is computed with one thread in any case.

    Raises:
        InvalidArgumentError: for an argument outside this.

    >>> sample = radius_distribution(width=200, input_dim=2, k=20, draws=10, seed=0)
    >>> bool(np.all(sample.lower <= sample.upper)), sample.probability(0.1).holds
    (True, 10)
    """
    from kwta_theory.seeding import Stream  # brings torch, which nothing else here needs

    width = check_integer("width", width, minimum=2)
    input_dim = check_integer("input_dim", input_dim, minimum=1, maximum=LARGEST_INPUT_DIM)
    k = check_integer("k", k, minimum=1, maximum=width - 1)
    draws = check_integer("draws", draws, minimum=1)
    workers = check_integer("workers", workers, minimum=1)
    if effort not in EFFORTS:
        raise InvalidArgumentError(f"effort={effort!r} is not allowed: it must be one of {', '.join(EFFORTS)}.")
    if effort != "box" and input_dim > LARGEST_RELAXATION:
        raise InvalidArgumentError(
            f"effort={effort!r} is for at most {LARGEST_RELAXATION} dimensions, not input_dim={input_dim}."
        )
    stream = Stream(check_integer("seed", seed), "radius-distribution")
    jobs = [(stream.sequence(index), width, input_dim, k, effort) for index in range(draws)]
    if workers == 1:
        found = [_draw(*job) for job in jobs]
    else:
        found = joblib.Parallel(n_jobs=min(workers, draws))(joblib.delayed(_draw)(*job) for job in jobs)
    lower, upper = np.array([pair or (0.0, math.inf) for pair in found]).T
    return RadiusDistribution(width, input_dim, k, stream.seed, effort, lower, upper, found.count(None))


def _draw(
    sequence: np.random.SeedSequence, width: int, input_dim: int, k: int, effort: str
) -> tuple[float, float] | None:
    """The bracket of ``R^2`` of one layer; None where none was found."""
    weight = np.random.Generator(np.random.SFC64(sequence)).standard_normal((width, input_dim))
    with ThreadpoolController().limit(limits=1):
        try:
            return pattern_cell(weight, np.eye(input_dim)[0], k).radius(effort).beta
        except (CertificationError, InvalidArgumentError):  # the arguments are right: the interior is too thin
            return None
