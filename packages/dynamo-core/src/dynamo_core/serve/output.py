"""What a supervised graph shows: lines of many processes, under a prefix that tells where they came from."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Protocol

from dynamo_core.serve.lines import plain
from dynamo_core.serve.outlet import Outlet

COLOURS = (36, 33, 35, 32, 34, 31)
CLOSING = 2.0
"""Seconds that the last lines get to be written."""


class Sink(Protocol):
    """Takes the lines of processes, and of the supervisor under the name `serve`."""

    @property
    def has_room(self) -> bool:
        """Whether it takes lines at the moment."""

    def lines(self, name: str, lines: Sequence[str]) -> None: ...

    def close(self) -> None: ...


class Terminal:
    """Lines for people, and below them a footer that is drawn anew in place."""

    def __init__(self, outlet: Outlet, names: Sequence[str], *, colour: bool) -> None:
        self._outlet = outlet
        self._colour = colour
        self.is_done = False
        """Whether the footer has been left where it stood."""
        self._footer = ""
        width = max((len(name) for name in names), default=0)
        self._prefixes = {
            name: _coloured(f"{name:<{width}} |", COLOURS[i % len(COLOURS)] if colour else 0)
            for i, name in enumerate(names)
        }

    @property
    def has_room(self) -> bool:
        return self._outlet.has_room

    def lines(self, name: str, lines: Sequence[str]) -> None:
        prefix = self._prefixes.get(name) or f"{name} |"
        shown = lines if self._colour else plain(lines)
        self._draw("".join([f"{prefix} {line}\n" for line in shown]), self._footer)

    def footer(self, text: str) -> None:
        """Show `text`, lines that fit the terminal, in place of the footer before."""
        if text != self._footer:
            self._draw("", text)

    def keep(self, text: str) -> None:
        """Print `text` in place of the footer and leave it there; there is none after it."""
        self._draw(text, "")
        self.is_done = True

    def close(self) -> None:
        self._outlet.close(CLOSING)

    def _draw(self, text: str, footer: str) -> None:
        height = self._footer.count("\n")
        erase = f"\x1b[{height}A\r\x1b[J" if height else ""
        self._footer = footer
        self._outlet.write((erase + text + footer).encode("utf-8", "backslashreplace"))


class JsonLines:
    """One JSON object a line: what a component wrote as one keeps its keys."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    @property
    def has_room(self) -> bool:
        return self._outlet.has_room

    def lines(self, name: str, lines: Sequence[str]) -> None:
        section, _, replica = name.partition("/")
        origin = {"component": section, **({"replica": int(replica)} if replica else {})}
        text = "".join([json.dumps({**origin, **_entry(line)}) + "\n" for line in plain(lines)])
        self._outlet.write(text.encode())

    def close(self) -> None:
        self._outlet.close(CLOSING)


class Tee:
    """Several sinks as one; the slowest sets the pace."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    @property
    def has_room(self) -> bool:
        return all(sink.has_room for sink in self._sinks)

    def lines(self, name: str, lines: Sequence[str]) -> None:
        for sink in self._sinks:
            sink.lines(name, lines)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


def _coloured(text: str, colour: int) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def _entry(line: str) -> dict[str, object]:
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            pass
        else:
            if isinstance(entry, dict):
                return entry
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return {"time": f"{stamp}.{int(now % 1 * 1000):03d}Z", "message": line}
