"""A component in a terminal of its own, and what a person would see and type there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The other side of a process's terminal, 100 columns wide.

    `controlling`: Ctrl-C becomes SIGINT, as in a shell. Without it the process only has the terminal
    open, as one that a supervisor has started in a session of its own.
    """

    def __init__(self, argv: Sequence[object], *, controlling: bool = True) -> None:
        self.screen = ""
        self.styled = ""
        """Everything that was written, with colours and the like, which the screen leaves out."""
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        take: Callable[[], object] = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # noqa: E731
        self.process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=take if controlling else None,
        )
        os.close(theirs)

    def send(self, text: str) -> None:
        """Type something."""
        os.write(self._own, text.encode())

    def wait_for(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """The first match on the screen; what is before it is forgotten."""
        deadline = time.monotonic() + timeout
        while True:
            if match := re.search(pattern, self.screen):
                self.screen = self.screen[match.end() :]
                return match
            left = deadline - time.monotonic()
            if left < 0 or not self._read(left):
                raise AssertionError(f"{pattern!r} did not appear within {timeout} s:\n{self.screen}")

    def wait(self, timeout: float = 15.0) -> int:
        """The exit code; what the process still writes goes to the screen."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            self._read(0.05)
            if time.monotonic() > deadline:
                raise AssertionError(f"still running after {timeout} s:\n{self.screen}")
        while self._read(0.0):
            pass
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._own)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, timeout: float) -> bool:
        """Take what there is; whether there was something."""
        if not select.select([self._own], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._own, 4096)
        except OSError:  # how a terminal tells that nobody has its other side open any more
            return False
        text = data.decode("utf-8", "replace")
        self.styled += text
        self.screen += _STYLE.sub("", text)
        return bool(data)
