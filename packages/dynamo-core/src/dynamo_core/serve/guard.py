"""Ends what a supervisor has started when the supervisor itself is gone, however it went.

    python -m dynamo_core.serve.guard

Reads process ids from stdin, one a line, until its end: that comes when the supervisor ends, by
itself or by SIGKILL. After an orderly end nothing is left to do.
"""

from __future__ import annotations

import contextlib
import signal
import sys

import psutil

GRACE = 1.0
"""Seconds between SIGTERM, which lets workers leave discovery, and SIGKILL."""


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    started: list[psutil.Process] = []
    for line in sys.stdin:
        with contextlib.suppress(psutil.NoSuchProcess):
            started.append(psutil.Process(int(line)))
    end(started)


def end(started: list[psutil.Process]) -> None:
    """End processes and all that they have started."""
    left = []
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            left += [process, *process.children(recursive=True)]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, deaf = psutil.wait_procs(left, timeout=GRACE)
    for process in deaf:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    main()
