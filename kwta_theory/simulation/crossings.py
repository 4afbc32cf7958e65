"""Pattern changes of a Gaussian layer while its input turns in a plane, found exactly: no step size (Section 3)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kwta_theory.checks import check_number, check_width_and_winners
from kwta_theory.seeding import Device
from kwta_theory.simulation.drawing import Layer, Settings, require, run_tiles
from kwta_theory.simulation.kernels import winner_mask
from kwta_theory.simulation.records import PARAMETER, Additive

# Steps between two looks at whether a tile is done: looking makes a GPU wait.
_STEPS = 16


@dataclass(frozen=True, eq=False)
class TrialSum(Additive):
    """Sum and sum of squares over trials of one number per trial."""

    total: float
    total_squares: float

    def mean(self, trials: int) -> float:
        """Average over ``trials``."""
        return self.total / trials

    def standard_error(self, trials: int) -> float:
        """Estimated standard error of :meth:`mean`, for at least two trials."""
        variance = (self.total_squares - self.total**2 / trials) / (trials - 1)
        return math.sqrt(max(variance, 0.0) / trials)


@dataclass(frozen=True, eq=False)
class BoundaryCrossings(Additive):
    """What was met while the input turned.

    Attributes:
        width, k, angle: what was simulated.
        trials: independent layers.
        changes: pattern changes of a trial. The expected number is ``angle * theory.boundary_density(width, k)``.
        values: sum over the changes of a trial of ``x*``, the common value of the two outputs that swap.
        absolute_values: the same of ``|x*|``.
        squared_values: the same of ``x*^2``; half the expected sum of squared jumps per output of the next layer.
    """

    width: int = dataclasses.field(metadata=PARAMETER)
    k: int = dataclasses.field(metadata=PARAMETER)
    angle: float = dataclasses.field(metadata=PARAMETER)
    trials: int
    changes: TrialSum
    values: TrialSum
    absolute_values: TrialSum
    squared_values: TrialSum


def boundary_crossings(
    width: int,
    k: int,
    trials: int = 100,
    *,
    angle: float = 2 * math.pi,
    seed: int = 0,
    device: Device = "auto",
    memory_budget: int = 2**30,
    workers: int = 1,
) -> BoundaryCrossings:
    """Count the changes of ``A(W x(t))``, ``x(t) = x cos t + y sin t``, for ``0 < t <= angle``, in Gaussian layers.

    ``x`` and ``y`` are orthonormal, so outputs are ``X_i cos t + Y_i sin t`` with ``2 l`` independent normals a trial.

    Method. A winner ``i`` and a loser ``j`` at ``t`` meet next at an angle within ``pi`` that is known in closed form.
    From a probe ahead of ``t`` at which some loser exceeds some winner, the angle is drawn back to where the lowest
    winner and the highest loser *there* meet, until no loser exceeds a winner: Newton's method from the right, which
    ends after finitely many steps at the first meeting. The two swap, and the search goes on from there. The length of
    the probe changes the cost, not the events.

    Args:
        width: outputs ``l``.
        k: winners.
        trials: independent layers; the first trials of a longer run with the same seed are the same.
        angle: how far the input turns, in radians, in ``(0, 1000]``.
        seed: the result depends on it and on the parameters, not on budget or workers.
        device: ``"auto"``, or a device of torch that has float64.
        memory_budget: bytes of working set.
        workers: threads, on the CPU.

    Raises:
        InvalidArgumentError: an argument outside what is stated, or a budget too small for one trial.

    Source: Section 3 and Appendix B (``x*``); :mod:`kwta_theory.theory.boundaries` for the exact expectation.

    >>> boundary_crossings(2, 1, 10).changes  # two outputs meet twice in a full turn, always
    TrialSum(total=20.0, total_squares=40.0)
    """
    width, k = check_width_and_winners(width, k)
    angle = check_number("angle", angle, 0.0, 1000.0, open_minimum=True)
    settings = Settings.checked(trials, seed, device, torch.float64, memory_budget, workers)
    layer = Layer.create(np.eye(2), width, settings)
    require(layer.drawing_bytes + layer.trials_per_tile * width * 64, settings)

    def job(tiles: Sequence[tuple[int, int]]) -> list[Tensor]:
        sums = []
        for tile, taken in tiles:
            outputs = layer.outputs(tile)
            found = turn(outputs[:, 0], outputs[:, 1], k, angle)[:, :taken]
            sums.append(torch.stack([found.sum(dim=1), (found * found).sum(dim=1)], dim=1).cpu())
        return sums

    per_tile = [tile for share in run_tiles(layer.tiles(settings.trials), settings, job) for tile in share]
    # Added tile by tile in their order, so that the workers' shares do not show in the last digit.
    sums = torch.stack(per_tile).cumsum(dim=0)[-1].tolist()
    return BoundaryCrossings(width, k, angle, settings.trials, *(TrialSum(*pair) for pair in sums))


def turn(x: Tensor, y: Tensor, k: int, angle: float) -> Tensor:
    """Per trial: the number of changes for ``0 < t <= angle`` and the sums of ``x*``, ``|x*|``, ``x*^2``.

    Args:
        x: outputs at ``t = 0``, shape ``(trials, width)``, float64.
        y: outputs at ``t = pi/2``, of the same shape.
        k: winners.
        angle: in radians.

    Returns:
        Shape ``(4, trials)``, float64.
    """
    # At most pi/2: a pair that has just swapped meets again after pi. Otherwise it only decides the cost.
    stride = min(math.pi / 2, 4 / max(1, min(k, x.shape[1] - k)))
    winners = winner_mask(x, k)
    t = x.new_zeros(len(x))
    ahead = (t + stride).clamp(max=angle)
    at_root = torch.zeros_like(t, dtype=torch.bool)
    going = ~at_root
    pair = torch.zeros(len(x), 2, dtype=torch.int64, device=x.device)
    sums = x.new_zeros(4, len(x))
    while bool(going.any()):
        for _ in range(_STEPS):
            z = x * ahead.cos()[:, None] + y * ahead.sin()[:, None]
            low, i = z.masked_fill(~winners, math.inf).min(dim=1)
            high, j = z.masked_fill(winners, -math.inf).max(dim=1)
            nearest = torch.stack([i, j], dim=1)
            root = torch.minimum(t + until_meeting(x, y, nearest, t), ahead)
            # Drawn back, unless rounding leaves no room between the root in hand and this one.
            back = going & (low < high) & ((root < ahead) | ~at_root)
            swap = going & at_root & ~back
            value = z.gather(1, pair).mean(dim=1)
            sums += torch.stack([torch.ones_like(value), value, value.abs(), value * value]) * swap
            winners = winners.scatter(1, pair, winners.gather(1, pair) ^ swap[:, None])
            going = going & (back | swap | (ahead < angle))
            t = torch.where(back, t, ahead)
            pair = torch.where(back[:, None], nearest, pair)
            ahead = torch.where(back, root, (t + stride).clamp(max=angle))
            at_root = back
    return sums


def until_meeting(x: Tensor, y: Tensor, pair: Tensor, t: Tensor) -> Tensor:
    """How far beyond ``t`` the first output of each pair, not below the second at ``t``, falls below it: in [0, pi].

    ``D = (x_i - x_j) cos t + (y_i - y_j) sin t = R cos(t - psi)`` falls through zero at ``psi + pi/2``. Rounding can
    put an angle that is ``t`` a little behind it, which would be almost a full turn ahead; it counts as 0.
    """
    (xi, xj), (yi, yj) = x.gather(1, pair).unbind(dim=1), y.gather(1, pair).unbind(dim=1)
    distance = torch.remainder(torch.atan2(yi - yj, xi - xj) + math.pi / 2 - t, 2 * math.pi)
    return torch.where(distance > 1.5 * math.pi, 0.0, distance)
