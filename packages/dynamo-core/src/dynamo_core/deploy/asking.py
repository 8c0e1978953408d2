"""Calling a function about a component elsewhere: in another interpreter, or in a copy of this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from dynamo_core import environment

T = TypeVar("T")
TIMEOUT = 180.0
"""Seconds; an engine's import from a cold disk can take many."""


@dataclass(frozen=True)
class Outcome:
    """What a process has written, and how it ended."""

    code: int
    out: bytes
    err: bytes


def run(asking: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, and a Ctrl-C ends it in any case: asyncio's own handler would not wake a loop that is
    about to fall asleep, and one that comes while the loop is made would leave half of it. Raises
    `KeyboardInterrupt` then."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    async def interruptible() -> T:
        task = asyncio.ensure_future(asking)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            return await task
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def ask_process(command: tuple[str, ...], question: bytes, env: Mapping[str, str]) -> Outcome:
    """Run a command with a question on its stdin. Raises `OSError`, `TimeoutError`."""
    pipe = asyncio.subprocess.PIPE
    full = {**environment.snapshot(), **env}
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env=full)
    try:
        async with asyncio.timeout(TIMEOUT):
            out, err = await process.communicate(question)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Outcome(process.returncode or 0, out, err)


async def ask_copy(answer: Callable[[], bytes], env: Mapping[str, str]) -> Outcome:
    """Call a function in a copy of this process, which has imported already what every component needs.

    As cheap as a call, and as safe for this process as another one. Only for a process with one thread.
    Raises `TimeoutError`.
    """
    out, err = os.pipe(), os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pid = os.fork()
    if pid == 0:
        _be_the_copy(answer, env, out[1], err[1])
    for _, writer in (out, err):
        os.close(writer)
    try:
        async with asyncio.timeout(TIMEOUT):
            texts = await asyncio.gather(_read(out[0]), _read(err[0]))
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)  # noqa: ASYNC222  (it is ending: it has closed its pipes, or was killed)
    return Outcome(os.waitstatus_to_exitcode(status), *texts)


async def _read(pipe: int) -> bytes:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb")
    )
    try:
        return await reader.read()
    finally:
        transport.close()


def _be_the_copy(answer: Callable[[], bytes], env: Mapping[str, str], out: int, err: int) -> NoReturn:
    """What is printed goes to `err`, the answer to `out`; nothing of the original's is run at the end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.dup2(err, 1)
        os.dup2(err, 2)
        environment.extend(env)
        sys.path.insert(0, str(Path.cwd()))  # as for `python -m`
        text = memoryview(answer())
        while text:
            text = text[os.write(out, text) :]
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)
