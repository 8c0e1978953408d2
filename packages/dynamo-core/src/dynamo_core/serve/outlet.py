"""Writing to what may be slow, without waiting for it."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

ROOM = 4 << 20
"""Bytes that may wait; a process whose lines are more has to wait itself."""


class Outlet:
    """Writes bytes to a file descriptor in a thread of its own, in order.

    A terminal may stop (Ctrl-S) and a pipe's reader may be slow; neither may stop who watches over
    processes. `on_broken` is called in that thread once nothing can be written any more.
    """

    def __init__(self, descriptor: int, on_broken: Callable[[], None] = lambda: None) -> None:
        self.is_broken = False
        self._descriptor = descriptor
        self._on_broken = on_broken
        self._waiting = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True, name="outlet")
        self._thread.start()

    @property
    def has_room(self) -> bool:
        return self._waiting < ROOM

    def write(self, data: bytes) -> None:
        with self._lock:
            self._waiting += len(data)
        self._queue.put(data)

    def close(self, timeout: float) -> None:
        """Wait until all is written, for `timeout` seconds at most."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            if not self.is_broken:
                self._write(data)
            with self._lock:
                self._waiting -= len(data)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self.is_broken = True
            self._on_broken()
