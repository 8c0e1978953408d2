"""inotify instances, with which the Rust runtime watches a discovery folder.

Linux lets each user have 128 unless told otherwise, over all processes. A frontend takes about 14, a worker
up to 4. Without them the runtime logs an error at most, and sees nobody.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from dynamo_core.errors import UserError

NEEDED = 3
"""With so many, a frontend was seen to serve a model."""
LIMIT = Path("/proc/sys/user/max_inotify_instances")
WIDEN = "sysctl fs.inotify.max_user_instances=1024"
_libc = ctypes.CDLL(None, use_errno=True)


def limit() -> int | None:
    """How many this user may have; None if the system does not tell."""
    try:
        return int(LIMIT.read_text())
    except (OSError, ValueError):
        return None


def free_watches(most: int) -> int:
    """How many more this user could have at this moment; `most` are tried, and given back."""
    opened: list[int] = []
    try:
        while len(opened) < most and (instance := _libc.inotify_init1(os.O_CLOEXEC)) >= 0:
            opened.append(instance)
        return len(opened)
    finally:
        for instance in opened:
            os.close(instance)


def check_watches() -> None:
    """Raise `UserError` if a process that starts now could not see others in a discovery folder."""
    if free_watches(NEEDED) < NEEDED:
        of_all = f" of {most}" if (most := limit()) is not None else ""
        raise UserError(
            f"this user has no inotify instances left{of_all}, and without them nobody is found in a "
            "discovery folder; a frontend takes about 14",
            fix=f"{WIDEN}, or stop some processes, or --discovery-backend etcd, which needs none",
        )
