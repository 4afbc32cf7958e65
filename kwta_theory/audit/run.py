"""The audit of one network, its top-k layers one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kwta_theory.audit import flips, passes
from kwta_theory.audit.layers import TopKLayer, find_layers
from kwta_theory.audit.overlap import Array, expected_overlap, is_exact
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.confidence import ErrorBudget, Interval, Mean, Proportion, lower_bound, upper_bound
from kwta_theory.regions.first_layer import NORMS, Norm, check_norm
from kwta_theory.regions.samples import LineSample
from kwta_theory.seeding import Device, Stream, resolve_device

DTYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""The dtypes in which a network is run."""
ERROR = 1e-3
RADIUS = 0.01
"""The radius, where none is given, as a part of the median norm of the inputs."""
_CLAIMS = 7  # intervals of one layer: units, difference, kept, random, within, two medians; besides two for each dtype


@dataclass(frozen=True)
class Measured:
    """A number, an interval that holds for the law of the samples, and how many samples it rests on."""

    value: float
    interval: Interval
    n: int

    @classmethod
    def share(cls, count: int, n: int, error: float) -> Measured:
        """Of ``n`` independent samples."""
        found = Proportion(count, n)
        return cls(found.value if n else math.nan, found.interval(error), n)

    @classmethod
    def mean(cls, values: Sequence[float], lower: float, error: float) -> Measured:
        """Of values in ``[lower, 1]``."""
        found = Mean.of(values, lower, 1.0)
        return cls(found.value if found.count else math.nan, found.interval(error), found.count)

    @classmethod
    def median(cls, values: Sequence[float], error: float) -> Measured:
        """Of values that may be infinite."""
        found = LineSample(tuple(values), "length")
        return cls(found.median, found.quantile_interval(0.5, error), found.count)


@dataclass(frozen=True)
class Units:
    """How often each unit of a layer wins.

    Attributes:
        wins: for each unit the number of samples in which it won.
        samples: how many samples there were.
        dead_bound: a unit that never won wins with at most this probability; for all units of the layer together.
        always_bound: a unit that always won wins with at least this probability; for all units together.
    """

    wins: tuple[int, ...] = field(repr=False)
    samples: int
    dead_bound: float
    always_bound: float

    @property
    def dead(self) -> tuple[int, ...]:
        """Units that won in no sample."""
        return tuple(unit for unit, count in enumerate(self.wins) if count == 0)

    @property
    def always_on(self) -> tuple[int, ...]:
        """Units that won in every sample."""
        return tuple(unit for unit, count in enumerate(self.wins) if count == self.samples)

    @property
    def dead_if_alike(self) -> float:
        """Units expected without a win if each sample's winners were drawn from all units alike: ``l (1 - k/l)^n``."""
        return len(self.wins) * (1 - sum(self.wins) / (self.samples * len(self.wins))) ** self.samples


@dataclass(frozen=True)
class Overlap:
    """The share of common winners of pairs of samples, beside that of a Gaussian layer with the same cosines.

    Attributes:
        observed: for each pair.
        expected: for each pair, at its cosine.
        cosine: of the inputs of the layer.
        cosine_of: ``"inputs"`` of the affine map before the layer, or ``"values"`` that the layer compares, where no
            such map was seen.
        law: ``"exact"`` for the layer's width, or ``"large width"``.
        difference: the mean of observed minus expected.
        undefined: pairs without a cosine, because an input of the layer is zero; they are left out.
    """

    observed: tuple[float, ...] = field(repr=False)
    expected: tuple[float, ...] = field(repr=False)
    cosine: tuple[float, ...] = field(repr=False)
    cosine_of: str
    law: str
    difference: Measured
    undefined: int


