"""Theorem 2 on real images: where all patterns of 100 MNIST images become disjoint, k = 1, from l = 1e4 to 1e300.

Prints for each width the trials, P(all pairs disjoint) with a 99.9 % Clopper-Pearson interval, and the seconds; then
trials per second of ``method="tail"`` over those of ``method="gram"``; then a bracket, in log10 of the width, of where
the conclusion first holds with probability 0.95. Run with ``python benchmarks/tail_widths.py``.
"""

from __future__ import annotations

import argparse
import math
import time

from kwta_theory import inputs, simulation

ERROR = 1e-3
# Each side of the bracket is one of at most this many looks: the error of the whole search is ERROR.
LOOKS = 16


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

    # Bisection while the interval decides; where it does not, the bracket is what the trials can tell.
    below, above = 4.0, 300.0
    for look in range(LOOKS):
        middle = math.sqrt(below * above) if above > 2 * below else (below + above) / 2
        result, _ = counted(options.search_trials, 1000 + look, method="tail", log_width=middle * math.log(10))
        found = result.all_pairs.interval(ERROR / LOOKS)
        low, high = found.lower, found.upper
        print(f"look {look}: log10 width {middle:.2f}, {result.all_pairs}, [{low:.4f}, {high:.4f}]", flush=True)
        if low >= 0.95:
            above = middle
        elif high < 0.95:
            below = middle
        else:
            break
    print(f"P(all disjoint) reaches 0.95 at log10 width in [{below:.2f}, {above:.2f}], error {ERROR:g}")


if __name__ == "__main__":
    main()
