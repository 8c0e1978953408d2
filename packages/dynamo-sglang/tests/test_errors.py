"""What a client reads when SGLang refuses a request or gives it up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from dynamo_core.errors import Disconnected, EngineShutdown, InvalidArgument, Unknown
from dynamo_sglang.errors import abort_error, engine_errors, raise_if_aborted, readable

BAD_REGEX = (
    "Failed to compile regex grammar: [17:13:23] /project/cpp/regex_converter.cc:83: "
    "Regex parsing error at position 3: Unclosed '['\n"
)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("top_p must be in (0, 1], got 2.", "top_p must be in (0, 1], got 2."),
        ("max_new_tokens must be at least 0, got -1.", "max_tokens must be at least 0, got -1."),
        (
            "sampling_seed must be in [-2**63, 2**63 - 1], got 7.",
            "seed must be in [-2**63, 2**63 - 1], got 7.",
        ),
        (BAD_REGEX, "Failed to compile regex grammar: Regex parsing error at position 3: Unclosed '['"),
        (
            "Failed to compile structural_tag grammar: Grammar compilation failed: ",
            "Failed to compile structural_tag grammar: Grammar compilation failed",
        ),
        ("input_ids cannot be empty.", "token_ids cannot be empty."),
    ],
)
def test_messages_are_readable(message: str, told: str) -> None:
    assert readable(message) == told


def test_a_refused_request() -> None:
    refused = ValueError("min_p must be in [0, 1], got 2.")
    with pytest.raises(InvalidArgument) as caught, engine_errors():
        raise refused
    assert "min_p must be in [0, 1], got 2." in str(caught.value)
    assert caught.value.__cause__ is refused


@pytest.mark.parametrize(
    "error", [TypeError("defect"), KeyError("defect"), InvalidArgument("ours"), EngineShutdown("ours")]
)
def test_everything_else_passes_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, engine_errors():
        raise error
    assert caught.value is error


async def test_a_whole_stream_can_be_wrapped() -> None:
    async def engine() -> AsyncIterator[int]:
        yield 1
        raise ValueError("top_k must be -1 (disable) or at least 1, got 0.")

    async def worker() -> AsyncGenerator[int, None]:
        with engine_errors():
            async for item in engine():
                yield item

    items = worker()
    assert await anext(items) == 1
    with pytest.raises(InvalidArgument):
        await anext(items)


async def test_cancelling_a_wrapped_stream_is_not_an_error_of_the_engine() -> None:
    async def worker() -> None:
        with engine_errors():
            await asyncio.Event().wait()

    task = asyncio.create_task(worker())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def aborted(status: int | None, message: str) -> dict[str, Any]:
    return {"type": "abort", "message": message, "status_code": status, "err_type": None}


@pytest.mark.parametrize(
    ("reason", "error", "told"),
    [
        (aborted(400, BAD_REGEX), InvalidArgument, "Unclosed '['"),
        (aborted(503, "The request queue is full."), Disconnected, "The request queue is full."),
    ],
)
def test_aborts_that_are_errors(reason: dict[str, Any], error: type[Exception], told: str) -> None:
    raised = abort_error(reason)
    assert isinstance(raised, error)
    assert told in str(raised)


@pytest.mark.parametrize(
    "reason",
    [
        aborted(None, "Aborted"),
        {"type": "abort", "message": "Abort in waiting queue"},
        aborted(500, "Out of memory even after retracting all other requests in the decode batch."),
    ],
)
def test_aborts_that_end_the_stream(reason: dict[str, Any]) -> None:
    assert abort_error(reason) is None


LOST = "Lost connection with prefill instance (bootstrap_addr: 127.0.0.1:8998)"
SLOW = "Request 7 timed out after 120.0s in KVPoll.WaitingForInput"


@pytest.mark.parametrize(
    ("message", "kind", "told"),
    [
        (
            "Decode transfer failed for request rank=0 decode_req.req.rid='a' "
            f"decode_req.req.bootstrap_room=7 with exception KVTransferError(bootstrap_room=7): {LOST}",
            Disconnected,
            f"worker: {LOST}",
        ),
        (
            "Decode handshake failed for request rank=0 decode_req.req.rid='a' "
            f"decode_req.req.bootstrap_room=7 with exception KVTransferError(bootstrap_room=7): {SLOW}",
            Unknown,
            f"worker: {SLOW}",
        ),
        (
            "Prefill bootstrap failed for request rank=0 req.rid='a' req.bootstrap_room=7",
            Disconnected,
            "by the prefill to the decode worker",
        ),
    ],
)
def test_a_pair_that_has_lost_each_other(message: str, kind: type[Exception], told: str) -> None:
    reason = {"type": "abort", "status_code": 500, "message": message}
    error = abort_error(reason)
    assert type(error) is kind
    assert "the KV cache was not handed over" in str(error)
    assert told in str(error)
    with pytest.raises(kind):
        raise_if_aborted(reason)


def test_a_request_that_was_given_up_is_an_error_to_whom_it_matters() -> None:
    raise_if_aborted(None)
    raise_if_aborted({"type": "length", "length": 1})
    with pytest.raises(Unknown, match="Aborted"):
        raise_if_aborted({"type": "abort", "message": "Aborted"})
