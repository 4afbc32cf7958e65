"""Random binary inputs: Example 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kwta_theory.checks import check_integer, check_number, check_width_and_winners
from kwta_theory.confidence import Proportion
from kwta_theory.seeding import Device, Stream
from kwta_theory.simulation.drawing import Layer, Settings, run_tiles
from kwta_theory.simulation.kernels import off_diagonal_maximum
from kwta_theory.simulation.layers import check_method
from kwta_theory.simulation.records import Additive
from kwta_theory.simulation.winners import Plan


@dataclass(frozen=True, eq=False)
class DistinctPatterns(Additive):
    """How often all patterns were different.

    Attributes:
        distinct: the trials in which all ``N`` patterns were pairwise different.
        duplicate_inputs: the trials in which two inputs were equal (so that two patterns were, whatever the layer).
        zero_inputs: the trials in which some input was zero. All its outputs tie, so its pattern is the first ``k``.
    """

    distinct: Proportion
    duplicate_inputs: Proportion
    zero_inputs: Proportion


def distinct_patterns(
    width: int,
    k: int,
    input_dim: int,
    points: int,
    probability: float,
    trials: int = 1000,
    *,
    seed: int = 0,
    method: str = "gram",
    device: Device = "auto",
    dtype: torch.dtype = torch.float64,
    memory_budget: int = 2**30,
    workers: int = 1,
) -> DistinctPatterns:
    """Estimate ``P(A(Wx_i) != A(Wx_j) for all i != j)`` when the entries of the inputs are Bernoulli, as in Example 1.

    Every trial draws new inputs and a new layer. Equal and zero inputs are not excluded: the statement includes them.

    Args:
        width: outputs ``l`` of the layer.
        k: winners.
        input_dim: ``m``.
        points: number ``N >= 2`` of inputs.
        probability: of a one, in ``[0, 1]``; Example 1 asks for ``100 log(N)/m < p < 0.5``.
        trials: number of independent draws of inputs and layer.
        seed: one for the whole run.
        method: ``"gram"`` draws ``l min(N, m)`` normals a trial (QR of the inputs), ``"dense"`` ``l m``. Same law.
        device: as in :func:`kwta_theory.simulation.same_pattern`, like all that follow.
        dtype: of the outputs.
        memory_budget: bytes of working set.
        workers: threads, on the CPU.

    Raises:
        InvalidArgumentError: an argument outside what is stated, or a budget too small for one trial.

    >>> distinct_patterns(64, 8, 100, 2, 0.0, trials=5)
    DistinctPatterns(distinct=Proportion(successes=0, trials=5), \
duplicate_inputs=Proportion(successes=5, trials=5), zero_inputs=Proportion(successes=5, trials=5))
    """
    width, k = check_width_and_winners(width, k)
    input_dim = check_integer("input_dim", input_dim, minimum=1)
    points = check_integer("points", points, minimum=2)
    probability = check_number("probability", probability, 0.0, 1.0)
    check_method(method)
    settings = Settings.checked(trials, seed, device, dtype, memory_budget, workers)
    columns = input_dim if method == "dense" else min(points, input_dim)
    # A whole tile as the size of a trial: one trial to a tile, because every trial has its own inputs.
    layer = Layer.create(np.zeros((points, columns)), width, settings, trial_size=settings.tile)
    plan = Plan.create(layer, k, settings, extra=32 * points * input_dim + 64 * points**2)
    stream = Stream(settings.seed, "inputs")
    # No QR decomposition on MPS.
    place = torch.device("cpu") if settings.device.type == "mps" else settings.device

    def job(tiles: Sequence[tuple[int, int]]) -> Tensor:
        counts = torch.zeros(3, dtype=torch.int64, device=settings.device)
        for tile, _ in tiles:
            inputs = (stream.uniforms((tile,), (points, input_dim), place) < probability).to(torch.float64)
            factor, first, zero = (part.to(settings.device) for part in binary_factor(inputs, method))
            trial = dataclasses.replace(plan, layer=dataclasses.replace(layer, factor=factor.to(settings.dtype)))
            overlaps = trial.overlaps(tile)[0][first][:, first]
            counts += trial_flags(overlaps, first, zero, k)
        return counts.cpu()

    sums = torch.stack(run_tiles(layer.tiles(settings.trials), settings, job)).sum(dim=0).tolist()
    return DistinctPatterns(*(Proportion(count, settings.trials) for count in sums))


def binary_factor(inputs: Tensor, method: str) -> tuple[Tensor, Tensor, Tensor]:
    """Directions of binary inputs ``(N, m)``, for each input the first one equal to it, and which are zero.

    Positive multiples among binary vectors are equal vectors, and these are found exactly: ``x_i = x_j`` iff
    ``<x_i, x_j> = |x_i|^2 = |x_j|^2``. A zero input keeps a zero row, so that all its outputs are equal.
    """
    products = inputs @ inputs.T
    sizes = products.diagonal()
    equal = (products == sizes) & (products == sizes[:, None])
    numbers = torch.arange(len(inputs), device=inputs.device)
    first = torch.where(equal, numbers, len(inputs)).amin(dim=1)
    zero = sizes == 0
    unit = inputs / torch.where(zero, 1.0, sizes.sqrt())[:, None]
    if method == "gram":
        unit = torch.linalg.qr(unit.T, mode="r").R.T.contiguous()
    return unit, first, zero


def trial_flags(overlaps: Tensor, first: Tensor, zero: Tensor, k: int) -> Tensor:
    """Whether all patterns differ, whether two inputs are equal, whether one is zero: int64 ``(3,)``."""
    numbers = torch.arange(len(first), device=first.device)
    flags = [off_diagonal_maximum(overlaps) < k, (first != numbers).any(), zero.any()]
    return torch.stack(flags).to(torch.int64)
