"""Being ready only while the other half of a pair is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dynamo_core.runtime.client import Client

logger = logging.getLogger(__name__)

INTERVAL = 0.25
"""Seconds between two looks at what discovery has told this process already."""


async def watch_peers(path: str, peers: Client, ready: Callable[[bool], None]) -> None:
    """Call `ready` with whether `peers` has an instance, now and whenever that changes; never ends."""
    is_ready: bool | None = None
    while True:
        found = bool(peers.instance_ids())
        if found is not is_ready:
            is_ready = found
            ready(found)
            if not found:
                logger.warning("%s is not ready: it needs an instance of %s", path, peers.path)
        await asyncio.sleep(INTERVAL)
