"""Layers of any width from the rows that can win alone: ``method="tail"``, exact, at a cost independent of the width.

A row ``w`` of ``W`` has outputs ``y = F w`` at the ``U`` different directions, the unit rows ``f_j`` of ``F``. The k
winners of every input lie in ``S = {w : some y_j > u}`` as soon as every input has ``k`` rows above the level ``u``. So
only the rows in ``S`` are drawn.

Thinning. Let ``l Q(u) = mu`` and ``p = U mu / l < 1``. Each of the ``l`` rows makes a proposal with probability ``p``:
an input ``i``, uniformly; ``z`` from the tail of the normal law beyond ``u``; and the rest of the row from ``N(0, I)``
conditional on ``f_i.w = z``, which is ``w = g + (z - f_i.g) f_i`` with ``g ~ N(0, I)``. So the density of the proposals
of a row is ``p (1/U) Sum_i phi(w) 1{y_i > u} / Q(u) = phi(w) #{j : y_j > u}``. One that is kept with probability
``1 / #{j : y_j > u}`` has the density ``phi(w) 1{w in S}``: that of a row of ``W``, on ``S``. The rows are independent,
hence what is kept has exactly the law of the rows of ``W`` that lie in ``S``.

Which rows propose. ``M ~ Poisson(-l log(1 - p))`` marks fall on uniformly chosen rows; every row has Poisson(-log(1-p))
of them, so it has at least one with probability ``p``, independently of the others. The number of different marked
rows is Binomial(l, p), without the rounding of ``1 - p`` or the Stirling sums of a binomial generator. From a width of
2^63 on rows are not numbered: the proposals are Poisson(U mu) (see :attr:`Tail.total_variation`).

Shortfall. ``mu`` is such that in one trial of a thousand or fewer some input has not ``k`` rows above ``u``. Such a
trial is not drawn anew, which would be a bias: it is continued. The rows known so far are all those in ``S``; each of
the other ``l - |S|`` is independently a row of ``W`` conditional on lying outside ``S``. They propose at the level
``u'`` of ``2 mu``, by the same thinning, and one that falls into ``S`` is drawn again: rejection, which is exact. If
that is not enough, ``4 mu``, and so on; when ``U mu'`` would exceed ``l`` the other rows are drawn in full.

Numbers. Everything is kept as the excess over the level, ``e_j = y_j - u``, from ``c = (z - u) - h_i``, ``h = F g``:

    e_j = h_j + (z - f_i.g) f_i.f_j - u = h_j + c - (c + u) |f_i - f_j|^2 / 2

where nothing cancels: the winners beyond ``u = 14,000`` (a width of ``exp(1e8)``) are ``1/u`` apart, 1e-8 of their
size, and ``e`` still orders them to 1e-11 of that spacing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from scipy import special
from scipy.spatial import distance
from torch import Tensor

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number, check_width_and_winners
from kwta_theory.seeding import Stream
from kwta_theory.simulation.drawing import Settings, require
from kwta_theory.simulation.kernels import compress, mask_overlaps
from kwta_theory.simulation.layers import Array, check_method

# Probability that some input of a trial has fewer than k rows above the first level: it costs time, not exactness.
SHORTFALL = 1e-3
# From here on rows have no numbers (64-bit integers end).
UNNUMBERED = 2**63
LARGEST_LOG_WIDTH = 1e8
# Below this a width given by its logarithm is the integer next to it.
_INTEGERS = 2**53
_NEWTON_STEPS = 7


@dataclass(frozen=True)
class Width:
    """How wide a layer is.

    Attributes:
        log: natural logarithm of the width.
        rows: the width, or None from 2^63 on.
        by_logarithm: whether ``log_width`` was given.
    """

    log: float
    rows: int | None
    by_logarithm: bool = False

    @property
    def drawable(self) -> int:
        """The width as an integer for a method that draws every row; out of reach from 2^63 on."""
        return UNNUMBERED if self.rows is None else self.rows

    @classmethod
    def checked(
        cls, width: SupportsIndex | None, k: SupportsIndex, method: str, log_width: SupportsFloat | None
    ) -> tuple[Width, int]:
        """The width and ``k``, from exactly one of ``width`` and ``log_width``, the second for ``"tail"`` only."""
        if method != "tail":
            if method not in ("gram", "dense"):
                raise InvalidArgumentError(f"method={method!r} is not allowed: it must be 'gram', 'dense' or 'tail'.")
            if log_width is not None:
                raise InvalidArgumentError(
                    f"log_width={log_width!r} is only for method='tail': with method={method!r} give the width."
                )
        if (width is None) == (log_width is None):
            raise InvalidArgumentError(
                f"width={width!r} with log_width={log_width!r} is not allowed: give exactly one of the two."
            )
        if width is not None:
            width, k = check_width_and_winners(width, k)
            return cls(math.log(width), width if width < UNNUMBERED else None), k
        k = check_integer("k", k, minimum=1)
        number = check_number("log_width", log_width, 0.0, LARGEST_LOG_WIDTH)  # type: ignore[arg-type]
        if number < math.log(_INTEGERS):
            width, k = check_width_and_winners(round(math.exp(number)), k)
            return cls(math.log(width), width, by_logarithm=True), k
        if math.log(k) > number:
            raise InvalidArgumentError(f"log_width={number} is below log(k)={math.log(k):g}: k={k} winners need rows.")
        rows = round(math.exp(number)) if number < math.log(UNNUMBERED) - 1e-9 else None
        return cls(number, rows, by_logarithm=True), k


def input_method(method: str, input_dim: SupportsIndex | None) -> str:
    """The method by which :mod:`layers` finds the inputs: ``"tail"`` takes those of ``"gram"``."""
    if method != "tail":
        return check_method(method)
    if input_dim is not None:
        raise InvalidArgumentError(
            f"input_dim={input_dim!r} has no effect with method='tail', where the law does not depend on it: "
            "leave it out, or use method='dense'."
        )
    return "gram"


def normal_level(log_tail: float) -> float:
    """``u`` with ``log Q(u) = log_tail``, to a few units of rounding down to ``log_tail = -1e8``.

    ``scipy.special.ndtri_exp`` misses ``log Q`` by 1e-6 at ``-1e6`` (scipy 1.17): two Newton steps follow it.

    >>> round(normal_level(math.log(0.025)), 12)
    1.95996398454
    """
    level = -float(special.ndtri_exp(log_tail))
    for _ in range(2):
        mills = float(special.erfcx(level / math.sqrt(2)))
        level += (math.log(mills / 2) - level**2 / 2 - log_tail) * mills * math.sqrt(math.pi / 2)
    return level


def normal_excess(level: float, exponential: Tensor) -> Tensor:
    """``E >= 0`` with ``Q(level + E) = Q(level) exp(-t)``, for ``level >= 0``: how far a draw lies beyond its level.

    With ``t`` a standard exponential, ``level + E`` is normal conditional on exceeding the level. ``E`` is the root of

        f(E) = level E + E^2 / 2 - log( erfcx((level + E)/sqrt 2) / erfcx(level/sqrt 2) ) - t

    since ``Q(x) = exp(-x^2/2) erfcx(x/sqrt 2) / 2``; no large numbers are subtracted, so ``t`` is met to 4e-15 however
    high the level. ``f`` is convex and increasing, and ``sqrt(level^2 + 2 t) - level`` is
    right of the root because ``erfcx`` falls: Newton's steps go down to the root.

    Args:
        level: at least 0.
        exponential: ``t >= 0``, float64.

    >>> t = torch.tensor([0.0, math.log(0.5 / 0.025)], dtype=torch.float64)
    >>> normal_excess(0.0, t).tolist()[0], round(normal_excess(0.0, t).tolist()[1], 12)
    (0.0, 1.95996398454)
    """
    base = special.erfcx(level / math.sqrt(2))
    excess = 2 * exponential / ((level**2 + 2 * exponential).sqrt() + level).clamp_min(1e-300)
    for _ in range(_NEWTON_STEPS):
        mills = torch.special.erfcx((level + excess) / math.sqrt(2))
        value = excess * (level + excess / 2) - (mills / base).log() - exponential
        excess = (excess - value * mills * math.sqrt(math.pi / 2)).clamp_min(0.0)
    return excess


@dataclass(frozen=True)
class Tail:
    """Independent layers of one width at the inputs ``factor`` (unit rows), tile by tile (see ``drawing``).

    Attributes:
        factor: ``F``, ``(U, columns)``, float64, on the device.
        gaps: ``1 - cosine = |f_i - f_j|^2 / 2``, ``(U, U)``.
        width: of the layer.
        k: winners.
        mean: ``mu``, rows above the first level for each input, on average.
        stream: where the numbers come from.
        trials_per_tile: follows from the parameters alone.
    """

    factor: Tensor
    gaps: Tensor
    width: Width
    k: int
    mean: float
    stream: Stream
    trials_per_tile: int

    @classmethod
    def create(
        cls, factor: Array, width: Width, k: int, settings: Settings, *, trial_size: int = 0, extra: int = 0
    ) -> Tail:
        """Choose the level and fit the working set to the budget.

        Args:
            factor: unit rows.
            width: of the layer.
            k: winners.
            settings: of the run.
            trial_size: numbers that the estimator holds for a trial.
            extra: bytes that the estimator holds for a trial.

        Raises:
            InvalidArgumentError: ``U mu >= l``; a dtype other than float64; a budget too small for a tile.
        """
        if settings.dtype != torch.float64:
            raise InvalidArgumentError(
                f"dtype={settings.dtype} is not allowed with method='tail': it must be torch.float64."
            )
        points, columns = factor.shape
        mean = float(special.gammainccinv(k, SHORTFALL / points))
        # Two inputs at least, so that the level is never negative.
        if width.rows is not None and max(points, 2) * mean >= width.rows:
            raise InvalidArgumentError(
                f"width={width.rows} is too small for method='tail' with k={k} and {points} different directions, "
                f"where it must be above {max(points, 2) * mean:.0f}: use method='gram'."
            )
        proposals = points * mean
        trials = max(1, int(settings.tile // max(proposals * max(points, columns), trial_size)))
        tail = cls(
            torch.from_numpy(factor).to(settings.device),
            torch.from_numpy(distance.cdist(factor, factor, "sqeuclidean") / 2).to(settings.device),
            width,
            k,
            mean,
            Stream(settings.seed, "tail"),
            trials,
        )
        # Poisson fluctuation beyond 10 standard deviations is rarer than 1e-20.
        drawn = trials * proposals + 10 * math.sqrt(trials * proposals) + 40
        slots = max(k, proposals + 10 * math.sqrt(proposals) + 40)
        flat = 8 * drawn * (columns + 4 * points + 12)
        padded = trials * (8 * slots * (3 * points + 3) + points * k * (64 + points * 5) + points**2 * 16 + extra)
        # One trial continued at double the level, or in full, holds at most three times its rows.
        continued = 8 * 3 * slots * (columns + 5 * points)
        require(int(max(flat, continued) + padded), settings)
        return tail

    @property
    def level(self) -> float:
        """``u``."""
        return self._level(self.mean)

    @property
    def total_variation(self) -> float:
        """Bound of the total variation distance between the law of a trial and the exact one: 0 below 2^63.

        From there on the rows are a Poisson process. By Le Cam's inequality its restriction to ``S`` for the level of
        ``mu'`` is within ``P(w in S) <= U mu' / l`` of that of ``l`` rows, and a trial is a function of it unless some
        input has fewer than ``k`` rows above that level. So ``U mu' / l + U P(Poisson(mu') < k)`` bounds the distance
        for every ``mu'``; this is the least for ``mu' = mu, 2 mu, 4 mu, ...``. It is 0.0 where it underflows.
        """
        if self.width.rows is not None:
            return 0.0
        points = len(self.factor)
        means = self.mean * 2.0 ** np.arange(12)
        bounds = np.exp(np.log(points * means) - self.width.log) + points * special.gammaincc(self.k, means)
        return float(bounds.min())

    def tiles(self, trials: int) -> list[tuple[int, int]]:
        """``(tile, trials taken from it)`` for the first ``trials`` trials."""
        size = self.trials_per_tile
        return [(tile, min(size, trials - tile * size)) for tile in range(-(-trials // size))]

    def overlaps(self, tile: int) -> Tensor:
        """``|A_i and A_j|``, shape ``(trials, U, U)``."""
        columns, count = compress(self.winners(tile)[0], UNNUMBERED)
        return mask_overlaps(columns.new_zeros(*columns.shape[:2], count, dtype=torch.bool).scatter_(-1, columns, True))

    def winners(self, tile: int) -> tuple[Tensor, Tensor]:
        """Numbers (in the order of drawing, from 0 in each trial) and values of the winners, ``(trials, U, k)``."""
        counts = self._proposing((tile,), self.width.rows, self.mean, self.trials_per_tile)
        excess, kept = self._proposals((tile,), int(counts.sum()), self.mean)
        trial = np.repeat(np.arange(len(counts)), counts)
        slot = np.arange(len(trial)) - np.repeat(counts.cumsum() - counts, counts)
        slots = max(self.k, int(counts.max()))
        padded = excess.new_full((len(counts), slots, len(self.factor)), -torch.inf)
        places = torch.from_numpy(trial * slots + slot).to(excess.device)
        padded.view(-1, len(self.factor))[places] = excess.masked_fill(~kept[:, None], -torch.inf)
        values, indices = padded.transpose(1, 2).topk(self.k, dim=-1)
        short = torch.nonzero(values[..., -1].amin(dim=-1) < 0)[:, 0].tolist()  # reading it back waits for the device
        for number in short:
            rows = padded[number]
            rows = self._continued((tile, number), rows[rows[:, 0] > -torch.inf])
            found, index = rows.topk(self.k, dim=0)
            values[number], indices[number] = found.T, index.T
        return indices, self.level + values

    def _level(self, mean: float) -> float:
        return normal_level(math.log(mean) - self.width.log)

    def _proposing(self, index: tuple[int, ...], rows: int | None, mean: float, trials: int) -> npt.NDArray[np.int64]:
        """How many of ``rows`` rows make a proposal at the level of ``mean``, for each of some trials."""
        generator = np.random.default_rng(self.stream.sequence(*index, 0))
        if rows is None or self.width.rows is None:
            return generator.poisson(len(self.factor) * mean, trials)
        if rows == 0:
            return np.zeros(trials, dtype=np.int64)
        chance = len(self.factor) * mean / self.width.rows
        marks = generator.poisson(-rows * math.log1p(-chance), trials)
        # Different numbers among the first marks[t] of row t; what lies beyond them is -1.
        chosen = generator.integers(rows, size=(trials, int(marks.max())))
        chosen[np.arange(chosen.shape[1]) >= marks[:, None]] = -1
        chosen.sort(axis=1)
        new = np.diff(chosen, axis=1, prepend=-1) != 0
        return new.sum(axis=1)

    def _proposals(self, index: tuple[int, ...], count: int, mean: float) -> tuple[Tensor, Tensor]:
        """Proposals at the level of ``mean``: excesses ``(count, U)`` over it, and which are kept."""
        points, columns = self.factor.shape
        device, level = self.factor.device, self._level(mean)
        uniforms = self.stream.uniforms((*index, 1), (3, count), device)
        chosen = (uniforms[0] * points).to(torch.int64)
        own = normal_excess(level, -torch.log1p(-uniforms[1]))[:, None]
        excess = self.stream.normals((*index, 2), (count, columns), device, torch.float64) @ self.factor.T
        shift = own - excess.gather(1, chosen[:, None])
        excess += shift
        excess -= (shift + level) * self.gaps[chosen]
        excess.scatter_(1, chosen[:, None], own)  # what rounding has left of it
        return excess, uniforms[2] * (excess >= 0).sum(dim=1) < 1

    def _continued(self, index: tuple[int, ...], rows: Tensor) -> Tensor:
        """More rows of a trial of which all above the first level are known: excesses over it, enough for all."""
        points, mean, depth, depths = len(self.factor), self.mean, 0, 0.0
        while len(rows) < self.k or (rows.topk(self.k, dim=0).values < -depths).any():
            depth, known = depth + 1, mean
            mean = 2 * mean
            rest = None if self.width.rows is None else self.width.rows - len(rows)
            full = self.width.rows is not None and max(points, 2) * mean >= self.width.rows
            # The level of `known` lies this far above that of `mean`.
            down = math.inf if full else self._step(known, mean)
            attempt = 0
            while rest is None or rest:
                where = (*index, depth, attempt)
                if full and rest is not None:
                    normals = self.stream.normals((*where, 2), (rest, self.factor.shape[1]), rows.device, rows.dtype)
                    new = normals @ self.factor.T - self._level(known) - depths
                else:
                    proposing = int(self._proposing(where, rest, mean, 1)[0])
                    excess, kept = self._proposals(where, proposing, mean)
                    new = excess[kept] - down - depths
                again = (new >= -depths).any(dim=1)
                rows = torch.cat([rows, new[~again]])
                if rest is None:
                    break
                rest, attempt = int(again.sum()), attempt + 1
            depths += down
        return rows

    def _step(self, known: float, mean: float) -> float:
        ratio = torch.tensor(math.log(mean / known), dtype=torch.float64)
        return float(normal_excess(self._level(mean), ratio))
