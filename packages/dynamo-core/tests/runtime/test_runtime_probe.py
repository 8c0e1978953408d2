"""When a handler is asked whether it answers, and what is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from dynamo_core.errors import Unknown
from dynamo_core.runtime.probe import Probe, watch_answers
from dynamo_core.runtime.streams import Streams

PROBE = Probe({"probe": True}, interval=0.05, timeout=0.1)


class Engine:
    """Answers, hangs or fails, as told."""

    def __init__(self) -> None:
        self.mood = "good"
        self.asked = 0

    async def generate(self, request: Any) -> AsyncGenerator[str, None]:
        assert request == PROBE.request
        self.asked += 1
        if self.mood == "hangs":
            await asyncio.sleep(60)
        if self.mood == "fails":
            raise Unknown("out of order")
        yield "token"


def watching(engine: Engine) -> tuple[Streams, list[bool], asyncio.Future[None]]:
    streams, told = Streams(engine.generate), list[bool]()
    return streams, told, asyncio.ensure_future(watch_answers("a.b.c", streams, PROBE, told.append))


def test_only_changes_are_told() -> None:
    async def scenario() -> None:
        engine = Engine()
        _, told, watch = watching(engine)
        for mood, expected in (("good", []), ("hangs", [False]), ("good", [False, True])):
            engine.mood = mood
            await asyncio.sleep(0.5)
            assert told == expected
        engine.mood = "fails"
        await asyncio.sleep(0.3)
        assert told == [False, True, False]
        watch.cancel()

    asyncio.run(scenario())


def test_an_engine_that_answers_others_is_not_asked() -> None:
    async def scenario() -> None:
        engine = Engine()
        streams, told, watch = watching(engine)
        for _ in range(20):
            streams.chunks += 1
            await asyncio.sleep(0.02)
        assert engine.asked == 0
        assert told == []
        watch.cancel()

    asyncio.run(scenario())


def test_a_full_engine_is_not_taken_for_one_that_hangs() -> None:
    """The probe waits in the queue while others get their tokens."""

    async def scenario() -> None:
        engine = Engine()
        engine.mood = "hangs"
        streams, told, watch = watching(engine)
        while not engine.asked:
            await asyncio.sleep(0.01)
        streams.chunks += 1
        await asyncio.sleep(0.1)
        assert told == []
        watch.cancel()

    asyncio.run(scenario())
