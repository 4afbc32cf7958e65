"""How much the patterns of different inputs share: Theorems 2 and 10."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Proportion
from kwta_theory.seeding import Device
from kwta_theory.simulation import layers
from kwta_theory.simulation.drawing import Layer, Settings, run_tiles
from kwta_theory.simulation.kernels import histogram, off_diagonal_maximum
from kwta_theory.simulation.records import PARAMETER, Additive
from kwta_theory.simulation.tail import Tail, Width, input_method
from kwta_theory.simulation.winners import Plan

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DisjointPatterns(Additive):
    """How often patterns were disjoint.

    Attributes:
        all_pairs: the trials in which all patterns were pairwise disjoint, the event of Theorem 10.
        pair_counts: int64 ``(N, N)``: for each pair the trials in which it was disjoint, 0 on the diagonal.
        total_variation: bound of the distance between the law of a trial and the exact one; positive only with
            ``method="tail"`` from a width of 2^63 on. Every probability here may be off by as much. Results are added
            only where it agrees.
    """

    all_pairs: Proportion
    pair_counts: Counts
    total_variation: float = field(default=0.0, metadata=PARAMETER)

    def pair(self, i: int, j: int) -> Proportion:
        """The trials in which the patterns of inputs ``i`` and ``j`` were disjoint."""
        return Proportion(int(self.pair_counts[i, j]), self.all_pairs.trials)


@dataclass(frozen=True, eq=False)
class PatternOverlap(Additive):
    """How many winners patterns shared.

    Attributes:
        k: winners.
        trials: number of layers.
        totals: int64 ``(N, N)``: sum over the trials of ``|A_i and A_j|``.
        squares: int64 ``(N, N)``: sum over the trials of its square.
        histogram: int64 ``(k + 1,)``: over trials and pairs ``i < j``, how often 0, 1, ..., k winners were shared. For
            two inputs entry 0 counts disjoint patterns and entry k the same pattern.
        total_variation: as in :class:`DisjointPatterns`.
    """

    k: int = field(metadata=PARAMETER)
    trials: int
    totals: Counts
    squares: Counts
    histogram: Counts
    total_variation: float = field(default=0.0, metadata=PARAMETER)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of ``|A_i and A_j| / k``, shape ``(N, N)``."""
        return self.totals / (self.trials * self.k)

    @property
    def standard_error(self) -> npt.NDArray[np.float64]:
        """Standard error of :attr:`mean`, shape ``(N, N)``; needs two trials."""
        if self.trials < 2:
            raise InvalidArgumentError(f"trials={self.trials} has no standard error: there must be at least 2.")
        centred = np.array(
            [int(s) * self.trials - int(t) ** 2 for s, t in zip(self.squares.flat, self.totals.flat, strict=True)],
            dtype=np.float64,  # exact integers until here: the difference of the two may be tiny
        ).reshape(self.totals.shape)
        return np.sqrt(centred / (self.trials - 1)) / (self.trials * self.k)


def disjoint_patterns(
    width: int | None,
    k: int,
    cosine: float | None = None,
    trials: int = 1000,
    *,
    points: npt.ArrayLike | None = None,
    gram: npt.ArrayLike | None = None,
    input_dim: int | None = None,
    seed: int = 0,
    method: str = "gram",
    device: Device = "auto",
    dtype: torch.dtype = torch.float64,
    memory_budget: int = 2**30,
    workers: int = 1,
    log_width: float | None = None,
) -> DisjointPatterns:
    """Estimate ``P(A(Wx_i) and A(Wx_j) disjoint for all i != j)`` for fixed inputs, the event of Theorem 10.

    Exactly one of ``cosine``, ``points`` and ``gram`` says what the inputs are.

    Args:
        width: outputs ``l`` of the layer, below ``2^30`` (a wide layer is streamed, not held), any integer with
            ``method="tail"``.
        k: winners.
        cosine: two inputs with this cosine.
        trials: number of independent layers.
        points: the inputs as rows, shape ``(N, m)``. Positive multiples have identical patterns.
        gram: their Gram matrix, shape ``(N, N)``, to 1e-10 symmetric and positive semidefinite at unit diagonal.
        input_dim: with ``cosine`` and ``method="dense"`` only, the dimension ``m``.
        seed: as in :func:`kwta_theory.simulation.same_pattern`.
        method: ``"gram"`` draws ``l rank`` normals a trial, ``"dense"`` ``l m``, ``"tail"`` only the rows that can
            win, whatever the width (:mod:`kwta_theory.simulation.tail`). Same law; from a width of 2^63 on that of
            ``"tail"`` is within :attr:`DisjointPatterns.total_variation` of it.
        device: as in :func:`kwta_theory.simulation.same_pattern`.
        dtype: as in :func:`kwta_theory.simulation.same_pattern`.
        memory_budget: bytes of working set, temporaries included.
        workers: threads, on the CPU; the budget is shared among them.
        log_width: natural logarithm of the width, up to 1e8, in place of ``width`` (None), for ``method="tail"``.
            Below ``log(2^63)`` the width is the integer next to its exponential.

    Raises:
        InvalidArgumentError: an argument outside what is stated, or a budget too small for one trial;
            ``method="tail"`` where the rows that can win are not a small part of the layer, or with a dtype other than
            float64.

    Source: Theorem 2 and Theorem 10 (Appendix C.2); their W has variance ``1/l``, which changes no pattern.

    >>> disjoint_patterns(6, 2, 0.0, 20_000, seed=1).all_pairs.interval(1e-6)  # C(4,2)/C(6,2) = 0.4
    Interval(lower=0.3..., upper=0.4...)
    >>> disjoint_patterns(None, 1, 0.5, 1000, method="tail", log_width=1e6).all_pairs
    Proportion(successes=1000, trials=1000)
    """
    size, k = Width.checked(width, k, method, log_width)
    inputs = layers.from_any(cosine, points, gram, input_method(method, input_dim), input_dim)
    settings = Settings.checked(trials, seed, device, dtype, memory_budget, workers)

    def statistics(overlaps: Tensor) -> tuple[Tensor, ...]:
        return (overlaps == 0).sum(dim=0), (off_diagonal_maximum(overlaps) == 0).sum()

    (pairs, everything), distance = _sum_over_trials(size, k, method, inputs, settings, statistics)
    return DisjointPatterns(Proportion(int(everything), settings.trials), pairs, distance)


