"""Logs in files: one for each process and one for all, rotated."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from dynamo_core.errors import UserError
from dynamo_core.serve.lines import plain

EVERYTHING = "graph.log"
"""The file with the lines of all processes."""
RETRY = 10.0
"""Seconds until a file that could not be written is tried again."""


class LogFolder:
    """A sink that writes `Worker-0.log` and its like, and all of it with prefixes to `graph.log`.

    A file that cannot be written, as on a full disk, costs its lines and nothing else: `complain`
    is told once, and again when it goes on.
    """

    def __init__(self, folder: Path, *, size: int, count: int, complain: Callable[[str], None]) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _open(folder / EVERYTHING).close()
        except OSError as error:
            raise UserError(
                f"--log-dir: cannot write to {folder}: {error.strerror}", fix="choose another folder"
            ) from None
        self._folder = folder
        self._size = size
        self._count = count
        self._complain = complain
        self._files: dict[str, _RotatedFile] = {}

    has_room = True

    def lines(self, name: str, lines: Sequence[str]) -> None:
        lines = plain(lines)
        self._write(f"{name.replace('/', '-')}.log", "".join([f"{line}\n" for line in lines]), len(lines))
        self._write(EVERYTHING, "".join([f"{name} | {line}\n" for line in lines]), len(lines))

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _write(self, name: str, text: str, count: int) -> None:
        if name not in self._files:
            path = self._folder / name
            self._files[name] = _RotatedFile(path, self._size, self._count, self._complain)
        self._files[name].write(text.encode("utf-8", "backslashreplace"), count)


class _RotatedFile:
    """A file that is moved aside when it is full: `x.log`, `x.log.1` the one before, and so on."""

    def __init__(self, path: Path, size: int, count: int, complain: Callable[[str], None]) -> None:
        self._path = path
        self._size = size
        self._count = count
        self._complain = complain
        self._file: BinaryIO | None = None
        self._lost = 0
        self._retry_at = 0.0

    def write(self, data: bytes, count: int) -> None:
        if self._lost and time.monotonic() < self._retry_at:
            self._lost += count
            return
        try:
            self._append(data)
        except OSError as error:
            self.close()
            is_first, self._lost = not self._lost, self._lost + count  # what is said may come here again
            self._retry_at = time.monotonic() + RETRY
            if is_first:
                self._complain(f"cannot write {self._path}: {error.strerror}; its lines are lost until I can")
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self._complain(f"{self._path} is written again; {lost} lines were lost")

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._file = _open(self._path)
        start = self._file.tell()
        if start and start + len(data) > self._size:
            self._rotate()
            self._file = _open(self._path)
            start = 0
        if (written := self._file.write(data)) != len(data):
            self._file.truncate(start)  # no torn line; the next try begins where this one did
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes could be written")

    def _rotate(self) -> None:
        self.close()
        for number in range(self._count - 1, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if self._count < 2:
            self._path.unlink()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _open(path: Path) -> BinaryIO:
    """For this user alone: logs may quote what others have asked."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "ab", buffering=0)
