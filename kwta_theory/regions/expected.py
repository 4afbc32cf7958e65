"""How many boundaries the first layer of a random network is expected to have on a line: to hold counts against."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kwta_theory import theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.regions.first_layer import _matrix, _up_to_first
from kwta_theory.regions.layers import Pointwise, Winners
from kwta_theory.regions.lines import _check_lines, _copy, _device
from kwta_theory.regions.pieces import ActivationLayer
from kwta_theory.seeding import Device

Array = npt.NDArray[np.float64]
_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def expected_first_layer(
    model: nn.Module, start: torch.Tensor, end: torch.Tensor, *, device: Device | None = None
) -> torch.Tensor:
    """Expected changes of the first pattern on each line, if the layer's weights were drawn: normal, without bias.

    For weights that are independent, normal, of mean zero and one variance, and no biases. A unit sees the part ``x_i``
    of the input that its weights meet: all of it, or the patch of a convolution. As ``x`` goes straight to ``y`` this
    part turns by ``angle_i``, the angle between ``x_i`` and ``y_i``, and only turning changes a pattern. So, with
    ``rho`` of :func:`kwta_theory.theory.boundary_density`,

        ReLU and leaky ReLU:   sum over units of   angle_i / pi
        LWTA:                  sum over groups of  rho(g, 1) angle,   the g units of a group see one part
        k-WTA, dense layer:    rho(l, k) angle

    Expectations add up, so that the units of a convolution need not be independent where they do not compete. For k-WTA
    after a convolution units with different patches compete, and no formula is known here.

    What the model's own weights are does not matter, only which layers it has. Of a trained network this is a number
    to compare with, not a prediction.

    Args:
        model: its first layer with weights is linear or a convolution and meets the input itself (flattened, perhaps).
            Between it and the first activation there may be a batch norm, which should leave a random layer as it is.
        start: where the lines begin, ``(lines, ...)``.
        end: where they end, the same shape.
        device: where to run the network; None for the device of the model's parameters.

    Returns:
        For each line the expected number, float64.

    Raises:
        InvalidArgumentError: where there is no formula; the sentence says why.

    Source: Section 3, "Linear region density"; :mod:`kwta_theory.theory.boundaries` derives ``rho``.

    >>> layer = nn.Sequential(nn.Linear(2, 10), nn.ReLU())
    >>> expected_first_layer(layer, torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])).item()  # 10 / 4
    2.5
    """
    start, end = _check_lines(model, start, end)
    where = _device(model, start, device)
    network = _copy(model, where)
    start, end = (point.detach().to(device=where, dtype=torch.float64) for point in (start, end))
    leaves = (m for m in network.modules() if not any(m.children()) and not isinstance(m, nn.Flatten | nn.Identity))
    first = next(leaves, None)
    if not isinstance(first, _AFFINE):
        raise InvalidArgumentError(
            f"there is no formula for a network that begins with {type(first).__name__}: its first layer must be "
            "linear or a convolution."
        )
    with torch.no_grad():
        reached = _up_to_first(network, start[:1], torch.zeros_like(start[:1]))
        if reached is None:
            return torch.zeros(len(start), dtype=torch.float64)
        met = _matrix(network, start[:1]) != 0
    x, y = (point.flatten(1).cpu().numpy() for point in (start, end))
    return torch.from_numpy(np.array([_expected(reached.layer, met, *pair) for pair in zip(x, y, strict=True)]))


def _expected(layer: ActivationLayer, met: Any, x: Array, y: Array) -> float:
    """The sum over units or groups, for one line; ``met``: which inputs each unit meets."""
    angles = _angles(met, x, y)
    if isinstance(layer, Pointwise) and layer.knots.tolist() == [0.0]:
        return float(angles.sum()) / np.pi
    if isinstance(layer, Winners) and not layer.pool:
        groups = np.arange(met.shape[0])[None] if layer.groups is None else layer.groups.cpu().numpy()
        _check_same_inputs(met, groups)
        sizes = (groups >= 0).sum(1)
        density = {n: theory.boundary_density(n, layer.k) if layer.k < n else 0.0 for n in set(sizes.tolist())}
        return float(sum(density[n] * angles[unit] for n, unit in zip(sizes.tolist(), groups[:, 0], strict=True)))
    raise InvalidArgumentError(
        "there is no formula for the first activation layer of this network: there are those of ReLU and leaky ReLU, "
        "of LWTA, and of k-WTA after a linear layer."
    )


def _angles(met: Any, x: Array, y: Array) -> Array:
    """The angle between the parts of ``x`` and ``y`` that each unit meets; 0 where one of them is zero."""
    step = y - x
    xx, ss, xs, xy = (met @ product for product in (x * x, step * step, x * step, x * y))
    # |x ^ y| = |x ^ (y - x)|, which loses nothing where the step is small.
    turned = np.sqrt(np.maximum(xx * ss - xs * xs, 0.0))
    return np.asarray(np.where((xx > 0) & (met @ (y * y) > 0), np.arctan2(turned, xy), 0.0))


def _check_same_inputs(met: Any, groups: npt.NDArray[np.intp]) -> None:
    """Units that compete must meet the same inputs."""
    # The same sum of random numbers, in the same order, only for the same inputs.
    mark = met @ np.random.default_rng(0).random(met.shape[1])
    marks = np.where(groups >= 0, mark[groups], mark[groups[:, :1]])
    if (marks != marks[:, :1]).any():
        raise InvalidArgumentError(
            "there is no formula for the first activation layer of this network: units compete that meet different "
            "parts of the input, as those of k-WTA after a convolution do."
        )
