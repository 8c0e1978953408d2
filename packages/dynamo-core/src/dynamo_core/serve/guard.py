"""Ends what a supervisor has started when the supervisor itself is gone, however it went.

    python -m dynamo_core.serve.guard

Reads the ids of process groups from stdin, one a line, until its end: that comes when the supervisor ends, by
itself or by SIGKILL. After an orderly end nothing is left to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import psutil

GRACE = 1.0
"""Seconds between SIGTERM, which lets workers leave discovery, and SIGKILL."""


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end([int(line) for line in sys.stdin])


def end(groups: list[int]) -> None:
    """End process groups, which outlive the process that leads them."""
    left = [process for process in psutil.process_iter() if _group(process.pid) in groups]
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)
    psutil.wait_procs(left, timeout=GRACE)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


if __name__ == "__main__":
    main()
