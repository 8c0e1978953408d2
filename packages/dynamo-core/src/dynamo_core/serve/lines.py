"""Lines out of what a process writes."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence

INTERVAL = 0.03
"""Seconds between two reads of one process's output, so that many lines cost one wake-up."""
PATIENCE = 0.1
"""Seconds until it is tried again while nobody takes what was read."""
CHUNK = 1 << 17
LIMIT = 1 << 20
"""Bytes of one line; a longer one goes on in the next."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_UNWANTED = re.compile(rf"{_COLOUR.pattern}|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class LineReader:
    """Reads a pipe until its end and hands on whole lines, as text that no terminal obeys but for colours.

    A line that overwrites itself, as progress bars do, counts as what it showed last. `has_room` tells
    whether lines are taken at the moment; while not, the process that writes them has to wait.
    """

    def __init__(
        self, pipe: int, take: Callable[[list[str]], None], has_room: Callable[[], bool] = lambda: True
    ) -> None:
        self.ended = asyncio.Event()
        self.partial = ""
        """The line that has not ended yet, as it shows: often a progress bar."""
        self._pipe = pipe
        self._take = take
        self._has_room = has_room
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._read)

    def close(self) -> None:
        """Read what is there and stop; a process that still holds the pipe is not waited for."""
        if not self.ended.is_set():
            while self._read_once():
                pass
        if not self.ended.is_set():
            self._end()

    def _read(self) -> None:
        self._loop.remove_reader(self._pipe)
        if not self._has_room():
            self._loop.call_later(PATIENCE, self._resume)
        elif self._read_once():
            self._loop.call_later(INTERVAL, self._resume)

    def _resume(self) -> None:
        if not self.ended.is_set():
            self._loop.add_reader(self._pipe, self._read)

    def _read_once(self) -> bool:
        """Read what is there; False at the end, or if there is nothing."""
        try:
            data = os.read(self._pipe, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._end()
            return False
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            self._emit(self._rest + whole)
            self._rest = rest
        else:
            self._rest += rest
        if len(self._rest) > LIMIT:
            self._emit(self._rest)
            self._rest = b""
        self.partial = _shown(self._rest[-200:].decode("utf-8", "replace")) if self._rest else ""
        return True

    def _end(self) -> None:
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)
        self.ended.set()
        if self._rest:
            self._emit(self._rest)

    def _emit(self, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        lines = text.split("\n")
        self._take([_shown(line) for line in lines] if _CONTROL.search(text) else lines)


def plain(lines: Sequence[str]) -> Sequence[str]:
    """Lines without colours, for what is no terminal: the Rust side writes them everywhere."""
    return [_COLOUR.sub("", line) for line in lines] if any("\x1b" in line for line in lines) else lines


def _shown(line: str) -> str:
    """What a terminal would show of a line; colours stay."""
    *_, line = line.rstrip("\r").rpartition("\r")
    return _UNWANTED.sub(lambda match: match[0] if len(match[0]) > 1 else repr(match[0])[1:-1], line)
