"""How chunks leave, with a double of the Rust side that blocks as the real one does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from dynamo_core.errors import EngineShutdown, InvalidArgument
from dynamo_core.runtime.egress import ROOM, Coalescing
from dynamo_core.runtime.streams import Streams

LIMIT = 10.0


class Client:
    """Takes what is sent to it while it is not `asleep`; a double of `ResponseSender`."""

    def __init__(self) -> None:
        self.chunks: list[Any] = []
        self.times: list[float] = []
        self.awake = threading.Event()
        self.awake.set()
        self.is_gone = False

    def send(self, chunk: Any) -> None:
        self.awake.wait(LIMIT)
        if self.is_gone:
            raise RuntimeError("response stream is closed; the consumer dropped the response stream")
        if chunk == "unspeakable":
            raise ValueError("cannot be put on the wire")
        self.chunks.append(chunk)
        self.times.append(time.monotonic())

    @property
    def tokens(self) -> list[int]:
        return [token for chunk in self.chunks for token in chunk["token_ids"]]


class Asked:
    """The runtime's view of a request whose client stays, until it `leaves`."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()

    async def async_killed_or_stopped(self) -> None:
        await self.leaves.wait()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), LIMIT))


async def serve(streams: Streams, client: Client, request: Any = None, asked: Asked | None = None) -> None:
    """As the Rust side does it."""
    context: Any = asked or Asked()
    with pytest.raises(StopAsyncIteration):
        await anext(streams.serve(request, context, client))


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.005)


async def count(request: int) -> AsyncGenerator[dict[str, Any], None]:
    """So many tokens, one by one, never waiting for anything."""
    for token in range(request):
        yield {"token_ids": [token]}


def test_everything_arrives_in_order() -> None:
    async def scenario() -> None:
        streams, clients = Streams(count), [Client() for _ in range(20)]
        await asyncio.gather(*(serve(streams, client, 3000) for client in clients))
        assert all(client.tokens == list(range(3000)) for client in clients)
        assert len(streams) == 0

    run(scenario)


def test_what_is_ready_leaves_in_one_chunk() -> None:
    async def scenario() -> None:
        client, go_on = Client(), asyncio.Event()

        async def generate(request: Any) -> AsyncGenerator[Any, None]:
            yield {"token_ids": [0]}
            await until(lambda: bool(client.chunks))
            client.awake.clear()
            for token in (1, 2, 3):
                yield {"token_ids": [token]}
                await asyncio.sleep(0.02)
            await go_on.wait()

        serving = asyncio.ensure_future(serve(Streams(generate), client))
        await asyncio.sleep(0.2)
        client.awake.set()
        go_on.set()
        await serving
        assert client.chunks == [{"token_ids": [0]}, {"token_ids": [1]}, {"token_ids": [2, 3]}]

    run(scenario)


def test_a_client_that_sleeps_stops_nobody_else() -> None:
    """P22: without a thread for it, the worker would stand still."""

    async def scenario() -> None:
        streams, sleeper, others = Streams(count), Client(), [Client() for _ in range(5)]
        sleeper.awake.clear()
        slow = asyncio.ensure_future(serve(streams, sleeper, 2000))
        await until(lambda: len(streams) == 1)
        for other in others:
            await asyncio.wait_for(serve(streams, other, 100), 2)
            assert other.tokens == list(range(100))
        sleeper.awake.set()
        await slow
        assert sleeper.tokens == list(range(2000))

    run(scenario)


def test_a_handler_waits_for_a_client_that_sleeps() -> None:
    async def scenario() -> None:
        streams, sleeper = Streams(count), Client()
        sleeper.awake.clear()
        slow = asyncio.ensure_future(serve(streams, sleeper, 100_000))
        await asyncio.sleep(0.3)
        assert streams.chunks <= 2 * ROOM
        sleeper.awake.set()
        await slow
        assert len(sleeper.tokens) == 100_000

    run(scenario)


def test_no_thread_stays_for_clients_that_have_slept() -> None:
    async def scenario() -> None:
        before = set(threading.enumerate())
        streams, clients = Streams(count), [Client() for _ in range(3)]
        for client in clients:
            client.awake.clear()
        slow = [asyncio.ensure_future(serve(streams, client, 1000)) for client in clients]
        await asyncio.sleep(0.6)
        for client in clients:
            client.awake.set()
        await asyncio.gather(*slow)
        streams.close()
        await until(lambda: set(threading.enumerate()) <= before)

    run(scenario)