@dataclass(frozen=True)
class Flips:
    """How far the patterns of one layer are from changing; see :class:`kwta_theory.audit.flips.Distances`.

    Attributes:
        distances: for each sample.
        random: the share of samples whose pattern changes within the radius in a random direction.
        within: the share of samples of which a change within the radius is known in some direction: all of them for the
            first layer, at least so many for the others.
        median_random: of the distances along the random lines; infinite beyond the radius.
        median_upper: of the upper bounds of the distance over all directions; exact for the first layer.
    """

    distances: flips.Distances = field(repr=False)
    random: Measured
    within: Measured
    median_random: Measured
    median_upper: Measured

    @property
    def is_exact(self) -> bool:
        """Whether distances over all directions are exact, and not upper bounds."""
        return self.distances.exact is not None


@dataclass(frozen=True)
class Ties:
    """One layer in one dtype.

    Attributes:
        ties: the share of samples whose k-th largest value equals the next.
        differs: the share of samples whose pattern is not that of float64.
        not_finite: how many samples have infinity or NaN in the layer; they are not in the shares.
    """

    ties: Measured
    differs: Measured
    not_finite: int


@dataclass(frozen=True)
class LayerAudit:
    """All that was found of one layer.

    Attributes:
        layer: which.
        units: how often each of them wins.
        overlap: of pairs of samples.
        kept: the mean share of winners that are winners after a random step of the radius, too.
        flips: distances to the changes of the pattern; None where no line could be followed.
        ties: for each dtype in which the network runs.
    """

    layer: TopKLayer
    units: Units
    overlap: Overlap
    kept: Measured
    flips: Flips | None
    ties: Mapping[str, Ties]


@dataclass(frozen=True)
class Audit:
    """What :func:`audit` found.

    Attributes:
        layers: the top-k layers in the order of execution.
        samples: how many were given.
        lines: of how many of them distances were measured.
        radius: of random steps and lines, in ``norm``.
        norm: of all lengths.
        error: all intervals hold together with probability at least ``1 - error``, if the samples are independent draws
            of one law.
        seed: of directions and pairs.
        no_lines: why no line could be followed; empty where all were.
        no_dtype: for each dtype in which the network did not run, torch's reason.
    """

    layers: tuple[LayerAudit, ...]
    samples: int
    lines: int
    radius: float
    norm: Norm
    error: float
    seed: int
    no_lines: str
    no_dtype: Mapping[str, str]


