"""What a campaign costs beside its chunks, at chunks of about one second, and what a second worker gains.

    bare loop     the estimator called for chunk after chunk, nothing written
    1 worker      campaign.run with workers=1: in this process, every chunk committed to a ledger
    2 workers     campaign.run with workers=2: two processes, started anew for each run

The three take turns in every round, so that a busy machine slows all alike; medians and ranges over rounds. All draw
the same trials, which is checked. Each is run for a few chunks and for more: the difference is the steady state, free
of what happens once; the rest is the start. Where others use the machine, two numbers stay meaningful: processor time
for the overhead of one worker, and for two the share of their time that they spend in chunks, by the workers' own
clocks (the runner's part of the gain: 1.8 needs at least 90 %). The gain itself is a matter for two idle cores.

Demanded: an overhead of at most 5 %, and at least 1.8 times the throughput with two workers.
Run with ``python benchmarks/runner_overhead.py``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kwta_theory import campaign, seeding
from kwta_theory.campaign import Tally, Task, Until
from kwta_theory.campaign.worker import Order, carry_out

SEED = 1
WIDTH, WINNERS, COSINE = 1000, 100, 0.9
Cost = tuple[float, float, float]  # seconds by the clock, processor seconds of this process, seconds within chunks


def same_pattern(trials: int) -> Task:
    return Task.of("same-pattern", width=WIDTH, k=WINNERS, cosine=COSINE, chunk_trials=trials)


def one_second_task(seconds: float) -> Task:
    """A task whose chunks take about so long here, by the processor's time."""
    trials = 500
    while True:
        task = same_pattern(trials)
        start = time.process_time()
        bare(task, 1)
        spent = time.process_time() - start
        if spent > seconds / 4:
            return same_pattern(max(1, round(trials * seconds / spent)))
        trials *= 4


def bare(task: Task, chunks: int) -> tuple[Tally, float]:
    """The chunks of a campaign without one; one at a time, on one core, like a worker."""
    total, seconds = Tally(), 0.0
    for number in range(chunks):
        seed = seeding.derive(SEED, task.id, number)
        order = Order(campaign.find(task.estimator), task.parameters, task.chunk_trials, ((number, seed),))
        chunk = carry_out(order)[0]
        total, seconds = total + chunk.tally, seconds + chunk.seconds
    return total, seconds


def swept(task: Task, chunks: int, workers: int) -> tuple[Tally, float]:
    """The same by a campaign."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        campaign.run([task], path, Until(trials=chunks * task.chunk_trials), seed=SEED, workers=workers)
        with campaign.Ledger(path, write=False) as ledger:
            total = ledger.total(task, SEED)
            return total.tally, total.seconds


def timed(work: Callable[[int], tuple[Tally, float]], chunks: int, expected: Tally | None) -> tuple[Cost, Tally]:
    clock, processor = time.perf_counter(), time.process_time()
    total, seconds = work(chunks)
    cost = time.perf_counter() - clock, time.process_time() - processor, seconds
    if expected is not None and total != expected:
        raise SystemExit(f"{total} was drawn, and the bare loop drew {expected}: the comparison is void.")
    return cost, total


def spread(values: list[float], unit: str = "") -> str:
    return f"{statistics.median(values):8.3f}{unit} [{min(values):.3f}, {max(values):.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="overhead of the runner at chunks of about one second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", type=int, default=2, help="chunks of the short runs")
    parser.add_argument("--chunks", type=int, default=12, help="chunks of the long runs")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a chunk, about")
    options = parser.parse_args()
    if not 0 < options.short < options.chunks:
        parser.error("--short must be at least 1 and below --chunks")
    print(f"load before: {', '.join(f'{load:.1f}' for load in os.getloadavg())}; {os.cpu_count()} cores")
    task = one_second_task(options.seconds)
    ways: dict[str, Callable[[int], tuple[Tally, float]]] = {
        "bare loop": lambda chunks: bare(task, chunks),
        "1 worker": lambda chunks: swept(task, chunks, 1),
        "2 workers": lambda chunks: swept(task, chunks, 2),
    }
    costs: dict[tuple[str, int], list[Cost]] = {(name, n): [] for name in ways for n in (options.short, options.chunks)}
    loads = []
    for number in range(options.rounds + 1):
        for chunks in (options.short, options.chunks) if number else (options.short,):  # the first round warms up
            expected = None
            for name, work in ways.items():
                cost, expected = timed(work, chunks, expected)
                if number:
                    costs[name, chunks].append(cost)
        loads.append(os.getloadavg()[0])
        print(f"round {number} of {options.rounds}, load {loads[-1]:.1f}", file=sys.stderr, flush=True)

    long, extra = options.chunks, options.chunks - options.short

    def clock(name: str, chunks: int) -> list[float]:
        return [cost[0] for cost in costs[name, chunks]]

    def steady(name: str) -> list[float]:
        """Seconds a chunk, without the start."""
        return [(a - b) / extra for a, b in zip(clock(name, long), clock(name, options.short), strict=True)]

    def ratio(first: list[float], second: list[float]) -> list[float]:
        """Round by round, so that a slow round counts on both sides."""
        return [a / b for a, b in zip(first, second, strict=True)]

    print(f"{task.title}, {task.chunk_trials} trials a chunk, {options.rounds} rounds: median [range]")
    print(f"{'':12}{f'seconds a chunk, {long} chunks':<34}{'steady state':<34}{'start, seconds':<34}")
    for name in ways:
        whole = [seconds / long for seconds in clock(name, long)]
        start = [b - options.short * a for a, b in zip(steady(name), clock(name, options.short), strict=True)]
        print(f"{name:12}{spread(whole):<34}{spread(steady(name)):<34}{spread(start):<34}")
    processor = {name: [cost[1] for cost in costs[name, long]] for name in ("bare loop", "1 worker")}
    overheads = {
        "by the clock": ratio(clock("1 worker", long), clock("bare loop", long)),
        "processor time": ratio(processor["1 worker"], processor["bare loop"]),
    }
    for name, ratios in overheads.items():
        print(f"overhead of 1 worker, {name:15}{spread([100 * (r - 1) for r in ratios], ' %')}")
    whole = ratio(clock("1 worker", long), clock("2 workers", long))
    print(f"2 workers against 1, {long} chunks with the start  {spread(whole)}")
    print(f"2 workers against 1, steady state          {spread(ratio(steady('1 worker'), steady('2 workers')))}")
    within = [a[2] - b[2] for a, b in zip(costs["2 workers", long], costs["2 workers", options.short], strict=True)]
    busy = [100 * a / (2 * extra * b) for a, b in zip(within, steady("2 workers"), strict=True)]
    print(f"2 workers in chunks, steady state          {spread(busy, ' %')} of their time")
    print(f"load: {min(loads):.1f} to {max(loads):.1f}")


if __name__ == "__main__":
    main()
