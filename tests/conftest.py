"""What all tests need: one thread of OpenMP for each process, and ears for Ctrl-C.

One thread: two processes on two cores stall each other otherwise. Ears: a shell makes what it starts in the background
deaf to the signal, and the commands that the tests interrupt would inherit that and never end.
"""

from __future__ import annotations

import os
import signal

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, which is after this
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
