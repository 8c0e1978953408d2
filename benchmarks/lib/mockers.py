"""Our frontend with any number of mocker workers behind it.

They meet in etcd: file discovery takes an inotify instance for each watch, of which Linux gives a user 128,
and one lock for all who register.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dynamo_core.testing.servers import Etcd
from dynamo_core.testing.tiny_model import write_tiny_model
from lib.bench import Bench
from lib.contestants import WORKERS
from lib.processes import Program, Programs, get, wait_for_answer

LIMIT = 300.0
"""Seconds in which all workers should have been found."""
READY = " is ready"
"""What each worker says once it is registered and has seen itself in discovery."""


@dataclass(frozen=True)
class Mockers:
    port: int
    frontend: Program
    workers: Program
    """Of which each worker is a child."""
    discovery: float
    """Seconds from the last worker's registration until the frontend knew all of them."""


@contextmanager
def mockers(bench: Bench, count: int, *flags: object) -> Iterator[Mockers]:
    """A frontend that knows `count` workers; `flags` are for both."""
    with tempfile.TemporaryDirectory() as folder, Etcd(Path(folder)) as etcd, bench.programs() as programs:
        yield start(bench, programs, count, (*etcd.flags, *flags))


def start(bench: Bench, programs: Programs, count: int, where: Sequence[object]) -> Mockers:
    python, port = bench.own_python, bench.port()
    model = write_tiny_model(programs.folder / "tiny")
    frontend = programs.start("frontend", python, "-m", "dynamo_frontend", "--http-port", port, *where)
    named = ("--model", model, "--served-model-name", "tiny")
    workers = programs.start("workers", python, WORKERS / "mockers.py", count, *named, *where)
    registered = found = 0.0
    deadline = time.monotonic() + LIMIT
    while not (registered and found):
        programs.check()
        now = time.monotonic()
        if now > deadline:
            raise SystemExit(f"not all of {count} workers were found within {LIMIT:g} s")
        registered = registered or now * (workers.log.read_text(errors="replace").count(READY) >= count)
        found = found or now * (known(port) >= count)
        time.sleep(0.05)
    wait_for_answer(programs, port, "tiny")
    return Mockers(port, frontend, workers, max(0.0, found - registered))


def known(port: int) -> int:
    """How many workers the frontend knows."""
    health = get(port, "/health/runtime") or {}
    return sum(instance["endpoint"] == "generate" for instance in health.get("instances", ()))
