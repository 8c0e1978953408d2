"""Many mocker workers, each a process of its own, of which the imports are done once.

    python mockers.py COUNT FLAGS...

The flags are those of dynamo-mocker-worker. Ends with SIGTERM, or when one of them ends.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from types import FrameType

from dynamo_mocker import worker

SHARED = ("dynamo_core.runtime", "dynamo_core.runtime.mocker", "dynamo._core", "uvloop")


def main() -> None:
    count, flags = int(sys.argv[1]), sys.argv[2:]
    for name in SHARED:
        importlib.import_module(name)
    children: list[int] = []

    def end(number: int = 0, frame: FrameType | None = None) -> None:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            worker.main(flags)
            return
        children.append(pid)
    signal.signal(signal.SIGTERM, end)
    os.wait()
    end()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    main()
