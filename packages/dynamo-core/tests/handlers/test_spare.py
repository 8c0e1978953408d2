"""Interpreters that are started ahead: what they become is like any other process of `multiprocessing`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from dynamo_core.handlers import spare
from dynamo_core.handlers.spare import Context, importing_ahead

SLOW = "idlelib.pyshell"
"""A module of Python's own that nothing else here imports."""


def tell(answers: Connection, *names: str) -> None:
    parent = parent_process()
    answers.send(
        {
            "pid": os.getpid(),
            "parent": parent.pid if parent else None,
            "variables": {name: os.environ.get(name) for name in names},
            "imported": SLOW in sys.modules,
            "argv": sys.argv,
            "sigint": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        }
    )


def leave(code: int) -> None:
    sys.exit(code)


def wait_for_parent(answers: Connection) -> None:
    parent = parent_process()
    assert parent is not None
    answers.send(os.getpid())
    connection.wait([parent.sentinel])


@pytest.fixture
def ahead() -> Iterator[spare.Spare]:
    with importing_ahead("encodings.rot_13"):
        yield spare._ready[0]


def told(context: Context, *names: str) -> dict[str, Any]:
    ours, theirs = context.Pipe()
    started = context.Process(target=tell, args=(theirs, *names))
    started.start()
    assert ours.poll(30)
    found: dict[str, Any] = ours.recv()
    started.join(30)
    assert started.exitcode == 0
    return found


def test_the_first_process_is_the_spare_one(ahead: spare.Spare, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment and the descriptors of the moment in which it is started."""
    monkeypatch.setenv("SET_LATER", "so – ü")
    found = told(Context(), "SET_LATER")
    assert (found["pid"], found["parent"]) == (ahead.pid, os.getpid())
    assert found["variables"] == {"SET_LATER": "so – ü"}
    assert found["argv"] == sys.argv
    assert found["sigint"]


def test_variables_that_are_gone_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_BEFORE", "1")
    with importing_ahead("encodings.rot_13"):
        monkeypatch.delenv("SET_BEFORE")
        assert told(Context(), "SET_BEFORE")["variables"] == {"SET_BEFORE": None}


def test_the_second_process_is_started_as_usual(ahead: spare.Spare) -> None:
    context = Context()
    pids = [told(context)["pid"] for _ in range(2)]
    assert pids[0] == ahead.pid
    assert pids[1] != ahead.pid


def test_what_was_asked_for_has_been_imported() -> None:
    with importing_ahead(SLOW):
        assert told(Context())["imported"]
    assert not told(Context())["imported"]


def test_a_module_that_there_is_not_is_for_others_to_miss() -> None:
    with importing_ahead("no_such_module_here"):
        waiting = spare._ready[0].pid
        assert told(Context())["pid"] == waiting


@pytest.mark.parametrize("code", [0, 3])
def test_exit_codes(ahead: spare.Spare, code: int) -> None:
    started = Context().Process(target=leave, args=(code,))
    started.start()
    assert connection.wait([started.sentinel], 30)
    started.join(30)
    assert (started.pid, started.exitcode) == (ahead.pid, code)


def test_one_that_is_killed(ahead: spare.Spare) -> None:
    started = Context().Process(target=time.sleep, args=(60,))
    started.start()
    assert started.is_alive()
    started.kill()
    assert connection.wait([started.sentinel], 30)
    started.join(30)
    assert started.exitcode == -signal.SIGKILL


def test_one_that_nobody_needs_is_gone() -> None:
    with importing_ahead(SLOW):
        pid = spare._ready[0].pid
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
    assert not spare._ready


@pytest.mark.parametrize("is_used", [False, True])
def test_it_goes_with_whoever_started_it(is_used: bool) -> None:
    """The kernel sees to it while it imports; then it hears of it as any process of `multiprocessing`."""
    script = (
        "import os, signal, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from dynamo_core.handlers import spare\n"
        "import test_spare\n"
        "spare._ready.append(spare.Spare('encodings.rot_13'))\n"
        "pid = spare._ready[0].pid\n"
        f"if {is_used}:\n"
        "    context = spare.Context()\n"
        "    ours, theirs = context.Pipe()\n"
        "    context.Process(target=test_spare.wait_for_parent, args=(theirs,)).start()\n"
        "    assert ours.recv() == pid\n"
        "print(pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid := int(done.stdout)) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
