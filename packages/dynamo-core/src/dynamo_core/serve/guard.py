"""Ends what a supervisor has started when the supervisor itself is gone, however it went.

    python -m dynamo_core.serve.guard

Reads from stdin, until its end, one line for each process group that has come (`+123`) or gone
(`-123`). The end comes when the supervisor ends, by itself or by SIGKILL. After an orderly end nothing
is left to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection, Iterable

import psutil

GRACE = 1.0
"""Seconds between SIGTERM, which lets workers leave discovery, and SIGKILL."""


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end(left_of(sys.stdin))


def left_of(lines: Iterable[str]) -> set[int]:
    """The groups that have come and not gone."""
    groups: set[int] = set()
    for line in lines:
        (groups.add if line.startswith("+") else groups.discard)(int(line[1:]))
    return groups


def end(groups: Collection[int]) -> None:
    """End process groups, which outlive the process that leads them, and what has left them for a
    session of its own."""
    if not groups:
        return
    members = [process for process in psutil.process_iter() if _group(process.pid) in groups]
    left = set(members)
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.update(member.children(recursive=True))
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, deaf = psutil.wait_procs(left, timeout=GRACE)
    for process in deaf:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
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
