"""The budget is kept: resident memory of a process, measured by the benchmark's own code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "peak_memory.py"


def measured(*arguments: int) -> int:
    command = [sys.executable, str(BENCHMARK), "--measure", *map(str, arguments)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(said[0])


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")


@pytest.mark.parametrize(("k", "budget"), [(5, 2**26), (2000, 2**26), (2000, 2**28)])
def test_peak_of_a_wide_layer_stays_inside_the_budget(k, budget):
    """l = 200,000 and N = 100: the outputs alone would be 160 MB."""
    assert 2**22 < measured(200_000, 100, k, 16, 1, budget) < budget


def test_negative_control_a_working_set_beyond_a_budget_is_seen():
    assert 2**26 < measured(200_000, 100, 20_000, 16, 1, 2**29) < 2**29
