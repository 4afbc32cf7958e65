"""The loss around an image as Figures 5 and 7 draw it, and a number for what the eye calls spiky.

Along a line a network is smooth between changes of pattern; ReLU is continuous there and k-WTA jumps. So on a line the
variation of the loss has two parts, and the share of the jumps is the number: 0 for a continuous network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from kwta_theory.attacks.gradients import attack_mode, logits_of
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.seeding import Stream

Array = npt.NDArray[np.float64]
EXTENT, SAMPLES, CELLS = 0.04, 50, 512


@dataclass(frozen=True, eq=False)
class Surface:
    """Loss values on a square.

    Attributes:
        offsets: of both axes, shape ``(S,)``, in pixels of [0, 1].
        loss: cross-entropy at ``x + offsets[i] g1 + offsets[j] g2``, shape ``(S, S)``.
    """

    offsets: Array
    loss: Array


@dataclass(frozen=True)
class Roughness:
    """The variation of a function along a line, cut into cells.

    Attributes:
        continuous: ``Sum h |f'(midpoint)|``.
        jumps: ``Sum |f(right) - f(left) - h f'(midpoint)|``, what the slope does not explain.
        cells: how many.
    """

    continuous: float
    jumps: float
    cells: int

    @property
    def share(self) -> float:
        """Of the jumps in the whole variation; 0 where there is no variation."""
        total = self.continuous + self.jumps
        return self.jumps / total if total else 0.0


def roughness(values: npt.ArrayLike, slopes: npt.ArrayLike, length: float) -> Roughness:
    """The two parts of a function's variation, from its values at the ends of equal cells and slopes at their middles.

    In a cell without a change of pattern the second part is of the order ``h^3``; with a kink and no jump ``h``; with a
    jump it is the jump, up to that. So for a continuous piecewise smooth function the share falls to 0 like ``1/cells``
    and for one with jumps it rises or falls to the share of the jumps, as cells get finer. Jumps of opposite signs in
    one cell cancel: where changes are denser than cells the share is too small rather than too large, unless slopes
    change there too, which adds to it. Compare two refinements.

    Args:
        values: shape ``(N + 1,)``.
        slopes: shape ``(N,)``, the derivative along the line at the midpoints.
        length: of the whole line, positive.

    Raises:
        InvalidArgumentError: other shapes, numbers that are not finite.

    >>> t = np.linspace(0, 1, 11)
    >>> found = roughness(t + (t > 0.52), np.ones(10), 1.0)
    >>> round(found.jumps, 9), round(found.share, 9)
    (1.0, 0.5)
    """
    f, slope = np.asarray(values, dtype=np.float64), np.asarray(slopes, dtype=np.float64)
    length = check_number("length", length, 0.0, open_minimum=True)
    if f.ndim != 1 or slope.ndim != 1 or len(slope) < 1 or len(f) != len(slope) + 1:
        raise InvalidArgumentError(f"values of shape {f.shape} and slopes of shape {slope.shape} do not fit: N + 1, N.")
    if not (np.isfinite(f).all() and np.isfinite(slope).all()):
        raise InvalidArgumentError("values and slopes must be finite.")
    step = length / len(slope)
    continuous, jumps = float(np.abs(slope).sum() * step), float(np.abs(np.diff(f) - step * slope).sum())
    # Rounding of the values is no jump: a unit in the last place of each.
    noise = 4 * np.finfo(np.float64).eps * float(np.abs(f).max()) * len(slope)
    return Roughness(continuous, jumps if jumps > noise else 0.0, len(slope))


def directions(model: nn.Module, image: torch.Tensor, label: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """``g1`` and ``g2`` of Section 4.3: the signs of the loss's gradient, and random signs.

    Both have maximum norm 1, so that the axes are in units of the attack's ball (Tramer et al. 2017, whose analysis the
    paper follows, take signs too; the paper says "the direction of the loss gradient" and "another random direction").
    A pixel without a gradient has ``g1 = 0``.

    Args:
        model: from images to logits; in evaluation mode here, and left as it was.
        image: shape ``(C, H, W)``.
        label: its class.
        seed: of the random signs.
    """
    with attack_mode(model):
        x = image.detach().clone()[None].requires_grad_()
        loss = functional.cross_entropy(logits_of(model, x), torch.tensor([label], device=x.device))
        (gradient,) = torch.autograd.grad(loss, x)
    signs = Stream(seed, "landscape direction").uniforms((0,), tuple(image.shape), image.device) < 0.5
    return gradient[0].sign(), torch.where(signs, -1.0, 1.0).to(image)


def landscape(
    model: nn.Module, image: torch.Tensor, label: int, first: torch.Tensor, second: torch.Tensor,
    *, extent: float = EXTENT, samples: int = SAMPLES, batch_size: int = 500,
) -> Surface:  # fmt: skip
    """The loss at ``x + e1 g1 + e2 g2``, ``e1`` and ``e2`` in ``[-extent, extent]`` (Section 4.3, Figures 5 and 7).

    Points are not clipped to [0, 1], as clipping would bend the directions; the paper does not say.

    Args:
        model: from images to logits; in evaluation mode here, and left as it was.
        image: shape ``(C, H, W)``.
        label: its class.
        first: ``g1``, of the image's shape.
        second: ``g2``.
        extent: half the side of the square.
        samples: on each axis.
        batch_size: points at once.
    """
    extent = check_number("extent", extent, 0.0, open_minimum=True)
    offsets = np.linspace(-extent, extent, check_integer("samples", samples, 2))
    grid = torch.cartesian_prod(*[torch.from_numpy(offsets)] * 2).to(image.device, image.dtype)
    losses = [
        _losses(model, image + part[:, :1, None, None] * first + part[:, 1:, None, None] * second, label)
        for part in grid.split(check_integer("batch_size", batch_size, 1))
    ]
    return Surface(offsets, torch.cat(losses).double().cpu().numpy().reshape(samples, samples))


def _losses(model: nn.Module, points: torch.Tensor, label: int) -> torch.Tensor:
    labels = torch.full((len(points),), label, device=points.device)
    with attack_mode(model), torch.no_grad():
        return functional.cross_entropy(logits_of(model, points), labels, reduction="none")


def line_roughness(
    model: nn.Module, image: torch.Tensor, label: int, direction: torch.Tensor,
    *, extent: float = EXTENT, cells: int = CELLS, batch_size: int = 500,
) -> Roughness:  # fmt: skip
    """:func:`roughness` of the loss on ``x + t g``, ``t`` in ``[-extent, extent]``, in float64.

    The slope is the network's own gradient with its pattern held, times ``g``: exact inside a linear region.

    Args:
        model: from images to logits; a copy of it in float64 is used.
        image: shape ``(C, H, W)``.
        label: its class.
        direction: ``g``.
        extent: half the length of the line.
        cells: in which it is cut.
        batch_size: points at once.
    """
    extent = check_number("extent", extent, 0.0, open_minimum=True)
    cells = check_integer("cells", cells, 1)
    batch_size = check_integer("batch_size", batch_size, 1)
    precise = copy.deepcopy(model).double()
    x, g = image.detach().double(), direction.detach().double()
    ends = torch.linspace(-extent, extent, cells + 1, dtype=torch.float64, device=x.device)
    middles = (ends[1:] + ends[:-1]) / 2
    values = [_losses(precise, x + t[:, None, None, None] * g, label) for t in ends.split(batch_size)]
    slopes = [_slopes(precise, x, g, t, label) for t in middles.split(batch_size)]
    return roughness(torch.cat(values).cpu().numpy(), torch.cat(slopes).cpu().numpy(), 2 * extent)


def _slopes(model: nn.Module, x: torch.Tensor, g: torch.Tensor, places: torch.Tensor, label: int) -> torch.Tensor:
    with attack_mode(model):
        t = places.detach().clone().requires_grad_()
        labels = torch.full((len(t),), label, device=x.device)
        outputs = logits_of(model, x + t[:, None, None, None] * g)
        (slopes,) = torch.autograd.grad(functional.cross_entropy(outputs, labels, reduction="sum"), t)
    return slopes


def sampled(
    function: Callable[[torch.Tensor], torch.Tensor], start: float, stop: float, cells: int
) -> tuple[Array, Array]:
    """What :func:`roughness` takes, of a function of one number whose slope autograd gives.

    Args:
        function: from float64 numbers, shape ``(N,)``, to values, shape ``(N,)``, each of its own number only.
        start: of the line.
        stop: of the line, above ``start``.
        cells: in which it is cut.

    >>> roughness(*sampled(lambda t: t.abs(), -1.0, 1.0, 10), 2.0).share
    0.0
    """
    ends = torch.linspace(start, stop, check_integer("cells", cells, 1) + 1, dtype=torch.float64)
    middles = ((ends[1:] + ends[:-1]) / 2).requires_grad_()
    with torch.enable_grad():
        (slopes,) = torch.autograd.grad(function(middles).sum(), middles)
    with torch.no_grad():
        values = function(ends)
    return values.numpy(), slopes.numpy()


def weight_line(
    first: nn.Module, second: nn.Module, images: torch.Tensor, labels: torch.Tensor, cells: int = 100
) -> tuple[Array, Array]:
    """The loss of each image on the segment between two networks' weights, in float64, for :func:`roughness`.

    Weights and statistics of batch normalisation at ``t`` are ``(1 - t) first + t second``, ``t`` in [0, 1]. Slopes are
    difference quotients over ``2e-10``: a jump within falsifies one, with a probability of 2e-10 times the number of
    jumps on the segment.

    Args:
        first: the network at ``t = 0``.
        second: the same architecture, at ``t = 1``.
        images: shape ``(B, C, H, W)``.
        labels: shape ``(B,)``.
        cells: in which the segment is cut.

    Returns:
        Values at the ends of the cells, shape ``(cells + 1, B)``, and slopes at their midpoints, ``(cells, B)``.
    """
    model = copy.deepcopy(first).double()
    starts, stops = ({k: v.double() for k, v in m.state_dict().items()} for m in (first, second))

    def losses(t: float) -> torch.Tensor:
        model.load_state_dict({name: (1 - t) * value + t * stops[name] for name, value in starts.items()})
        with attack_mode(model), torch.no_grad():
            return functional.cross_entropy(logits_of(model, images.double()), labels, reduction="none")

    cells, half = check_integer("cells", cells, 1), 1e-10
    values = torch.stack([losses(i / cells) for i in range(cells + 1)])
    middles = [(i + 0.5) / cells for i in range(cells)]
    slopes = torch.stack([(losses(t + half) - losses(t - half)) / (2 * half) for t in middles])
    return values.cpu().numpy(), slopes.cpu().numpy()


def median_interval(values: npt.ArrayLike, error: float = 0.05) -> tuple[float, float, float]:
    """The median with its exact interval from order statistics.

    The number of values below the true median is Binomial(n, 1/2), so the order statistics ``j`` and ``n + 1 - j``
    enclose it with probability at least ``1 - 2 P(Bin(n, 1/2) < j)``, whatever the law of the values.

    Args:
        values: independent and of one law, at least one.
        error: probability that the interval misses. With too few values for it (fewer than 6 at 0.05) the interval is
            the whole line.

    Returns:
        Median, lower end, upper end.

    >>> median_interval(range(1, 11))
    (5.5, 2.0, 9.0)
    """
    from scipy import stats

    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered.ndim != 1 or not len(ordered) or not np.isfinite(ordered).all():
        raise InvalidArgumentError("values must be finite numbers, at least one.")
    n = len(ordered)
    below = int(stats.binom.ppf(error / 2, n, 0.5))  # the smallest j with P(Bin <= j) >= error/2
    middle = float(np.median(ordered))
    return (middle, float(ordered[below - 1]), float(ordered[n - below])) if below else (middle, -np.inf, np.inf)
