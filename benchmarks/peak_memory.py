"""Peak memory of ``disjoint_patterns`` at l = 1,000,000 and N = 1,000 against the budget that it was given.

Each row is a process of its own: the peak resident size during the run less the size after a small run that warms up.
Linux only.
The inputs are random directions in ``rank`` dimensions; ``--full`` adds rank 1,000 and k = 100,000 (many minutes).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path


def status_bytes(field: str) -> int:
    """A field of /proc/self/status, because the peak of getrusage survives exec: a large parent hides a small child."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def measure(width: int, points: int, k: int, rank: int, trials: int, budget: int) -> None:
    """Run once and print growth of the peak, seconds, and a count that must not depend on the budget."""
    import numpy as np

    from kwta_theory import simulation

    rows = np.random.default_rng(0).standard_normal((points, rank))
    simulation.disjoint_patterns(100, 1, trials=1, points=rows[:2], device="cpu")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far (imports) is forgotten
    before = status_bytes("VmRSS")
    start = time.perf_counter()
    result = simulation.disjoint_patterns(
        width, k, trials=trials, points=rows, seed=1, memory_budget=budget, device="cpu"
    )
    print(status_bytes("VmHWM") - before, time.perf_counter() - start, int(result.pair_counts.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description="peak memory against the budget")
    parser.add_argument("--width", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=1_000)
    parser.add_argument("--full", action="store_true", help="add rank 1,000, and k = 100,000")
    parser.add_argument("--measure", type=int, nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    rows = [(10, 16, 2**30), (10, 16, 2**28)]
    if options.full:
        rows += [(10, 1000, 2**30), (100_000, 16, 2**30)]
    print(f"disjoint_patterns, l={options.width}, N={options.points}, 1 trial, float64, cpu")
    print(
        f"{'k':>8}{'rank':>6}{'budget MiB':>12}{'peak MiB':>10}{'peak/budget':>13}{'seconds':>9}{'disjoint pairs':>16}"
    )
    for k, rank, budget in rows:
        arguments = [options.width, options.points, k, rank, 1, budget]
        command = [sys.executable, __file__, "--measure", *map(str, arguments)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        peak, seconds, count = int(answer[0]), float(answer[1]), int(answer[2])
        print(
            f"{k:8}{rank:6}{budget / 2**20:12.0f}{peak / 2**20:10.0f}{peak / budget:13.2f}{seconds:9.1f}{count:16}",
            flush=True,
        )


if __name__ == "__main__":
    main()
