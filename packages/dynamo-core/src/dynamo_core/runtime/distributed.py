"""A process's membership in a distributed graph."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_core import environment, logs
from dynamo_core.args.groups import GpuSettings, HealthSettings, ParserSettings, StreamSettings
from dynamo_core.deploy.gpus import check_gpus
from dynamo_core.errors import UserError
from dynamo_core.ports import check_port
from dynamo_core.runtime.component import Namespace
from dynamo_core.runtime.egress import Coalescing
from dynamo_core.runtime.lost import RegistrationLost, registration_lost
from dynamo_core.runtime.parsers import check_parsers
from dynamo_core.runtime.presence import in_folder
from dynamo_core.runtime.reachable import check_servers, way_in
from dynamo_core.runtime.variables import runtime_variables
from dynamo_core.runtime.watches import check_watches

if TYPE_CHECKING:
    from dynamo_core.args import RuntimeSettings

logger = logging.getLogger(__name__)

_ENDED = "Endpoint service completed unexpectedly"
"""What the Rust side says of a service that it runs, when discovery has given this process up."""


class DistributedRuntime:
    """The Rust runtime of this process.

    Open one with `async with DistributedRuntime.open(settings) as runtime`, or let `dynamo_worker`
    do it. A process opens at most one at a time.
    """

    def __init__(self, rust: Any, settings: RuntimeSettings) -> None:
        self._rust = rust
        self._settings = settings
        self._stopping = asyncio.Event()
        self._closed = False
        self._serving: set[object] = set()
        self._drained = asyncio.Event()
        self.before_serving: Callable[[], None] = _nothing
        """Called when an endpoint begins to serve: by then engines have done to the process what they
        do, to its signal handlers for instance."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: RuntimeSettings) -> AsyncIterator[DistributedRuntime]:
        """Join the graph that `settings` name, and leave it at the end.

        Raises `UserError` if discovery cannot be reached or is not safe to use, or for a port, a GPU or a
        parser that cannot be had.
        """
        check_port(settings.status_host, settings.status_port, "status-port")
        if isinstance(settings, GpuSettings) and settings.gpus is not None:
            check_gpus(settings.gpus)
        if isinstance(settings, StreamSettings):
            check_streams(settings)
        environment.publish(runtime_variables(settings))
        logs.configure(settings.log_level, settings.log_format)
        if settings.discovery_backend == "file":
            private_folder(Path(settings.discovery_path))
            check_watches()
        await check_servers(settings)
        from dynamo import _core

        if isinstance(settings, ParserSettings):
            check_parsers(settings)
        try:
            rust = _core.DistributedRuntime(
                asyncio.get_running_loop(),
                settings.discovery_backend,
                settings.request_plane,
                event_plane=settings.event_plane,
            )
        except Exception as error:
            raise UserError(
                f"cannot join through {_meeting_point(settings)}: {error}", fix=way_in(settings)
            ) from error
        runtime = cls(rust, settings)
        try:
            yield runtime
        finally:
            await runtime.close()

    @property
    def meeting_point(self) -> str:
        """Where this process looks for others, and they for it."""
        return _meeting_point(self._settings)

    @property
    def has_status_server(self) -> bool:
        return self._settings.status_port >= 0

    @property
    def probe_times(self) -> tuple[float, float] | None:
        """Interval and timeout of probes, in seconds; None without them, or where nobody would see their
        outcome."""
        settings = self._settings
        if not isinstance(settings, HealthSettings) or not settings.health_interval:
            return None
        return (settings.health_interval, settings.health_timeout) if self.has_status_server else None

    @property
    def coalescing(self) -> Coalescing:
        """How answers leave this process."""
        settings = self._settings
        if not isinstance(settings, StreamSettings):
            return Coalescing()
        return Coalescing(settings.chunk_window_ms / 1000, settings.chunk_tokens)

    @property
    def event_plane(self) -> str:
        return self._settings.event_plane

    @property
    def can_lose_entries(self) -> bool:
        """Whether what vanishes from discovery may be put back; in Kubernetes the pod's readiness decides."""
        return self._settings.discovery_backend in ("file", "etcd")

    def keeps(self, entry: str, *, is_model: bool) -> bool:
        """Whether discovery itself has an instance's entries, where asking costs nothing: what the Rust
        runtime believes comes from notices, and one that is missed does not come again."""
        settings = self._settings
        if settings.discovery_backend != "file":
            return True
        return in_folder(Path(settings.discovery_path), entry, is_model=is_model)

    @property
    def drain_timeout(self) -> float:
        """Seconds that streams in flight get when this process is stopped."""
        return self._settings.drain_timeout

    def namespace(self, name: str) -> Namespace:
        """A namespace of the graph."""
        return Namespace(self, name)

    def rust_endpoint(self, path: str) -> Any:
        """The Rust runtime's endpoint for `namespace.component.endpoint`; for this package only."""
        return self._rust.endpoint(path)

    @property
    def rust(self) -> Any:
        """The Rust runtime itself; for this package only."""
        return self._rust

    @property
    def is_serving(self) -> bool:
        return bool(self._serving)

    @contextlib.contextmanager
    def serving(self, what: object) -> Iterator[None]:
        """Count an endpoint in while requests can reach it."""
        self.before_serving()
        self._serving.add(what)
        try:
            yield
        finally:
            self._serving.discard(what)
            if not self._serving:
                self._drained.set()

    async def serve_until_stopped(self, running: asyncio.Future[None]) -> None:
        """Wait for something that the Rust side serves, and that ends when the runtime closes.

        Raises `RegistrationLost` if discovery has given this process up.
        """
        stopping = asyncio.ensure_future(self.stopping())
        with self.serving(running):
            self.set_ready(True)
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        lost = not self._stopping.is_set()
        if running.done() and (error := running.exception()) and not (lost and _ENDED in str(error)):
            raise error
        await self.close()
        try:
            await running
        except Exception as interrupted:  # the Rust side has one type for everything
            logger.debug("stopped while starting: %s", interrupted)
        if lost:
            raise self.lost()

    def lost(self) -> RegistrationLost:
        """The error of whoever sees the Rust side end although nobody has asked it to."""
        return registration_lost(self._settings, self.meeting_point)

    def set_ready(self, ready: bool) -> None:
        """What `/health` on the status port answers: 200 if ready, else 503; never ready again once
        asked to stop."""
        ready = ready and not self._stopping.is_set()
        self._rust.set_health_status(ready)

    def stop(self) -> None:
        """Ask every endpoint to leave discovery and drain. Returns at once."""
        self.set_ready(False)
        self._stopping.set()

    async def stopping(self) -> None:
        """Wait until somebody asks this runtime to stop."""
        await self._stopping.wait()

    async def close(self) -> None:
        """Leave the graph once no endpoint serves any more. May be called more than once."""
        self._stopping.set()
        if self._serving:
            await self._drained.wait()
        if not self._closed:
            self._closed = True
            self._rust.shutdown()


