"""Lines out of pipes, and where they go."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest

from dynamo_core.serve.lines import LIMIT, LineReader
from dynamo_core.serve.log_folder import LogFolder
from dynamo_core.serve.outlet import ROOM, Outlet
from dynamo_core.serve.output import JsonLines, Tee, Terminal


async def read(*pieces: bytes, has_room: list[bool] | None = None) -> list[str]:
    """What a reader makes of pieces that are written one after the other."""
    reader, writer = os.pipe()
    lines: list[str] = []
    rooms = iter(has_room or [])
    found = LineReader(reader, lines.extend, lambda: next(rooms, True))
    for piece in pieces:
        await asyncio.to_thread(os.write, writer, piece)
        await asyncio.sleep(0)
    os.close(writer)
    await asyncio.wait_for(found.ended.wait(), 5)
    return lines


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ((b"one\ntwo\n",), ["one", "two"]),
        ((b"o", b"ne\ntw", b"o"), ["one", "two"]),
        ((b"\n\n",), ["", ""]),
        ((b"windows\r\nline\r\n",), ["windows", "line"]),
        (("ü €\n".encode()[:1], "ü €\n".encode()[1:]), ["ü €"]),
        ((b"\xff\xfe\n",), ["��"]),
        ((b"10 %\r50 %\r100 %\n",), ["100 %"]),
        ((b"\x1b[31mred\x1b[0m\n",), ["\x1b[31mred\x1b[0m"]),
        ((b"\x1b[2Jgone\x1b]0;title\x07\n",), ["\\x1b[2Jgone\\x1b]0;title\\x07"]),
        ((b"bell\x07\x00\n",), ["bell\\x07\\x00"]),
        ((b"tab\there\n",), ["tab\there"]),
    ],
)
def test_lines(pieces: tuple[bytes, ...], lines: list[str]) -> None:
    assert asyncio.run(read(*pieces)) == lines


def test_a_line_without_end_comes_in_parts() -> None:
    lines = asyncio.run(read(b"x" * (3 * LIMIT), b"\nlast"))
    assert lines[-1] == "last"
    assert sum(map(len, lines[:-1])) == 3 * LIMIT
    assert max(map(len, lines)) < 2 * LIMIT


def test_nothing_is_lost_while_there_is_no_room() -> None:
    assert asyncio.run(read(b"one\n", b"two\n", has_room=[False, False])) == ["one", "two"]


def test_the_unfinished_line_can_be_seen() -> None:
    async def partial() -> str:
        reader, writer = os.pipe()
        found = LineReader(reader, lambda lines: None)
        os.write(writer, b"done\nLoading:  10%\rLoading:  45%")
        while not found.partial:
            await asyncio.sleep(0.001)
        text = found.partial
        os.close(writer)
        found.close()
        return text

    assert asyncio.run(partial()) == "Loading:  45%"


def test_what_somebody_else_still_holds_is_not_waited_for() -> None:
    async def closed() -> list[str]:
        reader, writer = os.pipe()
        lines: list[str] = []
        found = LineReader(reader, lines.extend)
        os.write(writer, b"one\nhalf")
        found.close()
        os.close(writer)
        return lines

    assert asyncio.run(closed()) == ["one", "half"]


class Pipe:
    """Something to write to that is only read when asked."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def read_all(self) -> str:
        os.close(self.writer)
        with os.fdopen(self.reader, "rb") as file:
            return file.read().decode()


def test_prefixes_and_a_footer_that_is_drawn_anew() -> None:
    """P17 (ai-dynamo #587)."""
    pipe = Pipe()
    terminal = Terminal(Outlet(pipe.writer), ["Worker/0", "serve"], colour=False)
    terminal.lines("serve", ["starting"])
    terminal.footer("table 1\n")
    terminal.footer("table 1\n")
    terminal.lines("Worker/0", ["a", "b"])
    terminal.keep("table 2\n")
    terminal.lines("serve", ["end"])
    terminal.close()
    up = "\x1b[1A\r\x1b[J"
    assert pipe.read_all() == (
        "serve    | starting\n"
        "table 1\n"
        f"{up}Worker/0 | a\nWorker/0 | b\ntable 1\n"
        f"{up}table 2\n"
        "serve    | end\n"
    )


def test_json_lines_keep_what_a_component_wrote_as_json() -> None:
    pipe = Pipe()
    sink = JsonLines(Outlet(pipe.writer))
    sink.lines("Worker/1", ['{"level": "INFO", "message": "hi"}', "[1]", "{broken", "plain"])
    sink.lines("serve", ["ready"])
    sink.close()
    entries = [json.loads(line) for line in pipe.read_all().splitlines()]
    assert entries[0] == {"component": "Worker", "replica": 1, "level": "INFO", "message": "hi"}
    assert [entry["message"] for entry in entries[1:]] == ["[1]", "{broken", "plain", "ready"]
    assert all(entry["component"] == "Worker" and entry["replica"] == 1 for entry in entries[:4])
    assert entries[4]["component"] == "serve"
    assert entries[4].keys() == {"component", "time", "message"}


def test_colours_are_for_terminals(tmp_path: Path) -> None:
    """The Rust side writes them whoever reads, and has no switch for it."""
    line = "\x1b[2mdim\x1b[0m \x1b[33m WARN\x1b[0m text"
    shown = []
    for colour in (True, False):
        pipe = Pipe()
        terminal = Terminal(Outlet(pipe.writer), ["Worker/0"], colour=colour)
        terminal.lines("Worker/0", [line, "plain"])
        terminal.close()
        shown.append(pipe.read_all())
    assert line in shown[0]
    assert shown[1] == "Worker/0 | dim  WARN text\nWorker/0 | plain\n"

    pipe = Pipe()
    sink = JsonLines(Outlet(pipe.writer))
    sink.lines("Worker/0", [line])
    sink.close()
    assert json.loads(pipe.read_all())["message"] == "dim  WARN text"

    folder = LogFolder(tmp_path, size=1 << 20, count=1, complain=print)
    folder.lines("Worker/0", [line])
    folder.close()
    assert (tmp_path / "Worker-0.log").read_text() == "dim  WARN text\n"
    assert (tmp_path / "graph.log").read_text() == "Worker/0 | dim  WARN text\n"


def test_writing_to_what_nobody_reads_does_not_wait() -> None:
    pipe = Pipe()
    outlet = Outlet(pipe.writer)
    sink = Tee([Terminal(outlet, ["A"], colour=False)])
    line = "x" * 999
    count = 0
    while sink.has_room:
        sink.lines("A", [line] * 100)
        count += 100
    assert count * 1000 >= ROOM
    received: list[str] = []
    thread = threading.Thread(target=lambda: received.append(pipe_text(pipe)))
    thread.start()
    sink.close()
    os.close(pipe.writer)
    thread.join(10)
    assert received[0].splitlines() == [f"A | {line}"] * count


def pipe_text(pipe: Pipe) -> str:
    with os.fdopen(pipe.reader, "rb") as file:
        return file.read().decode()


def test_a_reader_that_has_gone_is_told_once() -> None:
    pipe = Pipe()
    told: list[int] = []
    outlet = Outlet(pipe.writer, on_broken=lambda: told.append(1))
    os.close(pipe.reader)
    for _ in range(3):
        outlet.write(b"x\n")
    outlet.close(5)
    os.close(pipe.writer)
    assert told == [1]
    assert outlet.is_broken
    assert outlet.has_room