def test_a_client_that_has_left_ends_the_handler() -> None:
    async def scenario() -> None:
        client, ended = Client(), asyncio.Event()

        async def generate(request: Any) -> AsyncGenerator[Any, None]:
            try:
                while True:
                    yield {"token_ids": [1]}
                    await asyncio.sleep(0.001)
            finally:
                ended.set()

        serving = asyncio.ensure_future(serve(Streams(generate), client))
        await until(lambda: bool(client.chunks))
        client.is_gone = True
        await serving
        assert ended.is_set()

    run(scenario)


def test_a_client_that_leaves_ends_a_handler_that_waits() -> None:
    async def scenario() -> None:
        client, asked, ended = Client(), Asked(), asyncio.Event()

        async def generate(request: Any) -> AsyncGenerator[Any, None]:
            try:
                yield {"token_ids": [1]}
                await asyncio.sleep(LIMIT)
            finally:
                ended.set()

        serving = asyncio.ensure_future(serve(Streams(generate), client, asked=asked))
        await until(lambda: bool(client.chunks))
        asked.leaves.set()
        await serving
        assert ended.is_set()
        assert client.tokens == [1]

    run(scenario)


@pytest.mark.parametrize("error", [InvalidArgument("no"), KeyError("a defect")])
def test_an_error_comes_after_what_was_said_before(error: Exception) -> None:
    async def scenario() -> None:
        client, context = Client(), Asked()

        async def generate(request: Any) -> AsyncGenerator[Any, None]:
            for token in (1, 2):
                yield {"token_ids": [token]}
            raise error

        with pytest.raises(Exception, match=r"no|a defect"):
            await anext(Streams(generate).serve(None, context, client))  # type: ignore[arg-type]
        assert client.tokens == [1, 2]

    run(scenario)


def test_a_chunk_that_cannot_be_sent_is_an_error_of_its_handler() -> None:
    async def scenario() -> None:
        client, context = Client(), Asked()

        async def generate(request: Any) -> AsyncGenerator[Any, None]:
            yield "unspeakable"

        with pytest.raises(ValueError, match="cannot be put on the wire"):
            await anext(Streams(generate).serve(None, context, client))  # type: ignore[arg-type]

    run(scenario)


def test_streams_that_are_ended_say_what_they_had_to_say() -> None:
    async def scenario() -> None:
        client, context = Client(), Asked()

        async def generate(request: Any) -> AsyncGenerator[Any, None]:
            yield {"token_ids": [1]}
            await asyncio.sleep(LIMIT)

        streams = Streams(generate)
        serving = asyncio.ensure_future(anext(streams.serve(None, context, client)))  # type: ignore[arg-type]
        await until(lambda: streams.chunks == 1)
        streams.end_all(EngineShutdown("stopped"))
        with pytest.raises(Exception, match="stopped"):
            await serving
        assert client.tokens == [1]

    run(scenario)


def test_a_window_keeps_chunks_apart_but_for_the_first_and_the_last() -> None:
    async def scenario() -> None:
        client = Client()

        async def generate(request: Any) -> AsyncGenerator[Any, None]:
            for token in range(40):
                yield {"token_ids": [token]}
                await asyncio.sleep(0.01)
            yield {"token_ids": [40], "finish_reason": "stop"}
            ended.append(time.monotonic())

        ended: list[float] = []
        began = time.monotonic()
        await serve(Streams(generate, Coalescing(window=0.1)), client)
        assert client.tokens == list(range(41))
        assert client.chunks[0] == {"token_ids": [0]}
        assert client.times[0] - began < 0.08
        gaps = [b - a for a, b in zip(client.times, client.times[1:-1], strict=False)]
        assert all(gap > 0.07 for gap in gaps)
        assert len(client.chunks) < 12
        assert client.times[-1] - ended[0] < 0.08

    run(scenario)


def test_a_window_ends_early_with_enough_tokens() -> None:
    async def scenario() -> None:
        client = Client()

        async def generate(request: Any) -> AsyncGenerator[Any, None]:
            for token in range(21):
                yield {"token_ids": [token]}
                await asyncio.sleep(0.002)

        await serve(Streams(generate, Coalescing(window=LIMIT, tokens=5)), client)
        assert client.tokens == list(range(21))
        assert all(len(chunk["token_ids"]) >= 5 for chunk in client.chunks[1:])

    run(scenario)


def test_what_waits_when_a_handler_goes_silent_leaves_with_its_window() -> None:
    async def scenario() -> None:
        client = Client()

        async def generate(request: Any) -> AsyncGenerator[Any, None]:
            yield {"token_ids": [0]}
            yield {"token_ids": [1]}
            await until(lambda: client.tokens == [0, 1])

        await serve(Streams(generate, Coalescing(window=0.05)), client)
        assert client.tokens == [0, 1]

    run(scenario)
