"""Lines of many processes on one terminal."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TextIO

COLOURS = (36, 33, 35, 32, 34, 31)
LIMIT = 1 << 20
"""Bytes of one line; a longer one goes on in the next."""
LONGEST_KEPT = 2000
"""Characters of a line that are kept for the end."""


class Printer:
    """Prints whole lines under a prefix that tells where they came from."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colour = self._stream.isatty()
        self._width = 0
        self._colours: dict[str, int] = {}

    def reserve(self, names: list[str]) -> None:
        """Fix the width and colours of the prefixes."""
        self._width = max((len(name) for name in names), default=0)
        self._colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}

    def line(self, name: str, text: str) -> None:
        prefix = f"{name:<{self._width}} |"
        if self._colour and name in self._colours:
            prefix = f"\x1b[{self._colours[name]}m{prefix}\x1b[0m"
        self._stream.write(f"{prefix} {text}\n")
        self._stream.flush()


async def pump(reader: asyncio.StreamReader, name: str, printer: Printer, last: deque[str]) -> None:
    """Print what a process writes until it closes its output; `last` keeps the end of it."""
    rest = b""
    while data := await reader.read(1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > LIMIT:
            lines.append(rest)
            rest = b""
        for line in lines:
            _emit(line, name, printer, last)
    if rest:
        _emit(rest, name, printer, last)


def _emit(line: bytes, name: str, printer: Printer, last: deque[str]) -> None:
    text = line.decode("utf-8", "replace").rstrip("\r")
    last.append(text[-LONGEST_KEPT:])
    printer.line(name, text)
