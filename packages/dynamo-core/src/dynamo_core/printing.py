"""Printing for commands whose output may be cut off, as by `| head`."""

from __future__ import annotations

import os
import sys


def emit(text: str) -> None:
    """Print to stdout. A reader that has gone is no error: the process ends with 0, as if it had read."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left in the buffer would fail again, and loudly, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
