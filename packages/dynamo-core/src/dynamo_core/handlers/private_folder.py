"""Folders in which an engine leaves files for its worker."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


class PrivateFolder:
    """A folder of this user alone, made when its path is asked for; `close` removes it.

    A worker that is killed cannot do that: the next one that makes a folder for the same `purpose`, a short
    word, removes what it left.
    """

    def __init__(self, purpose: str) -> None:
        self._prefix = f"dynamo-{os.getuid()}-{purpose}-"
        self._made: Path | None = None

    @property
    def path(self) -> Path:
        if self._made is None:
            self._remove_leftovers()
            self._made = Path(tempfile.mkdtemp(prefix=f"{self._prefix}{os.getpid()}-"))
        return self._made

    def close(self) -> None:
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    def _remove_leftovers(self) -> None:
        for folder in Path(tempfile.gettempdir()).glob(f"{self._prefix}*"):
            pid = folder.name.removeprefix(self._prefix).partition("-")[0]
            with contextlib.suppress(OSError):
                is_ours = folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
                if is_ours and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
                    shutil.rmtree(folder, ignore_errors=True)
