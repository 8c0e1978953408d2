"""Where the halves of a pair meet: the bootstrap server in a prefill worker, which tells decode workers
where its KV cache is and how it is laid out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any

from dynamo_core.errors import Disconnected, EngineDead, Unknown

NOWHERE: Mapping[str, Any] = {"bootstrap_host": "2.2.2.2", "bootstrap_port": 0, "bootstrap_room": 0}
"""Where SGLang meets nobody: each half answers by itself, without any KV cache moved."""
TIMEOUT = 2.0
"""Seconds in which a bootstrap server must answer; it has nothing else to do."""
_LAYOUT = "/route?prefill_dp_rank=-1&prefill_cp_rank=-1&target_tp_rank=-1&target_pp_rank=-1"


class PrefillPeers:
    """The prefill workers that one decode worker has met.

    SGLang's scheduler itself waits for a bootstrap server that it does not know yet, 15 times 5 seconds
    with all its requests, and ends if the layouts differ. So a new one is asked here first.
    """

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._met: set[tuple[str, int]] = {(NOWHERE["bootstrap_host"], NOWHERE["bootstrap_port"])}

    @contextlib.asynccontextmanager
    async def met(self, host: str, port: int) -> AsyncIterator[None]:
        """For the length of one request. Raises `Disconnected` for a prefill worker that cannot be reached,
        `Unknown` for one that does not fit this decode worker."""
        if (host, port) not in self._met:
            await self._meet(host, port)
            self._met.add((host, port))
        try:
            yield
        except Disconnected:  # ask again before the next one
            self._met.discard((host, port))
            raise

    async def _meet(self, host: str, port: int) -> None:
        try:
            layout = await _layout(host, port)
        except (OSError, HTTPException, ValueError) as error:
            raise Disconnected(
                f"the prefill worker cannot be reached at {host}:{port} ({error}): it is gone, or needs "
                "--kv-transfer-host with an address that decode workers reach"
            ) from error
        if layout["page_size"] != self._page_size:
            raise Unknown(
                f"prefill and decode worker must have the same page-size, but the one at {host}:{port} has "
                f"{layout['page_size']} and this one {self._page_size}: start both with the same --page-size"
            )


async def check_own_server(host: str, port: int) -> None:
    """Raise `EngineDead` if the prefill worker that has just started would not be found."""
    try:
        await _layout(host, port)
    except (OSError, HTTPException, ValueError) as error:
        raise EngineDead(f"SGLang's bootstrap server does not answer at {host}:{port}: {error}") from error


async def _layout(host: str, port: int) -> Mapping[str, Any]:
    return await asyncio.to_thread(_get_layout, host, port)


def _get_layout(host: str, port: int) -> Mapping[str, Any]:
    connection = HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", _LAYOUT)
        response = connection.getresponse()
        body = response.read().decode()
    finally:
        connection.close()
    if response.status != 200:
        raise HTTPException(f"{response.status}: {body}")
    layout: Mapping[str, Any] = json.loads(body)
    return layout
