"""Does a second input have the pattern of the first? Lemma 5, and Theorems 1, 8 and 9 for fixed inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kwta_theory.checks import InvalidArgumentError, check_number, check_points, check_width_and_winners
from kwta_theory.confidence import Proportion
from kwta_theory.seeding import Device
from kwta_theory.simulation import layers
from kwta_theory.simulation.drawing import Layer, Settings, groups_within, require, run_tiles
from kwta_theory.simulation.kernels import keeps_pattern, winner_mask
from kwta_theory.simulation.records import Additive

# Largest inner product of unit vectors that counts as perpendicular.
PERPENDICULAR = 1e-10


def same_pattern(
    width: int,
    k: int,
    cosine: float,
    trials: int = 1000,
    *,
    margin: float = 0.0,
    input_dim: int | None = None,
    seed: int = 0,
    method: str = "gram",
    device: Device = "auto",
    dtype: torch.dtype = torch.float64,
    memory_budget: int = 2**30,
    workers: int = 1,
) -> Proportion:
    """Estimate ``P(A(Wx) = A(Wx'))`` for ``|x| = |x'| = 1``, ``<x, x'> = cosine`` and rows of ``W`` from ``N(0, I)``.

    With ``margin = mu > 0``, the event that no winner of ``x`` falls more than ``mu`` below a loser of ``x`` at ``x'``:

        min over winners i of W_i x'  >=  max over losers j of W_j x' - mu,

    the complement of the event of Lemma 5. At ``mu = 0`` it is the same pattern, ties to the smaller index.

    Args:
        width: outputs ``l`` of the layer, below ``2^30``.
        k: winners.
        cosine: of the angle between the inputs.
        trials: number of independent layers; the first trials of a longer run with the same seed are the same.
        margin: ``mu >= 0``, in the units of ``W x'`` (standard deviation 1).
        input_dim: ``m``, with ``method="dense"`` only.
        seed: the result depends on it and on the parameters, not on budget or workers.
        method: ``"gram"`` draws ``2 l`` normals a trial, ``"dense"`` the whole of ``W``, ``l m``. Same law.
        device: ``"auto"``, or a device of torch.
        dtype: of the outputs; single and half precision tie and bias (normals are drawn in double and rounded).
        memory_budget: bytes of working set.
        workers: threads, on the CPU.

    Returns:
        The trials in which the event happened.

    Raises:
        InvalidArgumentError: an argument outside what is stated, or a budget too small for one trial.

    Source: Appendix C.1, Lemma 5; step (6) of its proof for ``"gram"``.

    >>> same_pattern(20, 2, 0.9, 20_000, seed=1).interval(1e-6)  # the exact law says 0.377635
    Interval(lower=0.3..., upper=0.3...)
    """
    width, k = check_width_and_winners(width, k)
    inputs = layers.from_cosine(cosine, method, input_dim)
    margin = check_number("margin", margin, 0.0)
    settings = Settings.checked(trials, seed, device, dtype, memory_budget, workers)
    layer = Layer.create(inputs.factor, width, settings)
    require(sum(_working_set(layer)), settings)
    x, other = inputs.representative.tolist()

    def job(tiles: Sequence[tuple[int, int]]) -> int:
        same = torch.zeros((), dtype=torch.int64, device=settings.device)
        for tile, taken in tiles:
            outputs = layer.outputs(tile)
            same += keeps_pattern(winner_mask(outputs[:, x], k), outputs[:, other], margin)[:taken].sum()
        return int(same)

    return Proportion(sum(run_tiles(layer.tiles(settings.trials), settings, job)), settings.trials)


@dataclass(frozen=True, eq=False)
class PatternChange(Additive):
    """How often the pattern changed.

    Attributes:
        changed: for each direction, the trials in which the pattern of ``x'`` was not that of ``x``.
        all_changed: the trials in which it changed in all directions at once.
    """

    changed: tuple[Proportion, ...]
    all_changed: Proportion


def pattern_change(
    width: int,
    k: int,
    point: npt.ArrayLike,
    directions: npt.ArrayLike,
    distance: npt.ArrayLike,
    trials: int = 1000,
    *,
    scale: float = 1.0,
    margin: float = 0.0,
    seed: int = 0,
    method: str = "gram",
    device: Device = "auto",
    dtype: torch.dtype = torch.float64,
    memory_budget: int = 2**30,
    workers: int = 1,
) -> PatternChange:
    """Estimate ``P(A(Wx') != A(Wx))`` for ``x' = c (x + d u)``, ``u`` a unit vector perpendicular to ``x``.

    This is the pointwise form of Theorems 1, 8 and 9: every ``x'`` is fixed before ``W`` is drawn. It is NOT the
    theorem, which speaks of all ``x'`` at once, and no number of sampled directions confirms it (at m = 32, l = 1000,
    points with the same pattern exist at 36 times the largest ``|u|^2`` that 2000 random directions find).

    Computed as ``W x' = c |x| (W x/|x| + (d/|x|) W u)``, so a tiny distance keeps its relative precision and distance 0
    is exactly the same pattern.

    Args:
        width: outputs ``l`` of the layer, below ``2^30``.
        k: winners.
        point: ``x``, shape ``(m,)``.
        directions: shape ``(D, m)`` or ``(m,)``, of any length, perpendicular to ``x`` (cosine at most 1e-10).
        distance: ``d >= 0``, one number or one per direction, in the units of ``x``. The ``beta`` of Theorem 1 is
            ``d^2/|x|^2``.
        trials: number of independent layers.
        scale: ``c``, not 0. A positive one changes nothing at ``margin=0``; a negative one reverses the order.
        margin: ``mu >= 0`` in the units of ``W x'``: the pattern counts as changed when some winner falls more than
            ``mu`` below a loser.
        seed: as in :func:`same_pattern`.
        method: ``"gram"`` draws ``l (D + 1)`` normals a trial or fewer, ``"dense"`` ``l m``.
        device: as in :func:`same_pattern`.
        dtype: as in :func:`same_pattern`.
        memory_budget: bytes of working set; many directions at a great width are drawn again in groups.
        workers: threads, on the CPU.

    Raises:
        InvalidArgumentError: an argument outside what is stated; a direction that is not perpendicular, with its
            inner product.

    >>> pattern_change(50, 5, [1.0, 0.0, 0.0], [[0.0, 2.0, 0.0]], 0.0, trials=10).changed
    (Proportion(successes=0, trials=10),)
    """
    width, k = check_width_and_winners(width, k)
    x, unit = _check_directions(point, directions)
    length = float(np.linalg.norm(x))
    steps = _check_distances(distance, len(unit)) / length
    scale = check_number("scale", scale)
    if scale == 0:
        raise InvalidArgumentError(f"scale={scale!r} is not allowed: x' = 0 has no direction and no pattern.")
    margin = check_number("margin", margin, 0.0) / (abs(scale) * length)
    settings = Settings.checked(trials, seed, device, dtype, memory_budget, workers)
    inputs = layers.from_points(np.vstack([x, unit]), method)
    factor = inputs.factor[inputs.representative]
    layer = Layer.create(factor, width, settings, first=1)
    per_direction, fixed = _working_set(layer)
    if layer.narrow:  # all outputs of a tile come from one product
        require(fixed + len(unit) * per_direction, settings)
        groups = [slice(1, len(factor))]
    else:
        groups = groups_within(range(1, len(factor)), per_direction, fixed, settings)
    sign = -1.0 if scale < 0 else 1.0
    step = torch.from_numpy(steps).to(settings.dtype).to(settings.device)[:, None]

    def job(tiles: Sequence[tuple[int, int]]) -> tuple[Tensor, int]:
        changed = torch.zeros(len(unit), dtype=torch.int64, device=settings.device)
        all_changed = torch.zeros((), dtype=torch.int64, device=settings.device)
        for tile, taken in tiles:
            differs = torch.cat([change(tile, group)[:taken] for group in groups], dim=1)
            changed += differs.sum(dim=0)
            all_changed += differs.all(dim=1).sum()
        return changed.cpu(), int(all_changed)

    def change(tile: int, group: slice) -> Tensor:
        outputs = layer.outputs(tile, [slice(0, 1), group])
        x_outputs, moves = outputs[:, :1], outputs[:, 1:]
        moved = sign * (x_outputs + step[group.start - 1 : group.stop - 1] * moves)
        return ~keeps_pattern(winner_mask(x_outputs, k), moved, margin)

    shares = run_tiles(layer.tiles(settings.trials), settings, job)
    counts = torch.stack([share[0] for share in shares]).sum(dim=0).tolist()
    return PatternChange(
        tuple(Proportion(count, settings.trials) for count in counts),
        Proportion(sum(share[1] for share in shares), settings.trials),
    )


def _working_set(layer: Layer) -> tuple[int, int]:
    """Bytes per second input and bytes whatever their number, for a tile.

    Per number of a second input: its outputs, the moved outputs with a temporary, two masked copies, flags and two
    integers. For ``x``: outputs, the values and 64-bit positions of ``topk``, flags and counts.
    """
    item = layer.factor.element_size()
    rows = layer.trials_per_tile * layer.width
    return rows * (5 * item + 12), rows * (3 * item + 24) + layer.drawing_bytes


def _check_directions(point: npt.ArrayLike, directions: npt.ArrayLike) -> tuple[layers.Array, layers.Array]:
    x = check_points("point", np.atleast_2d(np.asarray(point, dtype=np.float64)))
    if len(x) != 1:
        raise InvalidArgumentError(f"point has shape {np.shape(point)}: it must be one input, of shape (m,).")
    rows = check_points("directions", np.atleast_2d(np.asarray(directions, dtype=np.float64)))
    if rows.shape[1] != x.shape[1]:
        raise InvalidArgumentError(
            f"directions have {rows.shape[1]} entries and point has {x.shape[1]}: they must be in the same space."
        )
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ (x[0] / np.linalg.norm(x[0]))
    worst = int(np.abs(cosines).argmax())
    if abs(cosines[worst]) > PERPENDICULAR:
        raise InvalidArgumentError(
            f"directions are not perpendicular to point: row {worst} has inner product {cosines[worst]:.3g} with it "
            f"(unit vectors), and {PERPENDICULAR:g} is allowed."
        )
    return x[0], unit


def _check_distances(distance: npt.ArrayLike, count: int) -> layers.Array:
    array = np.asarray(distance, dtype=np.float64)
    if array.shape not in ((), (count,)):
        raise InvalidArgumentError(
            f"distance has shape {array.shape}: it must be one number or one for each of the {count} directions."
        )
    for value in array.reshape(-1):
        check_number("distance", value, 0.0)
    return np.ascontiguousarray(np.broadcast_to(array, (count,)))