def audit(
    model: nn.Module,
    inputs: torch.Tensor | npt.NDArray[Any],
    *,
    radius: SupportsFloat | None = None,
    norm: Norm = "euclidean",
    lines: SupportsIndex = 64,
    seed: SupportsIndex = 0,
    error: SupportsFloat = ERROR,
    batch_size: SupportsIndex = 100,
    device: Device | None = None,
    report: Callable[[str], None] | None = None,
) -> Audit:
    """How the top-k activations of somebody's own network behave on somebody's own inputs.

    For each :class:`kwta_theory.KWTA` and :class:`kwta_theory.LWTA` of the network, in float64:

    - Units: how often each wins; those that never win, and the largest probability of winning that this leaves open;
      those that always win.
    - Overlap: the share of winners that two samples have in common, for ``n // 2`` disjoint pairs, beside what a
      Gaussian layer without bias would give at the same cosine of its inputs
      (:func:`kwta_theory.audit.expected_overlap`). The input is that of the last linear, convolution or matrix product
      that ran before the layer. More than the baseline means that the layer finds the two samples more alike than their
      inputs are; a bias, dead units and equal values (the background of an image) do that, too.
    - Flips: how far a sample is from where the pattern of the layer changes. Exact over all directions for the first
      activation layer (:func:`kwta_theory.regions.first_layer_distance`). For the others the exact distance along lines
      (:func:`kwta_theory.regions.line_regions`): one in a random direction, and for each layer one in the direction in
      which its k-th largest value and the next meet soonest to first order. The smallest of them is an upper bound of
      the distance over all directions; there may be a change that is nearer. A layer's pattern is said to change where
      its own winners do, whichever layer is the cause.
    - Ties: in how many samples the k-th largest value equals the next, when the network runs in float64, float32,
      float16 and bfloat16; and in how many its pattern is then not that of float64, because of a tie or of rounding,
      here or in an earlier layer.

    What is followed on lines ends with the last top-k layer, so any head or decoder may come after it. Before it the
    network must be piecewise affine; where it is not (a layer norm), ``no_lines`` says so and the rest is measured all
    the same.

    Args:
        model: any module with KWTA or LWTA in it; copied, in evaluation mode. ``torch.topk`` in somebody's own code
            cannot be seen into: ``KWTA(k / width)`` is the same for samples of one dimension.
        inputs: ``(n, ...)``, at least two samples in the shape that the model takes; finite. Intervals suppose that
            they are independent draws of one law. Where inputs are sequences, audit the layer on the tokens.
        radius: in ``norm``, of steps and lines; None for a hundredth of the median norm of the inputs.
        norm: ``"euclidean"`` or ``"maximum"``.
        lines: of how many samples, the first ones, distances are measured; 0 for none. Lines are what takes time.
        seed: of directions and pairs.
        error: for all intervals together.
        batch_size: samples in a forward pass.
        device: where to compute; None for the CPU.
        report: called with one sentence before each piece of work.

    Raises:
        InvalidArgumentError: for inputs that are none, that the model does not take, or that leave no default radius;
            for a model without a top-k layer (the sentence names the activations that it has).

    >>> from kwta_theory import KWTA
    >>> router = nn.Sequential(nn.Linear(16, 8, bias=False), KWTA(2 / 8))  # 2 of 8 experts
    >>> found = audit(router, np.random.default_rng(0).standard_normal((200, 16)), lines=10)
    >>> (layer,) = found.layers
    >>> layer.layer.name, layer.layer.winners, layer.overlap.law, layer.flips.is_exact
    ('1', 2, 'exact', True)
    """
    say = report or (lambda _sentence: None)
    if not isinstance(model, nn.Module):
        raise InvalidArgumentError(f"model is a {type(model).__name__}: it must be a torch.nn.Module.")
    check_norm(norm)
    where = resolve_device("cpu" if device is None else device)
    x = check_inputs(inputs).to(where)
    count = min(check_integer("lines", lines), len(x))
    batch_size = check_integer("batch_size", batch_size, minimum=2)
    seed = check_integer("seed", seed)
    budget = ErrorBudget(check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True))
    far = _default_radius(x, norm) if radius is None else check_number("radius", radius, 0.0, open_minimum=True)
    network = passes.in_dtype(model, torch.float64).to(where)
    layers = find_layers(network, x[:2])

    ends = flips.steps(x, far, norm, seed)
    order = torch.from_numpy(Stream(seed, "audit-pairs").sequence().generate_state(len(x), np.uint64).argsort()).to(
        where
    )
    seen, no_dtype = passes.look(network, layers, x[order], ends[order], DTYPES, batch_size, say)
    no_lines, distances = "no lines were asked for (lines=0)", None
    if count:
        try:
            distances = flips.measure(network, layers, x[:count].cpu(), ends[:count].cpu(), norm, where, say)
            no_lines = ""
        except InvalidArgumentError as refusal:
            no_lines = str(refusal).rstrip(".")
    share = budget.share(len(layers) * (_CLAIMS + 2 * len(DTYPES)))
    return Audit(
        layers=tuple(
            _of_layer(layer, there, None if distances is None else distances[i], far, len(x), share)
            for i, (layer, there) in enumerate(zip(layers, seen, strict=True))
        ),
        samples=len(x), lines=0 if distances is None else count, radius=far, norm=norm, error=budget.total, seed=seed,
        no_lines=no_lines, no_dtype=no_dtype,
    )  # fmt: skip


