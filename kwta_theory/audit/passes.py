"""Everything that forward passes tell: winners, pairs of samples, a random step, ties in other dtypes; in one loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from kwta_theory.audit.layers import TopKLayer, run

Tick = Callable[[str], None]


@dataclass
class Precision:
    """How one layer does in one dtype: counts of samples.

    Attributes:
        ties: the k-th largest value and the next are equal there; among samples without infinity or NaN.
        differs: the pattern is not that of float64; among the same samples.
        not_finite: samples with infinity or NaN among the values.
        samples: all of them.
    """

    ties: int = 0
    differs: int = 0
    not_finite: int = 0
    samples: int = 0

    @property
    def finite(self) -> int:
        """Samples whose values are numbers."""
        return self.samples - self.not_finite


@dataclass
class Seen:
    """What one layer showed.

    Attributes:
        wins: for each unit, in how many samples it won, ``(width,)``.
        overlap: for each pair of samples the share of common winners, ``(pairs,)``.
        cosine: of the layer's inputs of each pair; NaN where one is zero.
        kept: for each sample, the share of its winners that win after the random step, too.
        precision: for each dtype.
        cosine_of: ``"inputs"``, or ``"values"`` where no affine map before the layer was seen.
    """

    wins: torch.Tensor
    overlap: list[float] = field(default_factory=list)
    cosine: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    precision: dict[str, Precision] = field(default_factory=dict)
    cosine_of: str = "inputs"


def in_dtype(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy with its floating-point parameters and buffers in a dtype, in evaluation mode."""
    return copy.deepcopy(network).to(dtype).eval().requires_grad_(False)


@torch.no_grad()
def look(
    network: nn.Module,
    layers: Sequence[TopKLayer],
    inputs: torch.Tensor,
    steps: torch.Tensor,
    dtypes: Mapping[str, torch.dtype],
    batch_size: int,
    tick: Tick,
) -> tuple[list[Seen], dict[str, str]]:
    """One loop over the samples, neighbours of which are the pairs.

    Args:
        network: in float64.
        layers: of it.
        inputs: float64, ``(n, ...)``, in an order in which samples 0 and 1, 2 and 3, ... may be compared.
        steps: where each sample is moved to, the same shape.
        dtypes: in which the network is run besides.
        batch_size: samples at once; made even.
        tick: called with what is being done.

    Returns:
        What each layer showed; and a sentence for each dtype in which the network does not run.
    """
    seen = [Seen(torch.zeros(layer.width, dtype=torch.int64)) for layer in layers]
    copies = {name: in_dtype(network, dtype) for name, dtype in dtypes.items()}
    refused: dict[str, str] = {}
    batch_size += batch_size % 2
    for first in range(0, len(inputs), batch_size):
        tick(f"patterns: {first} of {len(inputs)} samples")
        x = inputs[first : first + batch_size]
        patterns = _patterns(network, layers, x, seen)
        moved = run(network, steps[first : first + batch_size])
        for layer, there, pattern, call in zip(layers, seen, patterns, moved, strict=True):
            both = (layer.pattern(call.z) & pattern).sum(1)
            there.kept += (both.double() / layer.winners).tolist()
        for name in list(copies):
            try:
                _compare(copies[name], layers, x.to(dtypes[name]), patterns, seen, name)
            except (RuntimeError, NotImplementedError) as error:  # torch: no such kernel, or constants of other dtypes
                refused[name] = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
                del copies[name]
                for there in seen:
                    there.precision.pop(name, None)
    return seen, refused


def _patterns(
    network: nn.Module, layers: Sequence[TopKLayer], x: torch.Tensor, seen: Sequence[Seen]
) -> list[torch.Tensor]:
    """Patterns in float64; winners are counted and pairs compared on the way."""
    patterns = []
    for layer, there, call in zip(layers, seen, run(network, x), strict=True):
        pattern = layer.pattern(call.z)
        patterns.append(pattern)
        there.wins += pattern.sum(0).cpu()
        if call.source is None:
            there.cosine_of = "values"
        source = call.z if call.source is None else call.source
        pairs = 2 * (len(x) // 2)
        both = (pattern[0:pairs:2] & pattern[1:pairs:2]).sum(1)
        there.overlap += (both.double() / layer.winners).tolist()
        there.cosine += cosines(source[0:pairs:2], source[1:pairs:2]).tolist()
    return patterns


def _compare(
    network: nn.Module,
    layers: Sequence[TopKLayer],
    x: torch.Tensor,
    patterns: Sequence[torch.Tensor],
    seen: Sequence[Seen],
    name: str,
) -> None:
    """Ties in another dtype, and patterns that are not those of float64."""
    for layer, there, pattern, call in zip(layers, seen, patterns, run(network, x), strict=True):
        count = there.precision.setdefault(name, Precision())
        finite = call.z.isfinite().all(1)
        count.samples += len(x)
        count.not_finite += int((~finite).sum())
        count.ties += int(((layer.gap(call.z) == 0) & finite).sum())
        count.differs += int(((layer.pattern(call.z) != pattern).any(1) & finite).sum())


def cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of each pair of rows; NaN where one is zero."""
    a, b = (rows / rows.abs().amax(1, keepdim=True) for rows in (a, b))  # no square under- or overflows
    return ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).clamp(-1.0, 1.0)
