"""A file discovery folder: one file per entry, which its process touches as long as it lives."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from dynamo_core.runtime.distributed import private_folder
from dynamo_core.runtime.listing.entries import Stored

BUCKETS = ("v1/instances", "v1/mdc", "v1/event_sources")
EXPIRY = 10.0
"""Seconds without a touch after which the Rust runtime removes a file; it touches it every 3.3 s."""
LARGEST = 1 << 20
"""Bytes of a file that may be an entry; model cards have a few thousand."""


def read_folder(path: Path) -> list[Stored]:
    """The entries in a folder; none if it does not exist.

    Raises `UserError` if the folder is not this user's alone.
    """
    if not os.path.lexists(path):
        return []
    private_folder(path)
    return [stored for bucket in BUCKETS for stored in _bucket(path / bucket)]


def _bucket(path: Path) -> Iterator[Stored]:
    try:
        files = sorted(path.iterdir())
    except OSError:
        return
    for file in files:
        try:
            yield _file(file)
        except (OSError, ValueError):  # gone in this moment, or none of the Rust runtime's
            continue


def _file(path: Path) -> Stored:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:  # reading a pipe would wait
        raise ValueError(path)
    now, born = time.time(), _born(path)
    silent = max(0.0, now - status.st_mtime)
    age = None if born is None else max(0.0, now - born)
    return Stored(path.read_bytes(), age, silent, is_stale=silent > EXPIRY)


def _born(path: Path) -> float | None:
    """When a file was made, by Linux's `statx`, which Python has no name for before 3.15."""
    try:
        statx = ctypes.CDLL(None).statx
    except (AttributeError, OSError):
        return None
    at_working_directory, wanted = -100, 0x800
    result = ctypes.create_string_buffer(256)
    if statx(at_working_directory, os.fsencode(path), 0, wanted, result) != 0:
        return None
    (mask,) = struct.unpack_from("=I", result, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", result, 80)
    return seconds + nanoseconds / 1e9 if mask & wanted else None