def check_inputs(inputs: torch.Tensor | npt.NDArray[Any]) -> torch.Tensor:
    """The inputs in float64 on the CPU: real, finite, at least two samples."""
    try:
        given = torch.as_tensor(inputs)
    except (TypeError, ValueError, RuntimeError):
        given = None
    if given is None or given.is_complex() or given.dtype == torch.bool:
        kind = getattr(inputs, "dtype", type(inputs).__name__)
        raise InvalidArgumentError(f"inputs holds {kind}: it must be an array of real numbers, (n, ...).")
    if given.ndim < 2 or given.numel() == 0:
        raise InvalidArgumentError(
            f"inputs has shape {tuple(given.shape)}: it must be (n, ...), samples first, none of it empty."
        )
    if len(given) < 2:
        raise InvalidArgumentError(
            f"inputs has shape {tuple(given.shape)}, {len(given)} sample: an audit compares patterns, so n must be at "
            "least 2."
        )
    points = given.detach().to(device="cpu", dtype=torch.float64)
    bad = (~points.flatten(1).isfinite().all(1)).nonzero()
    if len(bad):
        raise InvalidArgumentError(f"inputs has NaN or infinity in sample {int(bad[0])}: every entry must be finite.")
    return points


def _default_radius(inputs: torch.Tensor, norm: Norm) -> float:
    median = float(torch.linalg.vector_norm(inputs.flatten(1), ord=NORMS[norm], dim=1).median())
    if not 0 < median < math.inf:
        raise InvalidArgumentError(f"the median norm of the inputs is {median:g}: give a radius.")
    return RADIUS * median


def _of_layer(
    layer: TopKLayer, seen: passes.Seen, distances: flips.Distances | None, radius: float, samples: int, error: float
) -> LayerAudit:
    one_sided = error / (2 * layer.width)  # never won, always won: a bound for each unit
    return LayerAudit(
        layer=layer,
        units=Units(
            tuple(seen.wins.tolist()), samples, upper_bound(0, samples, one_sided),
            lower_bound(samples, samples, one_sided),
        ),
        overlap=_overlap(layer, seen, error),
        kept=Measured.mean(seen.kept, 0.0, error),
        flips=None if distances is None else _flips(distances, radius, error),
        ties={
            name: Ties(
                Measured.share(count.ties, count.finite, error), Measured.share(count.differs, count.finite, error),
                count.not_finite,
            )
            for name, count in seen.precision.items()
        },
    )  # fmt: skip


def _overlap(layer: TopKLayer, seen: passes.Seen, error: float) -> Overlap:
    cosine, observed = np.asarray(seen.cosine), np.asarray(seen.overlap)
    there = ~np.isnan(cosine)
    cosine, observed = cosine[there], observed[there]
    expected = baseline(layer, cosine)
    return Overlap(
        observed=tuple(observed.tolist()),
        expected=tuple(expected.tolist()),
        cosine=tuple(cosine.tolist()),
        cosine_of=seen.cosine_of,
        law="exact" if all(is_exact(size, min(layer.k, size)) for size in layer.sizes) else "large width",
        difference=Measured.mean(np.clip(observed - expected, -1.0, 1.0).tolist(), -1.0, error),
        undefined=int((~there).sum()),
    )


def baseline(layer: TopKLayer, cosine: Array) -> Array:
    """The expected share of common winners of a Gaussian layer with these groups."""
    sizes, counts = np.unique(layer.sizes, return_counts=True)
    total = np.zeros_like(cosine)
    for size, groups in zip(sizes.tolist(), counts.tolist(), strict=True):
        k = min(layer.k, size)
        total += groups * k * expected_overlap(size, k, cosine)
    return total / layer.winners


def _flips(distances: flips.Distances, radius: float, error: float) -> Flips:
    n = len(distances.random)
    return Flips(
        distances=distances,
        random=Measured.share(sum(math.isfinite(d) for d in distances.random), n, error),
        within=Measured.share(sum(d <= radius for d in distances.upper), n, error),
        median_random=Measured.median(distances.random, error),
        median_upper=Measured.median(distances.upper, error),
    )
