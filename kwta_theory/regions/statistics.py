"""Statistics of the linear regions of one network along lines of the length of an attack's epsilon.

What is sampled, and what an interval is about. The network is given; a line is drawn; every statistic is one number per
line. Regions of one line depend on one another, different lines do not: lines are the independent units, and every
interval here takes lines, never boundaries, for its sample size. It holds for this network and for the law from which
the lines came (:attr:`Lines.sampled`), not for other networks of the same kind. Each interval has an error of its own:
for many of them together share one with :class:`kwta_theory.confidence.ErrorBudget`.

Lengths are those of the norm that is asked for: ``"euclidean"``, or ``"maximum"``, where an attack's epsilon is 1 unit
of length times epsilon (a density of 50 per unit of length is 50 epsilon boundaries within epsilon). A line of maximum
length ``r`` from a corner to the other of a cube has the Euclidean length ``r sqrt(input_dim)``: densities in the two
norms are different numbers.

How many boundaries there are and how far the network jumps at one are reported apart. Their product says neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, SupportsFloat, SupportsIndex

import numpy as np
import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.confidence import Interval, Mean, Proportion, lower_bound, upper_bound
from kwta_theory.regions.first_layer import NORMS, Norm, check_norm, first_layer_distance
from kwta_theory.regions.lines import TOLERANCE, LineRegions, _check_lines, _copy, _device, line_regions
from kwta_theory.seeding import Device, Stream

Direction = Literal["random", "gradient", "data"]
GRADIENT_BATCH = 256


@dataclass(frozen=True)
class LineSample:
    """One number for each line, with intervals for the law from which the lines were drawn.

    Attributes:
        values: for each line its number; NaN where the line has none (a jump, where there is no boundary), infinity
            where it is known to be beyond every number met (a boundary further away than the line is long).
        unit: the unit of the numbers.
        lower: the smallest number possible, known beforehand.
        upper: the largest number possible, known beforehand; infinity where there is no bound.

    >>> sample = LineSample((3.0, 1.0, float("nan"), 2.0, 5.0, 4.0, 6.0), "boundaries per unit of length")
    >>> sample.count, sample.undefined, sample.mean, sample.median
    (6, 1, 3.5, 3.5)
    >>> sample.quantile_interval(0.5, error=0.05)
    Interval(lower=1.0, upper=6.0)
    """

    values: tuple[float, ...]
    unit: str
    lower: float = 0.0
    upper: float = math.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(value) for value in self.values))
        wrong = next((value for value in self.values if value < self.lower or value > self.upper), None)
        if wrong is not None:
            raise InvalidArgumentError(
                f"values has {wrong!r}, which is outside [{self.lower!r}, {self.upper!r}], the range of this statistic."
            )

    @property
    def defined(self) -> tuple[float, ...]:
        """The numbers of the lines that have one. All that follows is for the law of a line given that it has one."""
        return tuple(value for value in self.values if not math.isnan(value))

    @property
    def count(self) -> int:
        """Lines that have a number: the sample size."""
        return len(self.defined)

    @property
    def undefined(self) -> int:
        """Lines that have none."""
        return len(self.values) - self.count

    @property
    def mean(self) -> float:
        """The mean over the lines that have a number; infinite where a value is."""
        return math.fsum(self._some()) / self.count

    @property
    def standard_error(self) -> float:
        """``s / sqrt(n)``, ``s^2`` the unbiased variance over lines: a description, no interval with a known error.

        Raises:
            InvalidArgumentError: for fewer than two numbers, or where one is infinite.
        """
        if self.count < 2 or math.isinf(self.mean):
            raise InvalidArgumentError(f"a standard error needs two or more finite values: {self._described()}.")
        return float(np.std(self.defined, ddof=1)) / math.sqrt(self.count)

    @property
    def median(self) -> float:
        """The median over the lines that have a number."""
        return self.quantile(0.5)

    def quantile(self, probability: SupportsFloat) -> float:
        """The sample quantile: the middle of the smallest and the largest number that is one.

        Args:
            probability: in [0, 1].
        """
        probability = check_number("probability", probability, 0.0, 1.0)
        ordered = sorted(self._some())
        place = probability * self.count
        # The numbers between which the sample's distribution function passes `probability`.
        below, above = max(math.ceil(place) - 1, 0), min(math.floor(place), self.count - 1)
        low, high = ordered[below], ordered[above]
        return low if low == high else (low + high) / 2

    def quantile_interval(self, probability: SupportsFloat, error: SupportsFloat) -> Interval:
        """An interval for the quantile of the law of lines, exact for every law and a number of lines fixed beforehand.

        Of ``n`` independent numbers, those at most the quantile ``m`` are at least Binomial(n, p) many in law, and
        those below it at most so many. So the ``j``-th smallest lies above ``m`` with probability at most
        ``P(Binomial <= j - 1)``, which is at most ``error / 2`` as soon as the upper bound of Clopper and Pearson for
        ``j - 1`` successes is at most ``p``; the upper end alike. Where the sample is too small for an end, that end is
        the end of the range. Nothing is supposed of the law: it may have atoms, no mean, or infinite values, as
        distances to a boundary do.

        Args:
            probability: ``p`` in (0, 1); 0.5 for the median.
            error: in (0, 1), half of it on each side.
        """
        p = check_number("probability", probability, 0.0, 1.0, open_minimum=True, open_maximum=True)
        error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
        n, ordered = self.count, sorted(self.defined)
        left = _how_many(n, lambda successes: upper_bound(successes, n, error / 2) <= p)
        right = _how_many(n, lambda failures: lower_bound(n - failures, n, error / 2) >= p)
        return Interval(ordered[left - 1] if left else self.lower, ordered[n - right] if right else self.upper)

    def mean_interval(self, error: SupportsFloat) -> Interval:
        """The empirical Bernstein interval for the mean (:meth:`kwta_theory.confidence.Mean.interval`).

        It holds for every law on a range that is known beforehand. For a statistic without a bound there is no interval
        for the mean that holds for every law (Bahadur and Savage, 1956), so none is given: take the median's.

        Args:
            error: in (0, 1), for both sides together.

        Raises:
            InvalidArgumentError: for a statistic whose range is not finite.
        """
        error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
        if math.isinf(self.lower) or math.isinf(self.upper):
            raise InvalidArgumentError(
                f"the range [{self.lower!r}, {self.upper!r}] is not finite, and without one no interval for a mean "
                "holds for every law: take quantile_interval(0.5, error)."
            )
        return Mean.of(self.defined, self.lower, self.upper).interval(error)

    def _some(self) -> tuple[float, ...]:
        if not self.count:
            raise InvalidArgumentError(f"there is no line with a value: {self._described()}.")
        return self.defined

    def _described(self) -> str:
        return f"{self.count} lines have a value and {self.undefined} have none"


@dataclass(frozen=True)
class Lines:
    """Lines to measure on, and the law from which they came.

    Attributes:
        start: where they begin, ``(lines, ...)``, float64.
        end: where they end, the same shape.
        direction: how the direction was chosen: ``"random"``, ``"gradient"`` or ``"data"``.
        norm: the norm of all lengths.
        radius: the length asked for, in that norm; where ``bounds`` cut, a line is shorter.
        sampled: what is drawn afresh from line to line, so what an interval is about.
    """

    start: torch.Tensor = field(repr=False)
    end: torch.Tensor = field(repr=False)
    direction: Direction
    norm: Norm
    radius: float
    sampled: str

    @property
    def lengths(self) -> torch.Tensor:
        """The length of each line in ``norm``, ``(lines,)``."""
        return _length(self.end - self.start, self.norm)


@dataclass(frozen=True)
class RegionStatistics:
    """What the regions of a network are like along lines. One number per line; see :class:`LineSample` for intervals.

    "Unit of length" is one unit of the input in ``norm``. Sizes of outputs are Euclidean, in the network's own units:
    divide by ``output_scale`` to compare networks. At a boundary between regions of a continuous network the jump is
    rounding, about 1e-15 of the output.

    Attributes:
        direction: as in :class:`Lines`.
        norm: the norm of all lengths.
        radius: length of the lines in that norm.
        sampled: what intervals are about.
        boundaries: boundaries per unit of length; a place where several units change at once is one boundary.
        boundaries_of_layer: the same for each activation layer: the boundaries whose first layer it is.
        crossing: of all lines, those with at least one boundary.
        nearest: distance from the start to the first boundary on the line; infinity where there is none on it. A tie at
            the start itself is no boundary on the line.
        nearest_first_layer: distance from the start to the nearest boundary of the first activation layer in any
            direction, in closed form (:func:`first_layer_distance`).
        jump: mean over the boundaries of a line of the size of the jump; no number where there is no boundary.
        root_mean_square_jump: the same, root of the mean square.
        largest_jump: the largest.
        slope_change: mean over the boundaries of a line of ``|s_right - s_left|``, ``s`` the derivative of the output
            along the line, in output per unit of length.
        slope_variation: ``1 - |mean s|^2 / mean |s|^2`` with means over the length of a line: the share of the mean
            square of the slope that is variation; 0 where the slope never changes, 1 where it averages out. Without
            unit. Jumps are not in it.
        coherence: for each fraction ``f``, the cosine of the gradients of the loss at the start and ``f`` of the line
            away from it. No number where a gradient vanishes.
        output_scale: root mean square over lines of the distance of the output at the start from its mean; 0 where all
            lines have one start.
    """

    direction: Direction
    norm: Norm
    radius: float
    sampled: str
    boundaries: LineSample
    boundaries_of_layer: dict[str, LineSample]
    crossing: Proportion
    nearest: LineSample
    nearest_first_layer: LineSample
    jump: LineSample
    root_mean_square_jump: LineSample
    largest_jump: LineSample
    slope_change: LineSample
    slope_variation: LineSample
    coherence: dict[float, LineSample]
    output_scale: float


def random_lines(
    inputs: torch.Tensor,
    radius: SupportsFloat,
    *,
    seed: SupportsIndex,
    norm: Norm = "maximum",
    bounds: tuple[float, float] | None = None,
) -> Lines:
    """From each input in a random direction, ``radius`` far.

    Args:
        inputs: ``(lines, ...)``, independent draws, all different; or all the same, and then intervals are about the
            directions at this one input.
        radius: length in ``norm``: an attack's epsilon.
        seed: of the directions.
        norm: ``"maximum"``: independent random signs, a corner of the cube; ``"euclidean"``: uniform on the sphere.
        bounds: None, or the box of valid inputs; ends are clipped to it, as an attack's are.

    Raises:
        InvalidArgumentError: for inputs of which some are the same and others not, since the lines are then neither
            independent nor about one input; for a line that the bounds leave no length.

    >>> lines = random_lines(torch.zeros(3, 2, 2), 0.5, seed=0)
    >>> (lines.end.abs() == 0.5).all().item(), lines.sampled
    (True, 'directions at one input')
    """
    start, radius = _check_inputs("inputs", inputs), _check_radius(radius)
    check_norm(norm)
    different = len(start.flatten(1).unique(dim=0))
    if different not in (1, len(start)):
        raise InvalidArgumentError(
            f"inputs has {len(start)} rows and {different} different ones: lines are independent where the inputs "
            "are all different, or about one input where they are all the same."
        )
    normals = Stream(check_integer("seed", seed), "region-lines").normals(
        (0,), tuple(start.shape), torch.device("cpu"), torch.float64
    )
    along = torch.where(normals < 0, -1.0, 1.0).double() if norm == "maximum" else normals
    sampled = "inputs and directions" if different > 1 or len(start) == 1 else "directions at one input"
    return _lines(start, along, radius, "random", norm, bounds, sampled)


def gradient_lines(
    model: nn.Module,
    inputs: torch.Tensor,
    radius: SupportsFloat,
    *,
    norm: Norm = "maximum",
    labels: torch.Tensor | None = None,
    bounds: tuple[float, float] | None = None,
    device: Device | None = None,
) -> Lines:
    """From each input where a gradient step of an attack goes, ``radius`` far.

    Args:
        model: a classifier, outputs ``(batch, classes)``, in evaluation mode; one output is its own loss.
        inputs: ``(lines, ...)``, independent draws, all different.
        radius: length in ``norm``: an attack's epsilon.
        norm: ``"maximum"``: the sign of the gradient of the cross entropy; ``"euclidean"``: that gradient's direction.
        labels: the true classes, ``(lines,)``; None for what the model predicts.
        bounds: as for :func:`random_lines`.
        device: where to compute; None for the device of the model's parameters.

    Raises:
        InvalidArgumentError: for inputs that are not all different, or at which the gradient vanishes.
    """
    start, radius = _check_inputs("inputs", inputs, different=True), _check_radius(radius)
    check_norm(norm)
    gradient = _Gradients(model, start, labels, device)(start)
    flat = gradient.flatten(1).abs().amax(1)
    if not bool((flat > 0).all()):
        raise InvalidArgumentError(
            f"the gradient of the loss vanishes at row {int((flat == 0).nonzero()[0])} of inputs: it has no direction."
        )
    along = gradient.sign() if norm == "maximum" else gradient / flat.view(-1, *(1,) * (gradient.ndim - 1))
    return _lines(start, along, radius, "gradient", norm, bounds, "inputs")


def data_lines(
    inputs: torch.Tensor,
    targets: torch.Tensor,
    radius: SupportsFloat | None = None,
    *,
    norm: Norm = "maximum",
    bounds: tuple[float, float] | None = None,
) -> Lines:
    """From each input straight towards another one, ``radius`` far (beyond it, where it is nearer), or all the way.

    Args:
        inputs: ``(lines, ...)``, independent draws, all different.
        targets: as many others, all different and none of them among the inputs, so that lines are independent pairs.
        radius: length in ``norm``, the same for all lines; None to end at the targets.
        norm: of all lengths.
        bounds: as for :func:`random_lines`.

    Raises:
        InvalidArgumentError: for points that occur twice, among the inputs, the targets, or both.
    """
    start, goal = _check_inputs("inputs", inputs), _check_inputs("targets", targets)
    check_norm(norm)
    if start.shape != goal.shape:
        raise InvalidArgumentError(
            f"targets has shape {tuple(goal.shape)} and inputs {tuple(start.shape)}: they must be the same."
        )
    _check_different("inputs and targets", torch.cat([start, goal]))
    if radius is None:
        longest = float(_length(goal - start, norm).max())
        return _clipped(start, goal, longest, "data", norm, bounds, "pairs of inputs")
    return _lines(start, goal - start, _check_radius(radius), "data", norm, bounds, "pairs of inputs")


def region_statistics(
    model: nn.Module,
    lines: Lines,
    *,
    labels: torch.Tensor | None = None,
    fractions: Sequence[float] = (0.25, 0.5, 1.0),
    tolerance: SupportsFloat = TOLERANCE,
    memory: SupportsIndex = 2**27,
    device: Device | None = None,
) -> RegionStatistics:
    """Measure the regions of a network along lines, exactly on each line.

    Boundaries, distances along the line, jumps and slopes are read off :func:`line_regions`; the distance to the
    nearest boundary of the first layer is its closed form; gradients are those of autograd, in float64.

    The gradient is that of ``log sum over j != y of exp z_j - z_y``, of which the cross entropy is the softplus: it has
    the direction of the cross entropy's gradient and neither vanishes nor cancels where the network is sure. A network
    with one output has that output's gradient.

    Args:
        model: a network that :func:`line_regions` treats, with outputs ``(batch, classes)``.
        lines: from :func:`random_lines`, :func:`gradient_lines` or :func:`data_lines`.
        labels: ``y``, ``(lines,)``; None for the class predicted at the start.
        fractions: where, as parts of a line in (0, 1], gradients are compared with that at the start.
        tolerance: of :func:`line_regions`.
        memory: of :func:`line_regions`.
        device: where to compute; None for the device of the model's parameters.

    Raises:
        InvalidArgumentError: for a model with a layer that is not treated (the sentence names it), or other outputs.

    >>> network = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    >>> found = region_statistics(network, random_lines(torch.eye(4), 0.1, seed=0))
    >>> found.boundaries.count, found.boundaries.unit, found.nearest.unit
    (4, 'boundaries per unit of maximum length', 'maximum length')
    """
    if not isinstance(lines, Lines):
        raise InvalidArgumentError(
            f"lines is a {type(lines).__name__}: it must come from random_lines, gradient_lines or data_lines."
        )
    parts = [check_number(f"fractions[{i}]", part, 0.0, 1.0, open_minimum=True) for i, part in enumerate(fractions)]
    gradients = _Gradients(model, lines.start, labels, device)
    found = line_regions(model, lines.start, lines.end, tolerance=tolerance, memory=memory, device=device)
    lengths = lines.lengths.tolist()
    per_line = [_of_line(line, length) for line, length in zip(found, lengths, strict=True)]
    length_unit = f"{lines.norm} length"

    def sample(name: str, unit: str, upper: float = math.inf) -> LineSample:
        return LineSample(tuple(numbers[name] for numbers in per_line), unit, 0.0, upper)

    at_start = gradients(lines.start)
    coherence = {
        part: LineSample(
            tuple(_cosine(at_start, gradients(lines.start + part * (lines.end - lines.start))).tolist()),
            "cosine", -1.0, 1.0,
        )
        for part in parts
    }  # fmt: skip
    of_layer = {
        name: LineSample(
            tuple(line.layers.count(name) / length for line, length in zip(found, lengths, strict=True)),
            f"boundaries per unit of {length_unit}",
        )
        for name in found[0].layer_names
    }
    outputs = torch.stack([line.values[0, 0].flatten() for line in found])
    return RegionStatistics(
        direction=lines.direction,
        norm=lines.norm,
        radius=lines.radius,
        sampled=lines.sampled,
        boundaries=sample("boundaries", f"boundaries per unit of {length_unit}"),
        boundaries_of_layer=of_layer,
        crossing=Proportion(sum(line.count > 1 for line in found), len(found)),
        nearest=sample("nearest", length_unit),
        nearest_first_layer=LineSample(
            tuple(first_layer_distance(model, lines.start, norm=lines.norm, device=device).tolist()), length_unit
        ),
        jump=sample("jump", "Euclidean length of the output"),
        root_mean_square_jump=sample("root_mean_square_jump", "Euclidean length of the output"),
        largest_jump=sample("largest_jump", "Euclidean length of the output"),
        slope_change=sample("slope_change", f"Euclidean length of the output per unit of {length_unit}"),
        slope_variation=sample("slope_variation", "share of the mean square", 1.0),
        coherence=coherence,
        output_scale=float((outputs - outputs.mean(0)).square().sum(1).mean().sqrt()),
    )


def _how_many(n: int, holds: Callable[[int], bool]) -> int:
    """How many of 0, 1, ..., n - 1 a condition holds for that holds up to some number and not beyond, by bisection."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if holds(middle) else (low, middle)
    return low


