"""A frontend for this process itself: it serves on a free loopback port while a client here uses it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from dynamo_core.ports import free_ports
from dynamo_core.runtime import DistributedRuntime
from dynamo_core.runtime.frontend import FrontendOptions, serve_frontend

if TYPE_CHECKING:
    from aiohttp import ClientSession

MODEL_INTERVAL = 0.2
"""Seconds between two questions for a model, while there is none."""
HEALTH_TIMEOUT = 5.0


async def serve_for(
    client: Callable[[str], Coroutine[Any, Any, None]], runtime: DistributedRuntime, options: FrontendOptions
) -> None:
    """Serve until `client`, called with the server's URL, has ended or the runtime is asked to stop.

    The client is cancelled then, and first: the server has nothing to drain. Raises what the server
    raises, or else the client.
    """
    port = next(free_ports())
    local = dataclasses.replace(
        options, http_host="127.0.0.1", http_port=port, tls_cert_path=None, tls_key_path=None
    )
    serving = asyncio.ensure_future(serve_frontend(runtime, local))
    talking = asyncio.ensure_future(client(f"http://127.0.0.1:{port}"))
    stopping = asyncio.ensure_future(runtime.stopping())
    try:
        await asyncio.wait({serving, talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        talking.cancel()
        await asyncio.wait({talking})
        runtime.stop()
        await asyncio.wait({serving})
    for task in (serving, talking):
        if not task.cancelled():
            task.result()


def open_session(url: str, timeout: float | None = None) -> ClientSession:
    """A client for the server at `url`; `timeout` seconds hold for a whole request."""
    from aiohttp import ClientSession, ClientTimeout, TCPConnector

    return ClientSession(url, connector=TCPConnector(limit=0), timeout=ClientTimeout(total=timeout))


async def ready_models(session: ClientSession) -> list[str]:
    """The models that would answer now; none while the server is still starting."""
    from aiohttp import ClientError, ClientTimeout

    try:
        async with session.get("/health", timeout=ClientTimeout(total=HEALTH_TIMEOUT)) as response:
            return list(json.loads(await response.read())["models"])
    except (ClientError, TimeoutError):
        return []


def error_message(body: bytes) -> str:
    """What a refusal says, in the server's own words."""
    try:
        answer = json.loads(body)
        error = answer.get("error") or answer
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, AttributeError, KeyError):
        return body.decode("utf-8", "replace")


def quiet_library(*, keep_logs: bool = False) -> None:
    """Keep the Rust side from writing to stderr for the rest of this process: it reports every
    request, whatever the level.

    It writes to the descriptor; what is printed to `sys.stderr` still shows. So do the log records of
    this process, if they are to be kept.
    """
    sys.stderr.flush()
    stream = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = stream
    for handler in logging.getLogger().handlers if keep_logs else ():
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(stream)
