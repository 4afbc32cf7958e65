"""The distance to the nearest boundary of the first activation layer, in any direction and in closed form."""

from __future__ import annotations

from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.regions.layers import Pointwise, Winners
from kwta_theory.regions.lines import TOLERANCE, _check_lines, _copy, _device, _followed
from kwta_theory.regions.pieces import ActivationLayer, ForwardPass, Pieces
from kwta_theory.regions.tensors import AffineTensor
from kwta_theory.seeding import Device

Norm = Literal["euclidean", "maximum"]
Array = npt.NDArray[np.float64]
Units = npt.NDArray[np.intp]

NORMS: dict[str, float] = {"euclidean": 2.0, "maximum": float("inf")}
"""The order of each norm."""

_BATCH = 64
_PAIRS = 4096
_SEEDS = 16


def check_norm(norm: str) -> None:
    """Raise for a norm that is not known."""
    if norm not in NORMS:
        raise InvalidArgumentError(f"norm={norm!r} is not allowed: it must be 'euclidean' or 'maximum'.")


def first_layer_distance(
    model: nn.Module, inputs: torch.Tensor, *, norm: Norm = "euclidean", device: Device | None = None
) -> torch.Tensor:
    """How far each input is from the nearest boundary of the first activation layer, over all directions.

    Up to there the network is affine, ``z = W x + b``, and the cell of ``x`` is an intersection of half-spaces, so the
    distance to what is outside is the smallest of the distances to their hyperplanes. With ``|.|*`` the dual norm (the
    Euclidean one of itself, the sum of absolute values of the maximum norm),

        ReLU and other functions of one entry:   min over units i and knots c of          |z_i - c| / |w_i|*
        k-WTA:                                   min over winners i and losers j of (z_i - z_j) / |w_i - w_j|*

    LWTA and max-pooling are k-WTA in each group or window. Units with the same row never change places and are left
    out. ``W`` is kept sparse: rows of a convolution have few entries. Not all pairs are looked at: those with
    ``(z_i - z_j) / (|w_i|* + |w_j|*)`` above a distance already found cannot be nearer.

    Args:
        model: a network that :func:`kwta_theory.regions.line_regions` treats. The first activation layer is the first
            in the order of execution; where another one works beside it on the input it is not looked at.
        inputs: ``(n, ...)``.
        norm: of the distance.
        device: where to run the network; None for the device of the model's parameters.

    Returns:
        Distances in the input's ``norm``, ``(n,)``, float64. 0 on a boundary; infinity where there is none.

    Source: Section 3 of the paper; the closed form is the distance of a point to a hyperplane.

    >>> layer = nn.Sequential(nn.Linear(2, 1), nn.ReLU())
    >>> with torch.no_grad():  # the boundary is 3 x + 4 y = 0
    ...     _ = layer[0].weight.copy_(torch.tensor([[3.0, 4.0]])), layer[0].bias.zero_()
    >>> first_layer_distance(layer, torch.tensor([[1.0, 0.5]])).item()
    1.0
    >>> round(first_layer_distance(layer, torch.tensor([[1.0, 0.5]]), norm="maximum").item(), 6)  # 5 / (3 + 4)
    0.714286
    """
    check_norm(norm)
    _check_lines(model, inputs, inputs)
    where = _device(model, inputs, device)
    network = _copy(model, where)
    points = inputs.detach().to(device=where, dtype=torch.float64)
    with torch.no_grad():
        values = [_up_to_first(network, part, torch.zeros_like(part)) for part in points.split(_BATCH)]
        if any(found is None for found in values):
            return torch.full((len(points),), torch.inf, dtype=torch.float64)
        matrix = _matrix(network, points[:1])
    layer = values[0].layer  # type: ignore[union-attr]
    z = np.concatenate([found.rows[0].cpu().numpy() for found in values if found is not None])
    boundaries = _Hyperplanes(matrix, 2 if norm == "euclidean" else 1)
    return torch.tensor([_nearest(layer, row, boundaries) for row in z], dtype=torch.float64)


class _Reached(Exception):  # noqa: N818  (no error: the way out of a network)
    """The first activation layer, and what it was given: values and slopes, ``(2, pieces, units)``."""

    def __init__(self, rows: torch.Tensor, layer: ActivationLayer) -> None:
        self.rows, self.layer = rows.flatten(2) if rows.ndim > 2 else rows.unsqueeze(2), layer


class _ToFirst(ForwardPass):
    def activate(self, rows: torch.Tensor, layer: ActivationLayer, name: str) -> NoReturn:  # noqa: ARG002
        raise _Reached(rows, layer)


