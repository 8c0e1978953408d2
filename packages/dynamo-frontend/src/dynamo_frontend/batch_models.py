"""The models that a batch is for: which are ready, and how long to wait for one that is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from dynamo_core.errors import RequestError
from dynamo_frontend.batch_progress import Counts
from dynamo_frontend.local import MODEL_INTERVAL, ready_models

if TYPE_CHECKING:
    from aiohttp import ClientSession

UNKNOWN_MODEL_TIMEOUT = 10.0
"""Seconds after which a model is believed not to exist, while others are there. A model that has just
come is unknown for a moment, too."""


class Place(NamedTuple):
    """What a request is sent to."""

    model: str
    url: str


class Outage(NamedTuple):
    """A place that has only failed of late."""

    is_unknown: bool
    since: float
    """By the loop's time."""


class Models:
    """Which models are ready, asked only while that is in doubt."""

    def __init__(self, session: ClientSession, counts: Counts, timeout: float) -> None:
        self._session = session
        self._counts = counts
        self._timeout = timeout
        self._ready: list[str] = []
        self._seen: set[str] = set()
        self._asking = asyncio.Lock()
        self._outages: dict[Place, Outage] = {}

    async def ready(self) -> list[str]:
        """The models that are ready, once there is one. Raises `RequestError` if none comes in time."""
        async with self._asking:
            if not self._ready:
                self._ready = await self._wait()
                self._seen.update(self._ready)
            return self._ready

    def works(self, place: Place) -> None:
        """A request was answered there, or refused for its own sake."""
        self._outages.pop(place, None)

    async def may_return(self, place: Place, status: int, since: float) -> bool:
        """Whether to send a request once more that has failed there, with `status`, since `since`.

        It may as long as its model is away, or too busy, for less than the timeout; the time that
        other requests have waited counts, so that they do not wait one after the other.
        """
        self._ready = []
        ready = await self.ready()
        is_lost = place.model in self._seen and place.model not in ready
        is_unknown = status == 404 and not is_lost
        now = asyncio.get_running_loop().time()
        outage = self._outages.get(place)
        if outage is None or outage.is_unknown != is_unknown:
            outage = self._outages[place] = Outage(is_unknown, now)
        patience = UNKNOWN_MODEL_TIMEOUT if is_unknown else self._timeout
        return now - outage.since < patience and now - since < self._timeout

    async def _wait(self) -> list[str]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        try:
            while not (models := await ready_models(self._session)):
                self._counts.is_waiting = True
                if loop.time() > deadline:
                    raise RequestError(
                        f"no model has been ready for {self._timeout:g} s (--batch-wait-timeout); "
                        "start a worker, then the same command goes on"
                    )
                await asyncio.sleep(MODEL_INTERVAL)
            return models
        finally:
            self._counts.is_waiting = False
