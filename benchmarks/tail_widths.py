"""Theorem 2 on real images: where all patterns of 100 MNIST images become disjoint, k = 1, from l = 1e4 to 1e300.

Prints for each width the trials, P(all pairs disjoint) with a 99.9 % Clopper-Pearson interval, and the seconds; then
trials per second of ``method="tail"`` over those of ``method="gram"``; then a bracket, in log10 of the width, of where
the conclusion first holds with probability 0.95. Run with ``python benchmarks/tail_widths.py``.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from kwta_theory import inputs, simulation

ERROR = 1e-3
# Every look draws afresh, a number of trials fixed beforehand, at an equal share of ERROR: the search errs at most so.
LOOKS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description="where the patterns of 100 images become disjoint")
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--search-trials", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    points = inputs.mnist_images(100, seed=0).points

    def counted(trials: int, seed: int, **arguments: object) -> tuple[simulation.DisjointPatterns, float]:
        start = time.perf_counter()
        result = simulation.disjoint_patterns(
            arguments.pop("width", None),  # type: ignore[arg-type]
            1,
            trials=trials,
            points=points,
            seed=seed,
            device="cpu",
            workers=options.workers,
            **arguments,  # type: ignore[arg-type]
        )
        return result, time.perf_counter() - start

    print(f"100 MNIST images, k=1, cpu, {options.workers} workers")
    print(f"{'log10 width':>11}{'trials':>8}{'disjoint':>10}{'99.9 % interval':>22}{'seconds':>9}")
    for exponent in (4, 6, 9, 12, 20, 50, 100, 200, 300):
        result, seconds = counted(options.trials, exponent, width=10**exponent, method="tail")
        found = result.all_pairs.interval(ERROR)
        low, high = found.lower, found.upper
        interval = f"[{low:.4f}, {high:.4f}]"
        print(f"{exponent:11}{options.trials:8}{result.all_pairs.value:10.4f}{interval:>22}{seconds:9.2f}", flush=True)

    for exponent, trials in ((4, 100), (6, 4)):
        _, fast = counted(options.trials, 1, width=10**exponent, method="tail")
        _, slow = counted(trials, 1, width=10**exponent)
        ratio = (options.trials / fast) / (trials / slow)
        print(f"l=1e{exponent}: tail {options.trials / fast:.0f}, gram {trials / slow:.2f} trials/s, ratio {ratio:.1f}")

    # Bisection while the intervals decide; a width that they leave open splits the rest into a search on either side,
    # each with the widths still open. That P(all disjoint) grows with the width between the two ends is supposed.
    below, above, unclear = 4.0, 300.0, [math.nan, math.nan]
    for look in range(LOOKS):
        low_gap = (below, above if math.isnan(unclear[0]) else unclear[0])
        high_gap = (below if math.isnan(unclear[1]) else unclear[1], above)
        start, stop = max(low_gap, high_gap, key=lambda gap: gap[1] - gap[0])
        middle = math.sqrt(start * stop) if stop > 2 * start else (start + stop) / 2
        result, _ = counted(options.search_trials, 1000 + look, method="tail", log_width=middle * math.log(10))
        found = result.all_pairs.interval(ERROR / LOOKS)
        print(
            f"look {look}: log10 width {middle:.2f}, {result.all_pairs}, [{found.lower:.4f}, {found.upper:.4f}]",
            flush=True,
        )
        if found.lower >= 0.95:
            above = middle
        elif found.upper < 0.95:
            below = middle
        else:
            unclear = [float(np.nanmin([middle, *unclear])), float(np.nanmax([middle, *unclear]))]
    print(f"P(all disjoint) reaches 0.95 at log10 width in [{below:.2f}, {above:.2f}], error {ERROR:g}")


if __name__ == "__main__":
    main()
