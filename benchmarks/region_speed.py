"""Linear regions: against the public counter ``regioncam`` on lines and on planes, and many lines at once against one.

Against the peer. A random ReLU network 784-1024-1024-1024-10, weights ``N(0, 2/inputs)``, biases ``N(0, 0.01)``, one
segment of several hundred regions. ``regioncam`` 0.5.2 (``pip install regioncam``; ReLU only, single precision, in
Rust) is used where it is installed and left out where it is not. ``Regioncam1D.through_points(points, size)`` covers a
segment ``size / 2`` times as long as the two points are apart, around the middle between them: ours is given that
segment. Both counts are printed; single precision may merge or split a few. Ours is in float64, and also returns the
units, the one-sided values and the slopes.

Many lines. ``line_regions`` on a batch of lines through the small CNN of the paper for MNIST, ReLU and k-WTA, from
random images in random directions, over the first lines of that batch one after the other; time per region. At two
lengths: a line of few regions alone leaves the processor little to do at once, one of many is a batch of its own.

Planes (``--planes``). Slices of random ReLU networks through three random points: the same network and the plane that
the peer made of the points, in its single precision, for both. A cell of ours and one of the peer's are a pair if the
middle of the peer's lies in ours, and no other's does. Printed: both counts, pairs, the largest difference in area
within a pair (of the plane's area; single precision moves corners, those of nearly parallel edges far), the area of
cells without a partner, and how far apart the outputs are at the middles, relative to the largest.

Processor time of one thread. Rounds are interleaved, so that a busy machine slows all alike, and ratios are taken round
by round; the first round warms up and is not counted. Medians with the lowest and the highest round.

Run with ``python benchmarks/region_speed.py``; ``--rounds``, ``--lines`` and ``--only`` choose less (batches
take at most 3 rounds), ``--planes`` the comparison of planes alone.
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
from kwta_theory.regions import line_regions, plane_regions, random_lines

WIDTHS = (784, 1024, 1024, 1024, 10)
APART = 0.3
"""Standard deviation of the difference of the two points, whose entries are standard normal."""
SIZE = 4.0
LENGTHS = (0.005, 0.05)
"""Euclidean lengths of the lines through the small CNN."""
PLANES = ((20, 32, 32, 5), (50, 64, 64, 10), (784, 64, 64, 64, 10))
"""Networks of which slices are compared."""
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


def random_weights(
    rng: np.random.Generator, widths: tuple[int, ...]
) -> tuple[list[np.ndarray], list[np.ndarray]]:  # fmt: skip
    """Weights ``N(0, 2/inputs)``, ``(inputs, outputs)``, and biases ``N(0, 0.01)``, in single precision."""
    pairs = list(itertools.pairwise(widths))
    weights = [(rng.standard_normal(shape) * math.sqrt(2 / shape[0])).astype(np.float32) for shape in pairs]
    return weights, [(0.1 * rng.standard_normal(width)).astype(np.float32) for width in widths[1:]]


def relu_network(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> nn.Module:
    layers: list[nn.Module] = []
    for weight, bias in zip(weights, biases, strict=True):
        linear = nn.Linear(*weight.shape)
        linear.load_state_dict({"weight": torch.from_numpy(weight.T.copy()), "bias": torch.from_numpy(bias)})
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def against_peer(rounds: int) -> None:
    rng = np.random.default_rng(0)
    weights, biases = random_weights(rng, WIDTHS)
    first = rng.standard_normal(WIDTHS[0])
    points = np.stack([first, first + APART * rng.standard_normal(WIDTHS[0])]).astype(np.float32)

    network = relu_network(weights, biases)
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


def area_and_middle(corners: np.ndarray) -> tuple[float, np.ndarray]:
    """Of a convex polygon; the mean of its corners lies inside."""
    x, y = (corners - corners[0]).T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2, corners.mean(0)


def same_plane(widths: tuple[int, ...], seed: int) -> None:
    """One slice of one network by both."""
    from regioncam import Regioncam

    rng = np.random.default_rng(seed)
    weights, biases = random_weights(rng, widths)
    network = relu_network(weights, biases)
    points = rng.standard_normal((3, widths[0])).astype(np.float32)

    def theirs() -> int:
        regions = Regioncam.through_points(points)
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if number:
                regions.relu()
            regions.linear(weight, bias)
        made.append(regions)
        return int(regions.num_faces)

    made: list[Any] = []
    peer_seconds, peer_count = processor_seconds(theirs)
    corners = np.asarray(made[0].vertex_inputs, dtype=np.float64)
    low, high = float(corners.min()), float(corners.max())
    map_ = made[0].plane
    origin, u, v = (
        torch.from_numpy(np.asarray(part, dtype=np.float64))[None]
        for part in (map_.bias, map_.weight[0], map_.weight[1])
    )
    start = time.process_time()
    plane = plane_regions(network, origin, u, v, a=(low, high), b=(low, high))
    own_seconds = time.process_time() - start

    # Layer 0 of the peer are the positions; an output of one of its cells is affine in them.
    affine = np.asarray(made[0].face_outputs, dtype=np.float64)
    cells = [area_and_middle(corners[np.asarray(face.vertex_ids)]) for face in made[0].faces]
    inside = torch.from_numpy(np.stack([point for _, point in cells]))
    found = plane.region_at(inside).tolist()
    areas, size = plane.areas.tolist(), high - low
    owners = [found.count(region) for region in range(plane.count)]
    pairs = [(cell, region) for cell, region in enumerate(found) if region >= 0 and owners[region] == 1]
    apart = max(abs(cells[cell][0] - areas[region]) for cell, region in pairs) / size**2
    alone = max(0.0, 1.0 - sum(areas[region] for _, region in pairs) / size**2)
    cell_of = [cell for cell, _ in pairs]
    at = inside[cell_of]
    out = np.einsum("ni,nio->no", np.column_stack([at.numpy(), np.ones(len(at))]), affine[cell_of])
    own = plane.value_at(at).numpy()
    print(
        f"{'-'.join(map(str, widths)):16} seed {seed}  regions: ours {plane.count:6}, regioncam {peer_count:6}, "
        f"pairs {len(pairs):6}; areas apart {apart:.1e}, without partner {alone:.1e}; "
        f"outputs apart {np.abs(out - own).max() / np.abs(own).max():.1e}; "
        f"CPU s {own_seconds:.2f}, {peer_seconds:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="linear regions along lines: against regioncam, and in batches")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lines", type=int, default=256)
    parser.add_argument("--only", choices=["peer", "lines"], help="one of the two tables")
    parser.add_argument("--planes", action="store_true", help="compare planes with regioncam, cell by cell, and stop")
    options = parser.parse_args()
    if options.rounds < 1 or options.lines < 1:
        parser.error("--rounds and --lines must be at least 1")
    torch.set_num_threads(1)
    print(f"processor time, one thread, torch {torch.__version__}; median [lowest, highest]")
    if options.planes:
        if peer() is None:
            raise SystemExit("regioncam is not installed: nothing to compare with")
        for widths in PLANES:
            for seed in range(2):
                same_plane(widths, seed)
        return
    if options.only != "lines":
        against_peer(options.rounds)
    if options.only != "peer":
        for length in LENGTHS:
            many_lines(min(options.rounds, 3), options.lines, length)


if __name__ == "__main__":
    main()
