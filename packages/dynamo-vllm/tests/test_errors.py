"""What a client reads when vLLM refuses, is full or has died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated

import pytest
from pydantic import AfterValidator, TypeAdapter, ValidationError
from vllm.exceptions import QueueOverflowError, VLLMNotFoundError, VLLMValidationError
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from dynamo_core.errors import Disconnected, EngineShutdown, InvalidArgument
from dynamo_vllm.errors import engine_errors, readable


def wrapped(cause: Exception) -> EngineGenerateError:
    error = EngineGenerateError()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "translated", "message"),
    [
        (VLLMValidationError("n must be at least 1."), InvalidArgument, "n must be at least 1."),
        (
            VLLMValidationError("top_p must be in (0, 1], got 2.", parameter="top_p", value=2),
            InvalidArgument,
            "top_p must be in (0, 1], got 2.",
        ),
        (VLLMNotFoundError("no adapter named a"), InvalidArgument, "no adapter named a"),
        (ValueError("rank 3 is out of range"), InvalidArgument, "rank 3 is out of range"),
        (wrapped(ValueError("top_k must be set")), InvalidArgument, "top_k must be set"),
        (wrapped(VLLMValidationError("no", parameter="a", value=1)), InvalidArgument, "no"),
        (QueueOverflowError(), Disconnected, "currently busy"),
        (EngineDeadError(), EngineShutdown, "engine process died"),
    ],
)
def test_translation(error: Exception, translated: type[Exception], message: str) -> None:
    with pytest.raises(translated) as caught, engine_errors():
        raise error
    assert message in str(caught.value)
    assert "parameter=" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyError("defect"), wrapped(KeyError("defect")), EngineGenerateError()])
def test_a_defect_passes_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, engine_errors():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("error", [InvalidArgument("ours"), EngineShutdown("ours")])
def test_what_is_translated_already_passes_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, engine_errors():
        raise error
    assert caught.value is error


def test_a_pydantic_error_names_the_field_in_one_line() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(dict[str, list[int]]).validate_python({"choice": ["x"]})
    message = readable(caught.value)
    assert message.startswith("choice.0: Input should be a valid integer")
    assert "\n" not in message


def test_a_setting_that_vllm_refuses_at_start_is_its_own_sentence() -> None:
    def refuse(value: int) -> int:
        raise ValueError("heads (4) must be divisible by 3.")

    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Annotated[int, AfterValidator(refuse)]).validate_python(3)
    assert readable(caught.value) == "heads (4) must be divisible by 3."


def test_an_error_without_a_message_has_its_name() -> None:
    assert readable(ValueError()) == "ValueError"


async def _outputs(error: BaseException) -> AsyncIterator[int]:
    yield 1
    raise error


async def _handler(error: BaseException) -> AsyncGenerator[int]:
    with engine_errors():
        async for output in _outputs(error):
            yield output


def test_an_engine_that_dies_in_mid_stream() -> None:
    seen: list[int] = []

    async def consume() -> None:
        async for output in _handler(EngineDeadError()):
            seen.append(output)

    with pytest.raises(EngineShutdown):
        asyncio.run(consume())
    assert seen == [1]


def test_cancellation_and_closing_pass_unchanged() -> None:
    async def consume() -> None:
        async for _ in _handler(asyncio.CancelledError()):
            pass

    async def close() -> None:
        stream = _handler(EngineDeadError())
        assert await anext(stream) == 1
        await stream.aclose()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(consume())
    asyncio.run(close())
