"""What happens when an engine's processes die, with small real processes in the place of an engine."""

from __future__ import annotations

import asyncio
import ctypes
import platform
import signal
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from dynamo_core.errors import EngineDead, UserError
from dynamo_core.handlers.engine_processes import EngineProcesses

SYS_EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]
"""The system call that ends one thread."""
SLEEP = "import time; print('up', flush=True); time.sleep(600)"
RAISE_ON_INPUT = """
import sys
print("up", flush=True)
sys.stdin.readline()
sys.stderr.write("(Core pid=1) ERROR something went wrong\\n")
def step(): raise ValueError("no KV blocks left")
try:
    step()
except ValueError as error:
    raise RuntimeError("engine loop ended") from error
"""


def child(code: str, before: Callable[[], object] | None = None) -> subprocess.Popen[str]:
    """A running process of an engine, as an engine's constructor would start it."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


class Deaths:
    """What `on_death` was told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.processes = EngineProcesses(self.told.put_nowait)

    async def next(self) -> str:
        return await asyncio.wait_for(self.told.get(), 10)


async def test_the_first_error_of_a_process_that_raises_is_the_cause(
    capfd: pytest.CaptureFixture[str],
) -> None:
    deaths = Deaths()
    process = await deaths.processes.start(lambda: child(RAISE_ON_INPUT))
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert await deaths.next() == "ValueError: no KV blocks left"
    await deaths.processes.stop()
    written = capfd.readouterr().err
    assert "RuntimeError: engine loop ended" in written
    assert "something went wrong" in written


async def test_a_killed_process_is_named_with_the_signal() -> None:
    deaths = Deaths()
    process = await deaths.processes.start(lambda: child(SLEEP))
    name = psutil.Process(process.pid).name()
    process.kill()
    assert await deaths.next() == (
        f"engine process {process.pid} ({name}) was killed by SIGKILL; "
        "the kernel does that when memory runs out"
    )
    await deaths.processes.stop()


async def test_an_exit_code_is_told() -> None:
    deaths = Deaths()
    process = await deaths.processes.start(
        lambda: child("import sys; print('up', flush=True); sys.stdin.readline(); sys.exit(7)")
    )
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert (await deaths.next()).endswith("exited with 7")
    await deaths.processes.stop()


async def test_an_engine_that_reports_its_own_death_is_believed() -> None:
    deaths = Deaths()
    await deaths.processes.start(lambda: child(SLEEP))
    deaths.processes.report_death()
    assert await deaths.next() == "an engine process reported a failure; its log is above"
    await deaths.processes.stop()


async def test_a_start_that_fails_in_a_child_raises_the_childs_first_error() -> None:
    def build() -> None:
        failing = subprocess.run([sys.executable, "-c", "raise MemoryError('no room')"], check=False)
        raise RuntimeError(f"engine failed to start, exit code {failing.returncode}")

    with pytest.raises(EngineDead, match=r"^MemoryError: no room$"):
        await Deaths().processes.start(build)


async def test_a_start_that_fails_by_itself_keeps_its_own_exception() -> None:
    def build() -> None:
        raise UserError("no such flag")

    with pytest.raises(UserError, match="no such flag"):
        await Deaths().processes.start(build)


async def test_the_loop_runs_while_the_engine_starts_and_a_cancelled_start_leaves_nothing() -> None:
    deaths = Deaths()
    started: list[subprocess.Popen[str]] = []

    def build() -> None:
        started.append(child(SLEEP))
        started[0].wait()

    task = asyncio.ensure_future(deaths.processes.start(build))
    async with asyncio.timeout(10):
        while not started:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await deaths.processes.stop()
    assert await asyncio.to_thread(started[0].wait, 10) == -signal.SIGKILL


async def test_stop_is_in_order_and_then_by_force() -> None:
    deaths = Deaths()
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEP
    process = await deaths.processes.start(lambda: child(stubborn))
    called = []
    await deaths.processes.stop(lambda: called.append(process.terminate()))
    assert called
    assert await asyncio.to_thread(process.wait, 10) == -signal.SIGKILL
    assert deaths.told.empty()


async def test_a_shutdown_that_hangs_is_given_up() -> None:
    deaths = Deaths()
    process = await deaths.processes.start(lambda: child(SLEEP))
    await deaths.processes.stop(lambda: process.wait(60) and None, timeout=0.2)
    assert await asyncio.to_thread(process.wait, 10) == -signal.SIGKILL


async def test_processes_that_die_with_the_thread_that_started_them_live_on() -> None:
    """Engines set PR_SET_PDEATHSIG, which the kernel counts from the thread, not the process."""
    deaths = Deaths()
    libc = ctypes.CDLL(None)
    process = await deaths.processes.start(lambda: child(SLEEP, before=lambda: libc.prctl(1, signal.SIGKILL)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(deaths.told.get(), 1.0)
    assert process.poll() is None
    await deaths.processes.stop()


async def test_of_several_that_are_gone_the_first_is_named() -> None:
    """Whichever the kernel tells of first: what an engine's process had started dies with it."""
    deaths = Deaths()
    started = await deaths.processes.start(lambda: [child(SLEEP) for _ in range(5)])
    for process in reversed(started):
        process.kill()
        process.wait(10)
    assert (await asyncio.wait_for(deaths.told.get(), 10)).startswith(f"engine process {started[0].pid} (")
    await deaths.processes.stop()


async def test_who_is_still_ending_is_named_before_those_who_went_with_it() -> None:
    """The kernel kills what a thread has started when the thread ends; the process may end later."""
    slow_to_end = f"""
import ctypes, signal, subprocess, sys, threading, os
libc = ctypes.CDLL(None)
helper = subprocess.Popen(
    [sys.executable, "-c", {SLEEP!r}],
    stdout=subprocess.PIPE,
    preexec_fn=lambda: libc.prctl(1, signal.SIGKILL),
)
helper.stdout.readline()
print("up", flush=True)
commands = os.fdopen(os.dup(0))
commands.readline()
threading.Thread(target=lambda: commands.readline() and os._exit(9)).start()
libc.syscall({SYS_EXIT}, 0)
"""
    deaths = Deaths()
    process = await deaths.processes.start(lambda: child(slow_to_end))
    (helper,) = psutil.Process(process.pid).children()
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    async with asyncio.timeout(10):
        while helper.is_running() and helper.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)
    assert deaths.told.empty()
    process.stdin.write("\n")
    process.stdin.flush()
    assert (await deaths.next()).startswith(f"engine process {process.pid} (")
    await deaths.processes.stop()
