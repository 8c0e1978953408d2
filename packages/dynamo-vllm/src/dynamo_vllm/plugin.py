"""Loaded by vLLM into each of its processes, as a general plugin, once all is imported there.

vLLM's engine process waits for ever for work from a parent that was killed, with its GPU memory.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

from dynamo_core import interpreter

_PR_SET_PDEATHSIG = 1


def load() -> None:
    """What vLLM calls."""
    interpreter.collect_as_usual()
    die_with_parent()


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it is gone; the first of all is left
    alone."""
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:  # it was gone before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)
