"""An interpreter that is started before it is needed, and has imported an engine by then.

Engines start processes by the method `spawn`: a new interpreter that imports everything again, once the first
one has. Here it imports beside the first one, and is handed the process that it is to be when the engine
starts it. What it is handed, and what it then does, is what `multiprocessing.spawn` would give it and do: the
environment of that moment, file descriptors, the state of the main module, the process object. Only what is
read from the environment before that, as `LD_PRELOAD` is, is that of the beginning.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import popen_spawn_posix, process, reduction, resource_tracker, spawn, util
from multiprocessing.context import SpawnContext, SpawnProcess, set_spawning_popen
from types import ModuleType
from typing import Any

from dynamo_core import environment, interpreter

_FIRST = 500
"""The number of the first file descriptor that is handed over; a new interpreter has none near it."""
_MOST = 250
"""File descriptors in one message, as the kernel has it."""
_HEADER = struct.Struct("!QQ")
"""Lengths of the environment and of what `multiprocessing` pickles."""
_PR_SET_PDEATHSIG = 1
_COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "from dynamo_core.handlers.spare import serve; serve({socket}, {tracker}, {module!r})"
)
_ready: list[Spare] = []


class Spare:
    """An interpreter on its way, or waiting."""

    def __init__(self, module: str) -> None:
        self.socket, theirs = socket.socketpair()
        tracker: int = resource_tracker.getfd()  # type: ignore[assignment]
        command = _COMMAND.format(socket=theirs.fileno(), tracker=tracker, module=module)
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        argv = [spawn.get_executable(), *flags, "-c", command]
        with theirs:
            self.pid: int = util.spawnv_passfds(argv[0], argv, [theirs.fileno(), tracker])

    def close(self) -> None:
        """End it, because it was not needed."""
        self.socket.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@contextlib.contextmanager
def importing_ahead(module: str) -> Iterator[None]:
    """Start an interpreter that imports `module`; whoever is started by `Context` inside becomes it."""
    _ready.append(Spare(module))
    try:
        yield
    finally:
        while _ready:
            _ready.pop().close()


@contextlib.contextmanager
def used_by(module: ModuleType, name: str = "get_mp_context") -> Iterator[None]:
    """Have a module's function that says how to start processes say `Context`."""
    usual = getattr(module, name)
    setattr(module, name, Context)
    try:
        yield
    finally:
        setattr(module, name, usual)


class _Popen(popen_spawn_posix.Popen):
    """Hands a process to a spare interpreter instead of starting one."""

    _fds: list[int]

    def __init__(self, process_object: Any, spare: Spare) -> None:
        self._spare = spare
        super().__init__(process_object)

    def duplicate_for_child(self, fd: int) -> int:
        """The number that the descriptor will have there."""
        self._fds.append(fd)
        return _FIRST + len(self._fds) - 1

    def _launch(self, process_object: Any) -> None:
        buffer = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(spawn.get_preparation_data(process_object._name), buffer)
            reduction.dump(process_object, buffer)
        finally:
            set_spawning_popen(None)
        variables, state = json.dumps(environment.snapshot()).encode(), buffer.getvalue()
        self.pid = self._spare.pid
        self.sentinel, theirs = os.pipe()  # which ends when the last copy of theirs is closed
        self._fds.append(theirs)
        # Ours tells the other side that this process is alive, until the object is gone.
        self.finalizer = util.Finalize(self, _close, (self._spare.socket, self.sentinel))
        try:
            socket.send_fds(self._spare.socket, [_HEADER.pack(len(variables), len(state))], self._fds)
            self._spare.socket.sendall(variables + state)
        finally:
            os.close(theirs)


def _close(kept: socket.socket, sentinel: int) -> None:
    kept.close()
    os.close(sentinel)


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_object: Any) -> popen_spawn_posix.Popen:  # noqa: N802 - the name that is looked for
        return _Popen(process_object, _ready.pop()) if _ready else popen_spawn_posix.Popen(process_object)


class Context(SpawnContext):
    """As of the method `spawn`; the first process goes to the spare interpreter, if there is one."""

    Process = _Process


def serve(ours: int, tracker: int, module: str) -> None:
    """What a spare interpreter does: import, wait, be the process that it is told to be."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource_tracker._resource_tracker._fd = tracker  # type: ignore[attr-defined]
    interpreter.collect_rarely()
    with contextlib.suppress(ImportError):  # what sets titles looks for the first environment, now or never
        importlib.import_module("setproctitle").setproctitle(f"spare interpreter for {module}")
    with contextlib.suppress(Exception):  # whoever needs it is told again, where it is looked for
        importlib.import_module(module)
    parent = socket.socket(fileno=ours)
    header, received, _, _ = socket.recv_fds(parent, _HEADER.size, _MOST)
    if len(header) < _HEADER.size:
        os._exit(0)  # nobody needs it
    sizes = _HEADER.unpack(header)
    variables, state = (_read(parent, size) for size in sizes)
    for index, fd in enumerate(received):
        os.dup2(fd, _FIRST + index, inheritable=False)
        os.close(fd)
    environment.become(json.loads(variables))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(_be(io.BytesIO(state), ours))


def _read(parent: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = parent.recv(size - len(found))
        if not part:
            os._exit(1)
        found += part
    return bytes(found)


def _be(state: io.BytesIO, parent: int) -> int:
    """As `multiprocessing.spawn` does."""
    current: Any = process.current_process()
    current._inheriting = True
    try:
        spawn.prepare(pickle.load(state))  # noqa: S301 - written by the process that started this one
        wanted = pickle.load(state)  # noqa: S301
    finally:
        del current._inheriting
    code: int = wanted._bootstrap(parent_sentinel=parent)
    return code
