"""What a batch makes of failures that a real frontend shows too seldom: from a server that is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dynamo_core.errors import RequestError
from dynamo_core.ports import free_ports
from dynamo_frontend import batch, batch_models
from dynamo_frontend.args import BatchSettings
from dynamo_frontend.batch_output import BatchOutput
from dynamo_frontend.batch_progress import Counts

Reply = Callable[[int], web.Response]
"""The answer to a request that is sent for the n-th time, from 0 on."""


class Server:
    """A frontend that answers by rule, and counts what it is asked."""

    def __init__(self, reply: Reply, models: list[list[str]]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._reply = reply
        self._models = models

    async def complete(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        return self._reply(len(self.bodies) - 1)

    async def health(self, request: web.Request) -> web.Response:
        models = self._models[0] if len(self._models) == 1 else self._models.pop(0)
        return web.json_response({"models": models}, status=200 if models else 503)


@contextlib.asynccontextmanager
async def served(server: Server) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes([web.post("/v1/completions", server.complete), web.get("/health", server.health)])
    runner = web.AppRunner(application)
    await runner.setup()
    port = next(free_ports())
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(batch, "LAST_PAUSE", 0.02)


async def run(
    folder: Path, server: Server, body: dict[str, Any] | None = None, timeout: float = 5.0
) -> dict[str, Any]:
    """Send one request; what was written of it."""
    source = folder / "in.jsonl"
    source.write_text(json.dumps(body or {"prompt": "x"}))
    settings = BatchSettings(batch_concurrency=2, batch_wait_timeout=timeout)
    with BatchOutput(folder / "out") as output:
        async with served(server) as url:
            await batch.Batch(source, output, Counts(total=1), settings).run(url)
    entry: dict[str, Any] = json.loads((folder / "out").read_text())
    return entry


def good() -> web.Response:
    return web.json_response({"usage": {"completion_tokens": 3}})


def bad(status: int, message: str = "no") -> web.Response:
    return web.json_response({"message": message}, status=status)


@pytest.mark.parametrize("status", [429, 503])
async def test_what_passes_is_waited_for(tmp_path: Path, status: int) -> None:
    server = Server(lambda n: good() if n == 8 else bad(status), [["m"]])
    entry = await run(tmp_path, server)
    assert (entry["response"]["status_code"], len(server.bodies)) == (200, 9)


@pytest.mark.parametrize("status", [429, 503])
async def test_what_does_not_pass_is_an_error_in_the_end(tmp_path: Path, status: int) -> None:
    entry = await run(tmp_path, Server(lambda n: bad(status, "too busy"), [["m"]]), timeout=0.2)
    assert entry["error"] == {"code": f"http_{status}", "message": "too busy"}


async def test_a_request_that_breaks_workers_is_sent_three_times(tmp_path: Path) -> None:
    server = Server(lambda n: bad(500), [["m"]])
    entry = await run(tmp_path, server)
    assert (entry["error"]["code"], len(server.bodies)) == ("http_500", 3)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refusal_is_final(tmp_path: Path, status: int) -> None:
    server = Server(lambda n: bad(status), [["m"]])
    entry = await run(tmp_path, server)
    assert (entry["error"]["code"], len(server.bodies)) == (f"http_{status}", 1)


async def test_a_connection_that_breaks(tmp_path: Path) -> None:
    class Breaking(Server):
        async def complete(self, request: web.Request) -> web.Response:
            answer = await super().complete(request)
            if len(self.bodies) < 3 and request.transport:
                request.transport.close()
            return answer

    server = Breaking(lambda n: good(), [["m"]])
    entry = await run(tmp_path, server)
    assert (entry["error"], len(server.bodies)) == (None, 3)


async def test_a_model_that_is_lost_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one stays, so that there is always one that is ready."""
    monkeypatch.setattr(batch_models, "UNKNOWN_MODEL_TIMEOUT", 0.05)
    server = Server(lambda n: good() if n == 20 else bad(404), [["a", "m"], *[["a"]] * 18, ["a", "m"]])
    entry = await run(tmp_path, server, {"prompt": "x", "model": "m"})
    assert entry["error"] is None


async def test_a_model_that_never_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_models, "UNKNOWN_MODEL_TIMEOUT", 0.05)
    entry = await run(tmp_path, Server(lambda n: bad(404), [["a"]]), {"prompt": "x", "model": "m"})
    assert entry["error"]["code"] == "http_404"


async def test_an_answer_that_is_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "REQUEST_TIMEOUT", 0.1)

    class Slow(Server):
        async def complete(self, request: web.Request) -> web.Response:
            await asyncio.sleep(0.3)
            return good()

    entry = await run(tmp_path, Slow(lambda n: good(), [["m"]]))
    assert entry["response"] is None
    assert entry["error"] == {"code": "timeout", "message": "no answer within 0.1 s"}


async def test_a_model_that_goes_and_does_not_come_back(tmp_path: Path) -> None:
    server = Server(lambda n: web.Response(status=404), [["m"], []])
    with pytest.raises(RequestError, match=r"no model has been ready for 0\.3 s"):
        await run(tmp_path, server, timeout=0.3)
    assert (tmp_path / "out").read_text() == ""


async def test_a_body_without_a_model_gets_one_that_is_ready(tmp_path: Path) -> None:
    """Even if it is another one than at the beginning."""
    server = Server(lambda n: good() if n == 3 else bad(503), [["old"], ["old"], ["new"]])
    await run(tmp_path, server)
    assert [body["model"] for body in server.bodies] == ["old", "old", "new", "new"]
