"""Trials per second of ``same_pattern`` drawn from the Gram matrix against the dense draw of the whole layer.

The same question, three ways, interleaved so that a busy machine slows all alike; medians and the spread over rounds.

    naive dense   torch.randn of the l x m matrix in double precision, W @ X, topk of both columns, compare
    our dense     simulation.same_pattern(..., method="dense"): the same numbers of normals, our generator
    our gram      simulation.same_pattern(...), with 1 and 2 workers

Run with ``python benchmarks/gram_against_dense.py``; ``--device cuda`` where there is one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

from kwta_theory import simulation
from kwta_theory.checks import winners
from kwta_theory.seeding import resolve_device

COSINE = 0.9999


def main() -> None:
    parser = argparse.ArgumentParser(description="gram against dense, trials per second")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--input-dim", type=int, default=784)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--sparsity-ratio", type=float, default=0.1)
    options = parser.parse_args()
    device = resolve_device(options.device)
    width, m = options.width, options.input_dim
    k = winners(width, options.sparsity_ratio)

    x = torch.zeros(m, 2, dtype=torch.float64, device=device)
    x[0, 0], x[0, 1], x[1, 1] = 1.0, COSINE, (1 - COSINE**2) ** 0.5

    def naive(trials: int) -> None:
        same = 0
        for _ in range(trials):
            outputs = torch.randn(width, m, dtype=torch.float64, device=device) @ x
            first, second = (set(outputs[:, i].topk(k).indices.tolist()) for i in (0, 1))
            same += first == second

    def ours(trials: int, **arguments: object) -> None:
        simulation.same_pattern(width, k, COSINE, trials, device=device, **arguments)  # type: ignore[arg-type]

    scale = 1 if device.type == "cpu" else 20
    rows: list[tuple[str, int, Callable[[int], None]]] = [
        ("naive dense", 5 * scale, naive),
        ("our dense", 10 * scale, lambda trials: ours(trials, method="dense", input_dim=m)),
        ("our gram, 1 worker", 2000 * scale, ours),
    ]
    if device.type == "cpu":
        rows.append(("our gram, 2 workers", 4000, lambda trials: ours(trials, workers=2)))
    speeds: dict[str, list[float]] = {name: [] for name, _, _ in rows}
    for number in range(options.rounds + 1):
        for name, trials, run in rows:
            start = time.perf_counter()
            run(trials)
            seconds = time.perf_counter() - start
            if number:  # the first round warms up
                speeds[name].append(trials / seconds)
        print(f"round {number} of {options.rounds}", file=sys.stderr)

    threads = torch.get_num_threads()
    print(f"same_pattern, m={m}, l={width}, k={k}, float64, {device}, torch threads {threads}, {options.rounds} rounds")
    print(f"{'':22}{'trials/s':>12}{'lowest':>12}{'highest':>12}{'x naive':>10}{'x our dense':>13}")
    for name, values in speeds.items():
        # Ratios are taken round by round, so that a slow round counts on both sides.
        ratios = [
            statistics.median(a / b for a, b in zip(values, speeds[base], strict=True))
            for base in ("naive dense", "our dense")
        ]
        median, low, high = statistics.median(values), min(values), max(values)
        print(f"{name:22}{median:12.1f}{low:12.1f}{high:12.1f}{ratios[0]:10.1f}{ratios[1]:13.1f}")


if __name__ == "__main__":
    main()
