"""Linear regions along a line: against the public counter ``regioncam``, and many lines at once against one.

Against the peer. A random ReLU network 784-1024-1024-1024-10, weights ``N(0, 2/inputs)``, biases ``N(0, 0.01)``, one
segment of several hundred regions. ``regioncam`` 0.5.2 (``pip install regioncam``; ReLU only, single precision, in
Rust) is used where it is installed and left out where it is not. ``Regioncam1D.through_points(points, size)`` covers a
segment ``size / 2`` times as long as the two points are apart, around the middle between them: ours is given that
segment. Both counts are printed; single precision may merge or split a few. Ours is in float64, and also returns the
units, the one-sided values and the slopes.

Many lines. ``line_regions`` on a batch of lines through the small CNN of the paper for MNIST, ReLU and k-WTA, from
random images in random directions, over the first lines of that batch one after the other; time per region. At two
lengths: a line of few regions alone leaves the processor little to do at once, one of many is a batch of its own.

Processor time of one thread. Rounds are interleaved, so that a busy machine slows all alike, and ratios are taken round
by round; the first round warms up and is not counted. Medians with the lowest and the highest round.

Run with ``python benchmarks/region_speed.py``; ``--rounds``, ``--lines`` and ``--only`` choose less (batches
take at most 3 rounds).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from kwta_theory.networks import Architecture, build
from kwta_theory.regions import line_regions, random_lines

WIDTHS = (784, 1024, 1024, 1024, 10)
APART = 0.3
"""Standard deviation of the difference of the two points, whose entries are standard normal."""
SIZE = 4.0
LENGTHS = (0.005, 0.05)
"""Euclidean lengths of the lines through the small CNN."""
ALONE = 8
"""Lines of the batch that are also computed one after the other."""


def peer() -> Any:
    """The class of ``regioncam``, or None where it is not installed."""
    try:
        from regioncam import Regioncam1D  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    return Regioncam1D


def processor_seconds(run: Callable[[], int]) -> tuple[float, int]:
    start = time.process_time()
    count = run()
    return time.process_time() - start, count


def spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):8.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def against_peer(rounds: int) -> None:
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(WIDTHS))
    weights = [(rng.standard_normal(shape) * math.sqrt(2 / shape[0])).astype(np.float32) for shape in pairs]
    biases = [(0.1 * rng.standard_normal(width)).astype(np.float32) for width in WIDTHS[1:]]
    first = rng.standard_normal(WIDTHS[0])
    points = np.stack([first, first + APART * rng.standard_normal(WIDTHS[0])]).astype(np.float32)

    layers: list[nn.Module] = []
    for weight, bias in zip(weights, biases, strict=True):
        linear = nn.Linear(*weight.shape)
        linear.load_state_dict({"weight": torch.from_numpy(weight.T.copy()), "bias": torch.from_numpy(bias)})
        layers += [linear, nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    there = torch.from_numpy(points).double()
    middle, half = there.mean(0, keepdim=True), SIZE / 4 * (there[1:] - there[:1])
    counter = peer()

    def ours() -> int:
        (line,) = line_regions(network, middle - half, middle + half)
        return line.count

    def theirs() -> int:
        regions = counter.through_points(points, SIZE)
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if number:
                regions.relu()
            regions.linear(weight, bias)
        return int(regions.num_edges)

    runs = {"ours": ours} if counter is None else {"ours": ours, "regioncam": theirs}
    times: dict[str, list[float]] = {name: [] for name in runs}
    counts: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, run in runs.items():
            seconds, counts[name] = processor_seconds(run)
            if number:
                times[name].append(seconds)
    print(f"\n{'-'.join(map(str, WIDTHS))}, ReLU, one segment, {rounds} rounds")
    for name, measured in times.items():
        milliseconds = spread([1e3 * value for value in measured], 1)
        print(f"{name:12}{counts[name]:8} regions  CPU ms {milliseconds}")
    if counter is None:
        print("regioncam is not installed: nothing to compare with")
    else:
        ratios = [mine / other for mine, other in zip(times["ours"], times["regioncam"], strict=True)]
        print(f"ours over regioncam {importlib.metadata.version('regioncam')}: {spread(ratios, 2).strip()}")


def many_lines(rounds: int, lines: int, length: float) -> None:
    images = torch.rand(lines, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    along = random_lines(images, length, norm="euclidean", seed=0)
    for activation in ("relu", "kwta-0.1"):
        network = build(Architecture("smallcnn", activation)).eval()

        def batch(network: nn.Module = network) -> int:
            return sum(line.count for line in line_regions(network, along.start, along.end))

        def alone(network: nn.Module = network) -> int:
            return sum(
                line_regions(network, along.start[i : i + 1], along.end[i : i + 1])[0].count
                for i in range(min(ALONE, lines))
            )

        times: dict[str, list[float]] = {"batch": [], "alone": []}
        for number in range(rounds + 1):
            for name, run in (("batch", batch), ("alone", alone)):
                seconds, count = processor_seconds(run)
                if number:
                    times[name].append(1e3 * seconds / count)
                if name == "batch":
                    regions = count
            print(f"{activation}, length {length}: round {number} of {rounds}", file=sys.stderr)
        ratios = [together / one for together, one in zip(times["batch"], times["alone"], strict=True)]
        each = f"{lines} lines of length {length}, {regions / lines:.1f} regions each"
        print(f"\nsmall CNN, {activation}, {each}, {rounds} rounds")
        print(f"batch of {lines:<6}CPU ms a region {spread(times['batch'], 3)}")
        print(f"line by line   CPU ms a region {spread(times['alone'], 3)}")
        print(f"batch over line by line: {spread(ratios, 3).strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description="linear regions along lines: against regioncam, and in batches")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lines", type=int, default=256)
    parser.add_argument("--only", choices=["peer", "lines"], help="one of the two tables")
    options = parser.parse_args()
    if options.rounds < 1 or options.lines < 1:
        parser.error("--rounds and --lines must be at least 1")
    torch.set_num_threads(1)
    print(f"processor time, one thread, torch {torch.__version__}; median [lowest, highest]")
    if options.only != "lines":
        against_peer(options.rounds)
    if options.only != "peer":
        for length in LENGTHS:
            many_lines(min(options.rounds, 3), options.lines, length)


if __name__ == "__main__":
    main()
