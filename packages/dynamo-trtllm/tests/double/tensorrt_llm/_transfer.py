"""How the double's KV caches, which are the tokens that they are made of, get from one process to another."""

from __future__ import annotations

import asyncio
import itertools
import json
import socketserver
import threading
import time
from collections.abc import Sequence
from typing import Any

from tensorrt_llm.executor.utils import RequestError

PIECE_DELAY = 0.01
"""Seconds for each piece of `max_tokens_in_buffer` tokens."""
FIRST_ID = 2**63 + 1
"""So that an id that is taken for a signed number on the way is seen."""
PREFIX = b"\x00\xff"
"""So that state that is taken for text on the way is seen."""


class Transceiver:
    """Keeps the caches of this process until they are fetched, once, and fetches those of others."""

    def __init__(self, config: Any) -> None:
        self._buffer = config.max_tokens_in_buffer or 1 << 20
        self._timeout = (
            None if config.kv_transfer_timeout_ms is None else config.kv_transfer_timeout_ms / 1000
        )
        self._kept: dict[int, list[int]] = {}
        self._ids = itertools.count(FIRST_ID)
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._serve)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.endpoint = f"tcp://127.0.0.1:{self._server.server_address[1]}"

    def keep(self, tokens: Sequence[int]) -> tuple[int, bytes]:
        """The request's id, and what its other half needs to find the cache."""
        id_ = next(self._ids)
        self._kept[id_] = list(tokens)
        return id_, PREFIX + json.dumps([self._server.server_address[1], id_]).encode()

    async def fetch(self, opaque_state: bytes) -> list[int]:
        """Raises `RequestError` if it cannot be had, `TimeoutError` if it does not come."""
        port, id_ = json.loads(opaque_state.removeprefix(PREFIX))
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"%d\n" % id_)
                answer = await reader.read()
                writer.close()
            return list(json.loads(answer))
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise RequestError(f"KV cache transfer of {id_} failed: {error!r}") from error

    def shutdown(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request: Any, _address: Any, _server: Any) -> None:
        id_ = int(request.makefile().readline())
        tokens = self._kept.pop(id_, None)
        text = json.dumps(tokens).encode() if tokens is not None else b""
        for begin in range(0, len(tokens or ()), self._buffer):
            print(f"double: sending from token {begin}", flush=True)
            time.sleep(PIECE_DELAY)
        request.sendall(text)