def _of_line(line: LineRegions, length: float) -> dict[str, float]:
    """The numbers of one line, from its regions."""
    slopes = line.slopes.flatten(1)
    share = line.ends.diff()[:, None]
    mean, mean_square = (share * slopes).sum(0).square().sum(), float((share * slopes.square()).sum())
    crossed = line.count > 1
    jumps, changes = line.jumps.flatten(1).norm(dim=1), slopes.diff(dim=0).norm(dim=1) / length
    return {
        "boundaries": (line.count - 1) / length,
        "nearest": float(line.breakpoints[0]) * length if crossed else math.inf,
        "jump": float(jumps.mean()) if crossed else math.nan,
        "root_mean_square_jump": float(jumps.square().mean().sqrt()) if crossed else math.nan,
        "largest_jump": float(jumps.max()) if crossed else math.nan,
        "slope_change": float(changes.mean()) if crossed else math.nan,
        # Without a slope there is nothing that varies; rounding may take the share a hair out of its range.
        "slope_variation": min(max(1 - float(mean) / mean_square, 0.0), 1.0) if mean_square > 0 else 0.0,
    }


class _Gradients:
    """The gradient of the loss by the input, at inputs that keep their labels."""

    def __init__(
        self, model: nn.Module, start: torch.Tensor, labels: torch.Tensor | None, device: Device | None
    ) -> None:
        _check_lines(model, start, start)
        self.device = _device(model, start, device)
        self.network = _copy(model, self.device)
        with torch.no_grad():
            outputs = torch.cat([self.network(part.to(self.device)) for part in start.split(GRADIENT_BATCH)])
        if outputs.ndim != 2 or len(outputs) != len(start):
            raise InvalidArgumentError(
                f"the model returned shape {tuple(outputs.shape)}: for a loss it must be ({len(start)}, classes)."
            )
        self.classes = outputs.shape[1]
        self.labels = outputs.argmax(1) if labels is None else self._checked(labels, len(start))

    def _checked(self, labels: torch.Tensor, lines: int) -> torch.Tensor:
        if not isinstance(labels, torch.Tensor) or labels.is_floating_point() or labels.shape != (lines,):
            raise InvalidArgumentError(f"labels is not allowed: it must be a tensor of {lines} classes, one per line.")
        if int(labels.min()) < 0 or int(labels.max()) >= self.classes:
            raise InvalidArgumentError(
                f"labels goes from {int(labels.min())} to {int(labels.max())}: it must be in [0, {self.classes - 1}]."
            )
        return labels.to(self.device, torch.int64)

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        parts = zip(points.split(GRADIENT_BATCH), self.labels.split(GRADIENT_BATCH), strict=True)
        return torch.cat([self._gradient(x, label) for x, label in parts])

    def _gradient(self, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = points.to(self.device).clone().requires_grad_(True)
            outputs = self.network(x)
            loss = outputs.sum()
            if self.classes > 1:
                label = labels[:, None]
                loss = (outputs.scatter(1, label, -torch.inf).logsumexp(1) - outputs.gather(1, label)[:, 0]).sum()
            (gradient,) = torch.autograd.grad(loss, x)
        return gradient.cpu()


def _cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cosine of each pair of rows; NaN where one is zero."""
    a, b = a.flatten(1), b.flatten(1)
    a, b = (rows / rows.abs().amax(1, keepdim=True) for rows in (a, b))  # 0/0 is NaN; no square under- or overflows
    return ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).clamp(-1.0, 1.0)


def _length(apart: torch.Tensor, norm: Norm) -> torch.Tensor:
    return torch.linalg.vector_norm(apart.flatten(1), ord=NORMS[norm], dim=1)


def _lines(
    start: torch.Tensor,
    along: torch.Tensor,
    radius: float,
    direction: Direction,
    norm: Norm,
    bounds: tuple[float, float] | None,
    sampled: str,
) -> Lines:
    scale = (radius / _length(along, norm)).view(-1, *(1,) * (start.ndim - 1))
    return _clipped(start, start + scale * along, radius, direction, norm, bounds, sampled)


def _clipped(
    start: torch.Tensor,
    end: torch.Tensor,
    radius: float,
    direction: Direction,
    norm: Norm,
    bounds: tuple[float, float] | None,
    sampled: str,
) -> Lines:
    if bounds is not None:
        low, high = (check_number(f"bounds[{i}]", bound) for i, bound in enumerate(bounds))
        if not bool(((start >= low) & (start <= high)).all()):
            raise InvalidArgumentError(f"bounds={bounds!r} do not contain all inputs: a line must begin inside.")
        end = end.clamp(low, high)
    lines = Lines(start, end, direction, norm, radius, sampled)
    none = (lines.lengths == 0).nonzero()
    if len(none):
        raise InvalidArgumentError(f"bounds={bounds!r} leave the line of row {int(none[0])} without length.")
    return lines


def _check_inputs(name: str, inputs: torch.Tensor, *, different: bool = False) -> torch.Tensor:
    if not isinstance(inputs, torch.Tensor) or inputs.is_complex() or inputs.ndim < 2 or inputs.numel() == 0:
        raise InvalidArgumentError(f"{name} is not allowed: it must be a tensor of real inputs, (lines, ...).")
    if not bool(inputs.isfinite().all()):
        raise InvalidArgumentError(f"{name} has NaN or infinity: every entry must be finite.")
    points = inputs.detach().to(device="cpu", dtype=torch.float64)
    if different:
        _check_different(name, points)
    return points


def _check_different(name: str, points: torch.Tensor) -> None:
    if len(points.flatten(1).unique(dim=0)) < len(points):
        raise InvalidArgumentError(f"{name} has the same point twice: lines that share a point are not independent.")


def _check_radius(radius: SupportsFloat) -> float:
    return check_number("radius", radius, 0.0, open_minimum=True)
