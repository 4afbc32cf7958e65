"""Brackets of the radius of a cell: how tight, at what cost, and how little the cost depends on the width.

Gaussian layers and inputs, k = width / 10, no bias; seeds 0, 1, ... Two tables:

- ``--only widths``: the cheap bracket (``effort="box"``) at 32 dimensions, of a layer of 10,000 and one of 1,000,000
  outputs, in turns, and the ratio of their costs, turn by turn. :func:`pattern_cell` is counted, drawing is not.
- ``--only brackets``: upper over lower end and the processor time, by dimension, width and effort.

Processor time of one thread (set ``OMP_NUM_THREADS=1``, which this script does before numpy is imported).

Run with ``python benchmarks/cell_radius.py``; ``--draws`` and ``--setting`` (``input_dim width effort``) choose less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  (the number of threads is read when it is imported)

from kwta_theory.geometry import EFFORTS, RadiusBracket, pattern_cell  # noqa: E402

NARROW, WIDE = 10_000, 1_000_000
SETTINGS = (
    (4, 1000, "relaxation"),
    (6, 1000, "relaxation"),
    (8, 1000, "relaxation"),
    (16, 2000, "box"),
    (16, 2000, "relaxation"),
    (16, 2000, "branching"),
    (32, 4000, "box"),
    (32, 4000, "relaxation"),
    (32, 4000, "branching"),
    (64, 8000, "box"),
    (64, 8000, "relaxation"),
    (256, 20_000, "box"),
)


def measured(input_dim: int, width: int, effort: str, seed: int) -> tuple[RadiusBracket, float]:
    rng = np.random.default_rng(np.random.SeedSequence([seed, input_dim, width]))
    weight, x = rng.standard_normal((width, input_dim)), rng.standard_normal(input_dim)
    start = time.process_time()
    found = pattern_cell(weight, x, width // 10).radius(effort=effort)
    return found, time.process_time() - start


def spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def brackets(settings: Sequence[tuple[int, int, str]], draws: int) -> None:
    print(f"\n{'dimension':>9}{'width':>9}  {'effort':12}{'draws':>6}  {'upper / lower':28}processor seconds")
    for input_dim, width, effort in settings:
        found = [measured(input_dim, width, effort, seed) for seed in range(draws)]
        ratios, seconds = [each.ratio for each, _ in found], [taken for _, taken in found]
        print(f"{input_dim:9}{width:9}  {effort:12}{draws:6}  {spread(ratios, 5):28}{spread(seconds, 2)}", flush=True)


def widths(draws: int) -> None:
    times = np.array([[measured(32, width, "box", seed)[1] for width in (NARROW, WIDE)] for seed in range(draws + 1)])[
        1:
    ]
    print(f"\ncheap bracket at 32 dimensions, {draws} draws; the first, which warms up, is not counted")
    print(f"width {NARROW}: processor seconds {spread(times[:, 0].tolist(), 2)}")
    print(f"width {WIDE}: processor seconds {spread(times[:, 1].tolist(), 2)}")
    print(f"ratio: {spread((times[:, 1] / times[:, 0]).tolist(), 2)} (at most 3 is the aim)")


def main() -> None:
    parser = argparse.ArgumentParser(description="brackets of the radius of a cell: tightness and cost")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--only", choices=["widths", "brackets"], help="one of the two tables")
    parser.add_argument("--setting", nargs=3, metavar=("DIM", "WIDTH", "EFFORT"), help="one row of the second table")
    options = parser.parse_args()
    if options.draws < 1:
        parser.error("--draws must be at least 1")
    settings: Sequence[tuple[int, int, str]] = SETTINGS
    if options.setting:
        input_dim, width, effort = options.setting
        if effort not in EFFORTS:
            parser.error(f"the effort must be one of {', '.join(EFFORTS)}")
        settings = [(int(input_dim), int(width), effort)]
    print("processor time, one thread; median [lowest, highest]")
    if options.only != "brackets" and not options.setting:
        widths(options.draws)
    if options.only != "widths":
        brackets(settings, options.draws)


if __name__ == "__main__":
    main()
