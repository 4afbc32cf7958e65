"""One thread of OpenMP for each test process: two processes on two cores stall each other otherwise."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, which is after this