def _up_to_first(network: nn.Module, start: torch.Tensor, along: torch.Tensor) -> _Reached | None:
    """Values at ``start`` and slopes ``along`` at the first activation layer; None where there is none."""
    line = torch.arange(len(start), device=start.device)
    low = start.new_zeros(len(start))
    run = _ToFirst(Pieces(line, low, low), TOLERANCE, None, keep_patterns=False)
    with _followed(network, run):
        try:
            network(AffineTensor.make(run, torch.stack([start, along]), 0))
        except _Reached as reached:
            return reached
    return None


def _matrix(network: nn.Module, like: torch.Tensor) -> Any:
    """``W``, ``(units, input_dim)``: its columns are the slopes along the axes."""
    columns = []
    for first in range(0, like[0].numel(), _BATCH):
        axes = torch.zeros(min(_BATCH, like[0].numel() - first), like[0].numel(), dtype=like.dtype, device=like.device)
        axes[torch.arange(len(axes)), torch.arange(first, first + len(axes))] = 1.0
        axes = axes.view(-1, *like.shape[1:])
        found = _up_to_first(network, torch.zeros_like(axes), axes)
        assert found is not None  # the caller has met the layer
        columns.append(sparse.csc_array(found.rows[1].cpu().numpy().T))
    return sparse.hstack(columns, format="csr")


class _Hyperplanes:
    """The rows of ``W`` and their dual norms."""

    def __init__(self, matrix: Any, order: int) -> None:
        self.matrix, self.order = matrix, order
        self.sizes = self._norm(matrix)

    def _norm(self, rows: Any) -> Array:
        if self.order == 1:
            return np.asarray(abs(rows).sum(axis=1), dtype=np.float64).ravel()
        return np.sqrt(np.asarray(rows.power(2).sum(axis=1), dtype=np.float64).ravel())

    def of_units(self, apart: Array) -> float:
        """The smallest of ``apart_i / |w_i|``."""
        return _smallest(apart, self.sizes, self.sizes)

    def of_pairs(self, z: Array, first: Units, second: Units, best: float = np.inf) -> float:
        """The smallest of ``best`` and ``(z_i - z_j) / |w_i - w_j|`` over pairs, those first that may be nearest."""
        gaps = np.maximum(z[first] - z[second], 0.0)
        both = self.sizes[first] + self.sizes[second]
        least = np.divide(gaps, both, out=np.full(len(gaps), np.inf), where=both > 0)
        order = np.argsort(least, kind="stable")
        order = order[least[order] <= best]
        for chunk in (order[i : i + _PAIRS] for i in range(0, len(order), _PAIRS)):
            if least[chunk[0]] > best:
                break
            norms = self._norm(self.matrix[first[chunk]] - self.matrix[second[chunk]])
            best = min(best, _smallest(gaps[chunk], norms, both[chunk]))
        return best


def _smallest(apart: Array, norms: Array, scale: Array) -> float:
    """The smallest quotient; a row that is zero but for rounding bounds nothing."""
    there = norms > 1e-13 * scale
    return float((apart[there] / norms[there]).min(initial=np.inf))


def _nearest(layer: ActivationLayer, z: Array, boundaries: _Hyperplanes) -> float:
    if isinstance(layer, Pointwise):
        return min(boundaries.of_units(np.abs(z - knot)) for knot in layer.knots.tolist())
    if not isinstance(layer, Winners):
        raise InvalidArgumentError(f"the first activation layer is a {type(layer).__name__}, which has no closed form.")
    if layer.groups is not None:
        groups = layer.groups.cpu().numpy()
        height = np.where(groups < 0, -np.inf, z[groups])
        groups = np.take_along_axis(groups, np.argsort(-height, axis=1, kind="stable"), axis=1)
        first, second = np.broadcast_arrays(groups[:, : layer.k, None], groups[:, None, layer.k :])
        there = (first >= 0) & (second >= 0)
        return boundaries.of_pairs(z, first[there], second[there])
    order = np.argsort(-z, kind="stable")
    winners, losers = order[: layer.k], order[layer.k :]
    if len(losers) == 0:
        return np.inf
    best = boundaries.of_pairs(z, *_product(winners[-_SEEDS:], losers[:_SEEDS]))
    if np.isfinite(best):  # else all pairs: the nearest units of the threshold have the same rows
        sizes = boundaries.sizes
        winners, losers = (
            winners[z[winners] - z[losers[0]] <= best * (sizes[winners] + sizes[losers].max())],
            losers[z[winners[-1]] - z[losers] <= best * (sizes[losers] + sizes[winners].max())],
        )
    for part in _parts(winners):
        best = boundaries.of_pairs(z, *_product(part, losers), best)
    return best


def _parts(units: Units) -> list[Units]:
    return [units[i : i + 256] for i in range(0, len(units), 256)]


def _product(first: Units, second: Units) -> tuple[Units, Units]:
    return np.repeat(first, len(second)), np.tile(second, len(first))
