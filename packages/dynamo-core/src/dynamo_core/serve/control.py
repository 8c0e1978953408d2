"""Talking to the supervisor of a running graph: one JSON object there, one back.

    {"do": "status"}    {"do": "stop"}    {"do": "restart", "names": ["Worker/0"]}

The socket lies in a folder of this user alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from dynamo_core.errors import UserError
from dynamo_core.serve.registry import CONTROL, GraphRecord
from dynamo_core.serve.supervisor import Supervisor

TIMEOUT = 5.0
"""Seconds for one question."""
_LONGEST = 1 << 20


@contextlib.asynccontextmanager
async def control_server(folder: Path, supervisor: Supervisor) -> AsyncIterator[None]:
    """Answer on the graph's socket until the end of the block."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await asyncio.wait_for(reader.readline(), TIMEOUT))
            writer.write(json.dumps(_answer(supervisor, request)).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass  # a client that has gone or talks nonsense is its own problem
        finally:
            writer.close()

    with _short_path(folder) as path:
        server = await asyncio.start_unix_server(serve, path, limit=_LONGEST)
    async with server:
        yield


def ask(graph: GraphRecord, **request: Any) -> dict[str, Any]:
    """One question to a graph's supervisor. Raises `UserError` if it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, _short_path(graph.folder) as path:
            connection.settimeout(TIMEOUT)
            connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline(_LONGEST))
    except (OSError, ValueError) as error:
        raise UserError(
            f"the supervisor of {graph.name}, process {graph.pid}, does not answer: {error}"
        ) from None
    if problem := answer.get("error"):
        raise UserError(str(problem))
    return answer


def _answer(supervisor: Supervisor, request: dict[str, Any]) -> dict[str, Any]:
    match request:
        case {"do": "status"}:
            return status(supervisor)
        case {"do": "stop"}:
            supervisor.stop("asked by dynamo stop")
            return {"ok": True}
        case {"do": "restart", "names": [*wanted]}:
            return _restart(supervisor, [str(name) for name in wanted])
    return {"error": f"unknown request {request!r}"}


def _restart(supervisor: Supervisor, wanted: list[str]) -> dict[str, Any]:
    """`wanted` are names of processes or sections; all if there is none."""
    members = [member.process for member in supervisor.members]
    known = {process.name for process in members} | {process.section for process in members}
    if unknown := [name for name in wanted if name not in known]:
        return {"error": f"the graph has no {', '.join(unknown)}; it has {', '.join(sorted(known))}"}
    if supervisor.director.stopping:
        return {"error": "the graph is being stopped"}
    names = [p.name for p in members if not wanted or p.name in wanted or p.section in wanted]
    supervisor.restart(names)
    return {"names": names}


def status(supervisor: Supervisor) -> dict[str, Any]:
    """How the graph stands, as JSON."""
    director, now = supervisor.director, supervisor.clock()
    return {
        "ready": director.is_ready,
        "stopping": director.stopping,
        "rolling": director.is_rolling,
        "addresses": [m.process.address for m in supervisor.members if m.process.address],
        "processes": [
            {
                "name": member.name,
                "state": str(member.state),
                "seconds": round(now - member.since, 1),
                "pid": supervisor.pid(member.name),
                "restarts": len(member.restarts),
                "gpus": list(member.process.gpus),
                "ports": member.process.port_ranges,
            }
            for member in supervisor.members
        ],
    }


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """The path of a folder's socket; the address of one holds 107 bytes, whatever the folder's has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{CONTROL}"
    finally:
        os.close(descriptor)
