"""What a decode worker asks a prefill worker that it has not met yet."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from dynamo_core.errors import Disconnected, EngineDead, Unknown
from dynamo_sglang.bootstrap import NOWHERE, PrefillPeers, check_own_server

HOST = "127.0.0.1"


@pytest.fixture
def serve() -> Iterator[Callable[[int, object], tuple[int, list[str]]]]:
    """A bootstrap server that answers as it is told; its port, and what it has been asked."""
    servers = []

    def start(status: int, answer: object) -> tuple[int, list[str]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *args: Any) -> None:
                pass

        server = HTTPServer((HOST, 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_port, asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


async def test_one_that_fits_is_asked_once(serve: Any) -> None:
    port, asked = serve(200, {"page_size": 16})
    peers = PrefillPeers(page_size=16)
    for _ in range(2):
        async with peers.met(HOST, port):
            pass
    assert len(asked) == 1


async def test_one_that_was_lost_is_asked_again(serve: Any) -> None:
    port, asked = serve(200, {"page_size": 16})
    peers = PrefillPeers(page_size=16)
    with pytest.raises(Disconnected, match="lost"):
        async with peers.met(HOST, port):
            raise Disconnected("lost")
    async with peers.met(HOST, port):
        pass
    assert len(asked) == 2


async def test_one_with_other_blocks_is_an_error_that_says_so(serve: Any) -> None:
    port, _ = serve(200, {"page_size": 64})
    with pytest.raises(Unknown) as caught:
        async with PrefillPeers(page_size=16).met(HOST, port):
            pass
    assert f"the one at {HOST}:{port} has 64 and this one 16" in str(caught.value)
    assert "start both with the same --page-size" in str(caught.value)


async def test_one_that_is_not_there(serve: Any) -> None:
    port, _ = serve(503, "not yet")
    with pytest.raises(Disconnected, match=rf"cannot be reached at {HOST}:{port} \(503: .not yet.\)"):
        async with PrefillPeers(page_size=16).met(HOST, port):
            pass
    with pytest.raises(EngineDead, match=f"does not answer at {HOST}:{port}"):
        await check_own_server(HOST, port)


async def test_a_probe_asks_nobody() -> None:
    async with PrefillPeers(page_size=16).met(NOWHERE["bootstrap_host"], NOWHERE["bootstrap_port"]):
        pass
