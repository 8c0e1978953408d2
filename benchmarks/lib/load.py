"""A client of many streams that costs little: one thread, raw sockets, nothing parsed before the end.

It runs as a process of its own (`measure` starts it) and prints JSON. What it counts are characters of
text, which with the tiny model are tokens: so an answer need not end to be counted.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

TEXT = re.compile(rb'"text":"([^"]*)"')
USAGE = re.compile(rb'"completion_tokens":(\d+)')
START_LIMIT = 20.0
"""Seconds in which every stream should have begun; the window opens then in any case."""
RECEIVE = 1 << 18


@dataclass(frozen=True)
class Plan:
    """What to ask for, and when to look."""

    port: int
    streams: int
    model: str = "null"
    tokens: int = 1 << 18
    """Per stream; more than fit into the window, so that all streams run all the time."""
    warm: float = 0.5
    """Seconds from the first chunk of the last stream to the window."""
    window: float = 3.0
    pids: dict[str, int] = field(default_factory=dict)
    """Processes whose processor time in the window is read."""


@dataclass
class Stream:
    """One answer: when something of it came, and what."""

    socket: socket.socket
    came: list[float] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)

    def chunks(self) -> Iterator[tuple[float, int]]:
        """Time and tokens of each chunk."""
        ends, size = [], 0
        for part in self.data:
            size += len(part)
            ends.append(size)
        for match in TEXT.finditer(b"".join(self.data)):
            if match[1]:
                yield self.came[bisect_left(ends, match.end())], len(match[1])


def measure(plan: Plan) -> dict[str, float]:
    """Run the client in a process of its own."""
    argv = [sys.executable, __file__, json.dumps(asdict(plan))]
    result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    if result.returncode != 0:
        raise SystemExit(f"the client failed: {result.stderr}")
    found: dict[str, float] = json.loads(result.stdout)
    return found


def run(plan: Plan) -> dict[str, float]:
    check(plan)
    streams = [open_stream(plan, plan.tokens) for _ in range(plan.streams)]
    gc.disable()
    poll = select.epoll()
    by_fd = {stream.socket.fileno(): stream for stream in streams}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    receive(poll, by_fd, time.perf_counter() + START_LIMIT, until_all_began=True)
    receive(poll, by_fd, time.perf_counter() + plan.warm)
    began, before = time.perf_counter(), used(plan)
    receive(poll, by_fd, began + plan.window)
    ended, after = time.perf_counter(), used(plan)
    for stream in streams:
        stream.socket.close()
    found = evaluate(streams, began, ended)
    seconds = ended - began
    found |= {f"{name} cores": (after[name] - before[name]) / seconds for name in after}
    return found


def check(plan: Plan) -> None:
    """One whole answer: as many characters came as the usage at its end says that there are tokens."""
    stream = open_stream(plan, 300)
    stream.socket.setblocking(True)
    data = b""
    while b"[DONE]" not in data and (part := stream.socket.recv(RECEIVE)):
        data += part
        stream.came.append(0.0)
        stream.data.append(part)
    stream.socket.close()
    characters = sum(tokens for _, tokens in stream.chunks())
    usage = [int(match[1]) for match in USAGE.finditer(data)]
    if usage[-1:] != [characters]:
        raise SystemExit(f"{characters} characters came, usage says {usage}: {data[-500:]!r}")


def open_stream(plan: Plan, tokens: int) -> Stream:
    body: dict[str, Any] = {"model": plan.model, "prompt": "hello", "max_tokens": tokens, "stream": True}
    body["stream_options"] = {"include_usage": True}
    text = json.dumps(body)
    connection = socket.create_connection(("127.0.0.1", plan.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())
    connection.setblocking(False)
    return Stream(connection)


def receive(
    poll: select.epoll, streams: dict[int, Stream], until: float, *, until_all_began: bool = False
) -> None:
    """Take what comes until a point in time, or until every stream has begun."""
    waiting = sum(not stream.came for stream in streams.values())
    while (left := until - time.perf_counter()) > 0 and not (until_all_began and not waiting):
        for fd, _ in poll.poll(left, 256):
            stream = streams[fd]
            part = stream.socket.recv(RECEIVE)
            if not part:
                raise SystemExit(f"a stream ended early: {b''.join(stream.data)[-500:]!r}")
            waiting -= not stream.came
            stream.came.append(time.perf_counter())
            stream.data.append(part)


def used(plan: Plan) -> dict[str, float]:
    """Processor time so far, this process's own too."""
    found = {}
    for name, pid in {**plan.pids, "client": None}.items():
        times = psutil.Process(pid).cpu_times()
        found[name] = times.user + times.system
    return found


def evaluate(streams: list[Stream], began: float, ended: float) -> dict[str, float]:
    """Rates in the window, and the gaps between two arrivals at the same stream that end in it."""
    tokens = chunks = 0
    gaps = []
    for stream in streams:
        last = None
        for came, count in stream.chunks():
            if began <= came <= ended:
                tokens += count
                chunks += 1
                if last is not None and came > last:
                    gaps.append(came - last)
            last = came
        if last is None or last < began:
            gaps.append(ended - began)  # at least
    gaps.sort()
    return {
        "tokens": tokens,
        "tokens/s": tokens / (ended - began),
        "tokens per chunk": tokens / max(chunks, 1),
        "p50 gap": 1000 * gaps[len(gaps) // 2],
        "p99 gap": 1000 * gaps[len(gaps) * 99 // 100],
    }


if __name__ == "__main__":
    print(json.dumps(run(Plan(**json.loads(sys.argv[1])))))
