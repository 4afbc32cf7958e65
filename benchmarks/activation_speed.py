"""A training step and an inference with k-WTA over the same with ReLU, on one thread of a CPU.

The same network, five times, interleaved so that a busy machine slows all alike; medians and the spread over rounds.

    relu              nn.ReLU
    released          the algorithm of the paper's released code: topk, sorted; multiply by (y >= k-th largest)
    topk, unsorted    torch.topk(sorted=False), its minimum, torch.where(y >= k-th largest); no rule for ties either
    ours, no numba    KWTA with the loops in NumPy: exact ties
    ours              KWTA with the loops that the extra ``fast`` compiles: exact ties

A step is forward, cross entropy, backward and SGD with momentum, on random images. Ratios are taken round by round, of
the CPU time of the process and of the wall clock: they agree where the machine is idle.

Run with ``python benchmarks/activation_speed.py``; ``--network``, ``--channels-last`` and ``--rounds`` choose less.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from unittest import mock

import torch
from torch import nn
from torch.nn import functional

from kwta_theory import KWTA, _fast_pattern
from kwta_theory.checks import winners
from kwta_theory.networks import Architecture, build

RATIO = 0.1
WITHOUT_NUMBA = "ours, no numba"
# Architecture and batch size, of the paper's two sizes of image.
NETWORKS = {
    "smallcnn": (Architecture("smallcnn", f"kwta-{RATIO}"), 256),
    "resnet18": (Architecture("resnet18", f"kwta-{RATIO}", channels=3, image_size=32), 32),
}


class Released(nn.Module):
    """The released code's rule: every value at least the k-th largest, so too many where there are ties."""

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Multiplied by the mask."""
        flat = y.flatten(1)
        threshold = flat.topk(winners(flat.shape[1], RATIO), dim=1).values[:, -1:]
        return (flat * (flat >= threshold)).view(y.shape)


class Unsorted(nn.Module):
    """The same rule without the sorting and the product."""

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Selected by the mask."""
        flat = y.flatten(1)
        threshold = flat.topk(winners(flat.shape[1], RATIO), dim=1, sorted=False).values.amin(1, keepdim=True)
        return torch.where(flat >= threshold, flat, 0).view(y.shape)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "released": Released,
    "topk, unsorted": Unsorted,
    WITHOUT_NUMBA: lambda: KWTA(RATIO),
    "ours": lambda: KWTA(RATIO),
}


def with_activation(architecture: Architecture, make: Callable[[], nn.Module]) -> nn.Module:
    """The network with the weights of seed 0 and these activations."""
    network = build(architecture)
    places = [
        (parent, name)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, KWTA)
    ]
    for parent, name in places:
        setattr(parent, name, make())
    return network


def steps(network: nn.Module, images: torch.Tensor) -> dict[str, Callable[[], None]]:
    labels = torch.arange(len(images)) % 10
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def training_step() -> None:
        network.train()
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()

    def inference() -> None:
        network.eval()
        with torch.no_grad():
            network(images)

    return {"training step": training_step, "inference": inference}


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):9.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="k-WTA over ReLU: training step and inference on one thread")
    parser.add_argument("--network", choices=[*NETWORKS, "both"], default="both")
    parser.add_argument("--batch", type=int, help="images; 256 for smallcnn and 32 for resnet18 unless given")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--channels-last", action="store_true", help="memory format of images and weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    if not _fast_pattern.installed():
        print("numba is not installed: 'ours' is 'ours, no numba'", file=sys.stderr)

    for name in NETWORKS if options.network == "both" else [options.network]:
        architecture, batch = NETWORKS[name]
        batch = options.batch or batch
        shape = (batch, architecture.channels, architecture.image_size, architecture.image_size)
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=memory_format)
        work = {
            activation: steps(with_activation(architecture, make).to(memory_format=memory_format), images)  # type: ignore[call-overload]
            for activation, make in ACTIVATIONS.items()
        }
        times: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for number in range(options.rounds + 1):
            for activation, functions in work.items():
                numba = _fast_pattern.installed() and activation != WITHOUT_NUMBA
                for what, run in functions.items():
                    with mock.patch.object(_fast_pattern, "installed", lambda numba=numba: numba):
                        start = time.process_time(), time.perf_counter()
                        run()
                        end = time.process_time(), time.perf_counter()
                    if number:  # the first round compiles and warms up
                        times.setdefault((what, activation), []).append((end[0] - start[0], end[1] - start[1]))
            print(f"{name}: round {number} of {options.rounds}", file=sys.stderr)

        layout = "channels-last, " if options.channels_last else ""
        print(
            f"\n{name}, batch {batch}, {layout}float32, sparsity ratio {RATIO}, one thread, torch {torch.__version__}"
        )
        print(f"median [lowest, highest] of {options.rounds} rounds")
        print(f"{'':32}{'CPU ms':>28}{'CPU over ReLU':>24}{'wall ms':>28}{'wall over ReLU':>24}")
        for (what, activation), measured in times.items():
            cells = []
            for clock in (0, 1):
                own = [1e3 * both[clock] for both in measured]
                relu = [1e3 * both[clock] for both in times[what, "relu"]]
                cells += [spread(own, 1), spread([a / b for a, b in zip(own, relu, strict=True)], 2)]
            print(f"{what:14}  {activation:16}{cells[0]:>28}{cells[1]:>24}{cells[2]:>28}{cells[3]:>24}")


if __name__ == "__main__":
    main()
