"""Can the last layer fit any labels? Theorem 11."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Proportion
from kwta_theory.seeding import Device
from kwta_theory.simulation import layers
from kwta_theory.simulation.drawing import Layer, Settings, run_tiles
from kwta_theory.simulation.kernels import compress
from kwta_theory.simulation.records import PARAMETER, SEQUENCE, Additive
from kwta_theory.simulation.tail import Tail, Width, input_method
from kwta_theory.simulation.winners import Plan

# Labels count as met when no equation, its row scaled to length 1, is off by more than this part of the largest label.
RESIDUAL_TOLERANCE = 1e-8
# The norms of the paper's layer are multiplied by at most e^600, which leaves room for the norms themselves.
_LARGEST_LOG_FACTOR = 600.0

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Interpolation(Additive):
    """What happened in each trial, that is for each drawn layer.

    Residuals are ``max_i |<v, phi_k(W x_i)> - z_i|`` in the units of the labels. Norms are those of the paper's ``v``,
    whose ``W`` has variance ``1/l``: ``sqrt(l)`` times that of rows of variance 1.

    Attributes:
        disjoint: all patterns pairwise disjoint, the premise of the proof.
        proof_vector: every input has a winner that no other input has (and that is not zero), so the proof's ``v``
            can be built: ``v_t = z_i / (W_t x_i)`` at that winner, the largest such one in absolute value.
        any_vector: the numerical rank of the features is ``N``: a ``v`` exists for any labels.
        these_labels: the minimum-norm ``v`` meets the given labels, to ``RESIDUAL_TOLERANCE``.
        rank: numerical rank of the features, shape ``(trials,)``.
        proof_residual: of the proof's ``v``, NaN where it cannot be built, shape ``(trials,)``.
        proof_norm: its length, likewise.
        minimum_residual: of the minimum-norm least-squares ``v`` (of the row-normalised equations).
        minimum_norm: its length.
        norm_log_unit: natural logarithm of the unit in which the norms are given: 0 where the width was given, half of
            ``log_width`` where that was, because ``sqrt(l)`` may overflow; then they are those for rows of variance 1.
        total_variation: as in :class:`kwta_theory.simulation.DisjointPatterns`.
    """

    disjoint: Proportion
    proof_vector: Proportion
    any_vector: Proportion
    these_labels: Proportion
    rank: npt.NDArray[np.int64] = field(metadata=SEQUENCE, repr=False)
    proof_residual: Values = field(metadata=SEQUENCE, repr=False)
    proof_norm: Values = field(metadata=SEQUENCE, repr=False)
    minimum_residual: Values = field(metadata=SEQUENCE, repr=False)
    minimum_norm: Values = field(metadata=SEQUENCE, repr=False)
    norm_log_unit: float = field(default=0.0, metadata=PARAMETER)
    total_variation: float = field(default=0.0, metadata=PARAMETER)


def interpolation(
    width: int | None,
    k: int,
    labels: npt.ArrayLike,
    trials: int = 1000,
    *,
    cosine: float | None = None,
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
) -> Interpolation:
    """For each layer: is there a ``v`` with ``<v, phi_k(W x_i)> = z_i`` for all ``i``, and does the proof find it?

    The features ``phi_k(W x_i)`` are rows of an ``N x l`` matrix with ``k`` nonzeros each. Only columns that some input
    wins matter, at most ``min(N k, l)``, and only those are laid out. Its rank is that of the row-normalised matrix:
    singular values above ``max(N, columns) * 2^-52`` times the largest (``2^-23`` where a device has no double
    precision). They come from a QR decomposition and then the singular values of its triangle.

    Args:
        width: outputs ``l`` of the layer.
        k: winners.
        labels: ``z``, shape ``(N,)``.
        trials: number of independent layers.
        cosine: two unit inputs with this cosine; or
        points: the inputs as rows, shape ``(N, m)``; or
        gram: their Gram matrix. Exactly one of the three.
        input_dim: as in :func:`kwta_theory.simulation.disjoint_patterns`, like all that follow.
        seed: one for the whole run.
        method: ``"gram"``, ``"dense"`` or ``"tail"``.
        device: where it runs.
        dtype: of the outputs; the linear algebra is done in double precision.
        memory_budget: bytes of working set.
        workers: threads, on the CPU.
        log_width: natural logarithm of the width, in place of ``width``; see :attr:`Interpolation.norm_log_unit`.

    Raises:
        InvalidArgumentError: as in :func:`kwta_theory.simulation.disjoint_patterns`; labels that are not ``N`` finite
            numbers; a width whose square root is beyond floating-point numbers: give its logarithm.

    Source: Theorem 11, Appendix C.2.

    >>> result = interpolation(50, 2, [1.0, -1.0], trials=10, cosine=0.5)
    >>> result.any_vector, bool(result.minimum_residual.max() < 1e-12)
    (Proportion(successes=10, trials=10), True)
    """
    size, k = Width.checked(width, k, method, log_width)
    inputs = layers.from_any(cosine, points, gram, input_method(method, input_dim), input_dim)
    targets = _check_labels(labels, len(inputs.representative))
    settings = Settings.checked(trials, seed, device, dtype, memory_budget, workers)
    unit = size.log / 2 if size.by_logarithm else 0.0
    if size.log / 2 - unit > _LARGEST_LOG_FACTOR:
        raise InvalidArgumentError(
            f"width=e^{size.log:g} is too large for the norms of the paper's layer: give it as log_width."
        )
    factor = math.exp(size.log / 2 - unit)
    count = len(targets)
    numbered = size.drawable
    columns = min(count * k, numbered)
    # For a trial: features, normalised features, the orthogonal factor with its copies, and the square matrices.
    algebra = 8 * (6 * count * columns + 6 * count**2 + 5 * count * k)
    plan: Plan | Tail
    if method == "tail":
        plan = Tail.create(inputs.factor, size, k, settings, trial_size=count**2, extra=algebra)
        tiles, distance = plan.tiles(settings.trials), plan.total_variation
    else:
        layer = Layer.create(inputs.factor, numbered, settings)
        plan = Plan.create(layer, k, settings, extra=layer.trials_per_tile * algebra, keep_values=True)
        tiles, distance = layer.tiles(settings.trials), 0.0
    member = torch.from_numpy(inputs.representative).to(settings.device)
    exact = torch.float32 if settings.device.type == "mps" else torch.float64
    norms = torch.from_numpy(inputs.norms).to(exact).to(settings.device)
    z = torch.from_numpy(targets).to(exact).to(settings.device)

    def job(tiles: Sequence[tuple[int, int]]) -> Fit:
        fits = []
        for tile, taken in tiles:
            indices, values = plan.winners(tile)
            wins, total = compress(indices[:taken, member].to(torch.int64), numbered)
            fits.append(fit(wins, values[:taken, member].to(exact), total, z, norms))
        return Fit(*(torch.cat(part).cpu() for part in zip(*fits, strict=True)))

    shares = run_tiles(tiles, settings, job)
    result = Fit(*(torch.cat(part) for part in zip(*shares, strict=True)))

    def counted(flags: Tensor) -> Proportion:
        return Proportion(int(flags.sum()), settings.trials)

    def floats(part: Tensor, factor: float = 1.0) -> Values:
        return part.to(torch.float64).numpy() * factor

    return Interpolation(
        counted(result.disjoint),
        counted(result.proof_vector),
        counted(result.rank == count),
        counted(result.these_labels),
        result.rank.numpy(),
        floats(result.proof_residual),
        floats(result.proof_norm, factor),
        floats(result.minimum_residual),
        floats(result.minimum_norm, factor),
        unit,
        distance,
    )


class Fit(NamedTuple):
    """The answer for each trial; norms for rows of variance 1."""

    disjoint: Tensor
    proof_vector: Tensor
    these_labels: Tensor
    rank: Tensor
    proof_residual: Tensor
    proof_norm: Tensor
    minimum_residual: Tensor
    minimum_norm: Tensor


def fit(columns: Tensor, values: Tensor, count: int, labels: Tensor, norms: Tensor) -> Fit:
    """Both vectors of Theorem 11 for a batch of trials, without a host synchronisation.

    Args:
        columns: int64 ``(trials, N, k)``: the winners, numbered below ``count``.
        values: ``(trials, N, k)``: ``W_t x_i / |x_i|`` there.
        count: number of columns.
        labels: ``(N,)``.
        norms: ``|x_i|``, ``(N,)``.
    """
    trials, points, _ = columns.shape
    flat = columns.reshape(trials, -1)
    owners = values.new_zeros(trials, count).scatter_add_(-1, flat, torch.ones_like(values).reshape(trials, -1))
    scaled = labels / norms
    features = values.new_zeros(trials, points, count).scatter_(-1, columns, values)

    # The proof's vector: at each input's own winner, the rest zero.
    own = values.abs().masked_fill(owners.gather(-1, flat).reshape(columns.shape) > 1, 0.0)
    size, place = own.max(dim=-1, keepdim=True)
    built = (size > 0).all(dim=1).squeeze(-1)
    weight = scaled / values.gather(-1, place).squeeze(-1)
    proof = values.new_zeros(trials, count).scatter_(-1, columns.gather(-1, place).squeeze(-1), weight)

    lengths = torch.linalg.vector_norm(features, dim=-1)
    lengths = torch.where(lengths > 0, lengths, 1.0)
    rows = features / lengths[..., None]
    basis, triangle = torch.linalg.qr(rows.mT)
    left, singular, right = torch.linalg.svd(triangle.mT, full_matrices=False)
    level = max(points, count) * torch.finfo(values.dtype).eps * singular[..., :1]
    kept = singular > level
    targets = scaled / lengths
    coefficients = (left.mT @ targets[..., None]).squeeze(-1)
    coefficients = torch.where(kept, coefficients / torch.where(kept, singular, 1.0), 0.0)
    minimum = (basis @ (right.mT @ coefficients[..., None])).squeeze(-1)

    def misfit(vector: Tensor) -> Tensor:
        return (features @ vector[..., None]).squeeze(-1) - scaled

    minimum_misfit = misfit(minimum)
    met = (minimum_misfit / lengths).abs().amax(-1) <= RESIDUAL_TOLERANCE * targets.abs().amax(-1)
    return Fit(
        owners.amax(dim=-1) <= 1,
        built,
        met,
        kept.sum(dim=-1),
        torch.where(built, (misfit(proof) * norms).abs().amax(dim=-1), torch.nan),
        torch.where(built, torch.linalg.vector_norm(proof, dim=-1), torch.nan),
        (minimum_misfit * norms).abs().amax(dim=-1),
        torch.linalg.vector_norm(minimum, dim=-1),
    )


def _check_labels(labels: npt.ArrayLike, points: int) -> Values:
    try:
        array = np.asarray(labels, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"labels are not numbers: they must be {points} finite numbers.") from None
    if array.shape != (points,):
        raise InvalidArgumentError(
            f"labels have shape {array.shape}: there must be one for each of the {points} inputs."
        )
    if not np.isfinite(array).all():
        raise InvalidArgumentError("labels have NaN or infinity: every label must be finite.")
    return array