def pattern_overlap(
    width: int | None,
    k: int,
    cosine: float | None = None,
    trials: int = 1000,
    *,
    points: npt.ArrayLike | None = None,
    gram: npt.ArrayLike | None = None,
    input_dim: int | None = None,
    seed: int = 0,
    method: str = "gram",
    device: Device = "auto",
    dtype: torch.dtype = torch.float64,
    memory_budget: int = 2**30,
    workers: int = 1,
    log_width: float | None = None,
) -> PatternOverlap:
    """Estimate the law of ``|A(Wx_i) and A(Wx_j)|``; the same seed gives the layers of :func:`disjoint_patterns`.

    Arguments and errors are those of :func:`disjoint_patterns`.

    >>> result = pattern_overlap(6, 2, 0.0, 1000, seed=1)
    >>> bool(result.histogram[0] == disjoint_patterns(6, 2, 0.0, 1000, seed=1).all_pairs.successes)
    True
    """
    size, k = Width.checked(width, k, method, log_width)
    inputs = layers.from_any(cosine, points, gram, input_method(method, input_dim), input_dim)
    settings = Settings.checked(trials, seed, device, dtype, memory_budget, workers)

    def statistics(overlaps: Tensor) -> tuple[Tensor, ...]:
        return overlaps.sum(dim=0), overlaps.square().sum(dim=0), histogram(overlaps, k)

    (totals, squares, sizes), distance = _sum_over_trials(size, k, method, inputs, settings, statistics)
    return PatternOverlap(k, settings.trials, totals, squares, sizes, distance)


def _sum_over_trials(
    width: Width,
    k: int,
    method: str,
    inputs: layers.Inputs,
    settings: Settings,
    statistics: Callable[[Tensor], tuple[Tensor, ...]],
) -> tuple[list[Counts], float]:
    """Sum over all trials what ``statistics`` makes of the overlaps ``(trials, N, N)`` of some of them.

    Returns:
        The sums, and the bound of the total variation distance from the exact law.
    """
    points = len(inputs.representative)
    plan: Plan | Tail
    if method == "tail":
        plan = Tail.create(inputs.factor, width, k, settings, trial_size=points**2, extra=96 * points**2 + 16 * k)
        tiles, distance = plan.tiles(settings.trials), plan.total_variation
    else:
        layer = Layer.create(inputs.factor, width.drawable, settings, trial_size=points**2)
        pairs = layer.trials_per_tile * points**2
        plan = Plan.create(layer, k, settings, extra=48 * points**2 + 48 * pairs + 16 * k)
        tiles, distance = layer.tiles(settings.trials), 0.0
    member = torch.from_numpy(inputs.representative).to(settings.device)
    repeated = points > len(inputs.factor)

    def job(tiles: Sequence[tuple[int, int]]) -> list[Counts]:
        sums: list[Tensor] = []
        for tile, taken in tiles:
            overlaps = plan.overlaps(tile)[:taken]
            if repeated:
                overlaps = overlaps[:, member][:, :, member]
            new = statistics(overlaps)
            sums = [a + b for a, b in zip(sums, new, strict=True)] if sums else list(new)
        return [total.cpu().numpy() for total in sums]

    shares = run_tiles(tiles, settings, job)
    return [np.asarray(sum(parts)) for parts in zip(*shares, strict=True)], distance