def private_folder(
    path: Path, what: str = "discovery folder", other: str = "give another --discovery-path"
) -> None:
    """Make a folder that only this user can write to, if it is not there yet.

    Whoever can write to the discovery folder can send requests elsewhere. Raises `UserError` if it
    belongs to somebody else or is open to everyone; `what` is its name there, `other` the way out.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat() if path.is_symlink() else path.stat()
    except OSError as error:
        raise UserError(f"cannot use {what} {path}: {error.strerror}", fix=other) from None
    if status.st_uid != os.getuid():
        raise UserError(
            f"{what} {path} belongs to user {status.st_uid}; others could redirect requests", fix=other
        )
    mode = path.stat().st_mode
    if mode & (stat.S_IWOTH | stat.S_IWGRP):
        who = "everyone" if mode & stat.S_IWOTH else "its group"
        raise UserError(
            f"{what} {path} is writable by {who}; others could redirect requests",
            fix=f"chmod go-w {path}, or {other}",
        )


def check_streams(settings: StreamSettings) -> None:
    """Raise `UserError` for a limit of chunks that never wait."""
    if settings.chunk_tokens and not settings.chunk_window_ms:
        raise UserError(
            f"chunk-tokens is {settings.chunk_tokens}, but chunks do not wait for more tokens, since "
            "chunk-window-ms is 0",
            fix="give --chunk-window-ms, or leave --chunk-tokens out",
        )


def _nothing() -> None:
    """The default of `before_serving`."""


def _meeting_point(settings: RuntimeSettings) -> str:
    etcd = re.sub(r"//[^/@,]*@", "//", settings.etcd_endpoints)  # without a password
    places = {"file": settings.discovery_path, "etcd": etcd}
    place = places.get(settings.discovery_backend, "")
    return f"{settings.discovery_backend} {place}".strip()
