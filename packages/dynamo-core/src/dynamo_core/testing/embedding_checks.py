"""The checks that an engine's embedding models pass: vectors through the frontend are those that the engine
computes alone."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import openai
import pytest

from dynamo_core.testing.engine_checks import START_TIMEOUT
from dynamo_core.testing.processes import Stack
from dynamo_core.testing.tiny_model import CONTEXT_LENGTH, encode

if TYPE_CHECKING:
    from dynamo_core.testing.engines import EngineUnderTest

TEXTS = ["the quick brown fox", "jumps over", "the lazy dog"]
DIMENSIONS = 64
SHORTER = 16
MATRYOSHKA = json.dumps({"matryoshka_dimensions": [SHORTER, DIMENSIONS]})
"""What a model's configuration says that has vectors of both lengths."""


class EmbeddingChecks:
    """Subclass it as `class TestMyEmbeddings(EmbeddingChecks)` beside the fixture `engine`."""

    script: Path
    """Prints the vectors that the engine alone makes of tokens: `script MODEL`."""
    flags: tuple[str, ...]
    """What makes a worker serve the tiny model's vectors, in both lengths of `MATRYOSHKA`."""
    tolerance = 1e-5

    @pytest.fixture(scope="class")
    def alone(self, engine: EngineUnderTest, tiny_model: Path) -> list[list[float]]:
        """The vectors of `TEXTS`."""
        vectors: list[list[float]] = engine.alone(
            self.script, tiny_model, asked=[encode(text) for text in TEXTS]
        )
        return vectors

    @pytest.fixture(scope="class")
    def served(
        self, tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
    ) -> Iterator[Stack]:
        with Stack(tmp_path_factory.mktemp("embeddings"), tiny_model) as stack:
            stack.frontend()
            engine.start(stack, *self.flags)
            stack.wait_ready(START_TIMEOUT)
            yield stack

    def test_vectors_are_the_engines_own(self, served: Stack, alone: list[list[float]]) -> None:
        answer = served.client().embeddings.create(model="tiny", input=TEXTS)
        assert [item.index for item in answer.data] == [0, 1, 2]
        for item, expected in zip(answer.data, alone, strict=True):
            assert len(expected) == DIMENSIONS
            assert item.embedding == pytest.approx(expected, abs=self.tolerance)
        assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(map(len, TEXTS))

    def test_one_text_and_tokens_are_taken_too(self, served: Stack, alone: list[list[float]]) -> None:
        expected = pytest.approx(alone[1], abs=self.tolerance)
        for given in (TEXTS[1], encode(TEXTS[1])):
            answer = served.client().embeddings.create(model="tiny", input=given, encoding_format="float")
            assert answer.data[0].embedding == expected
        raw = served.client().embeddings.with_raw_response.create(
            model="tiny", input=TEXTS[1], encoding_format="base64"
        )
        packed = base64.b64decode(json.loads(raw.content)["data"][0]["embedding"])
        assert struct.unpack(f"<{len(packed) // 4}f", packed) == expected

    def test_fewer_dimensions_where_the_model_has_them(self, served: Stack, alone: list[list[float]]) -> None:
        answer = served.client().embeddings.create(model="tiny", input=TEXTS[0], dimensions=SHORTER)
        first = alone[0][:SHORTER]
        length = sum(number**2 for number in first) ** 0.5
        assert answer.data[0].embedding == pytest.approx(
            [number / length for number in first], abs=self.tolerance
        )
        with pytest.raises(openai.BadRequestError, match=r"17|only supports"):
            served.client().embeddings.create(model="tiny", input=TEXTS[0], dimensions=17)

    def test_a_text_that_is_too_long_refuses_the_whole_request(self, served: Stack) -> None:
        with pytest.raises(openai.BadRequestError, match=str(CONTEXT_LENGTH)):
            served.client().embeddings.create(model="tiny", input=[TEXTS[0], "x" * (CONTEXT_LENGTH + 1)])
        assert served.client().embeddings.create(model="tiny", input=TEXTS)

    def test_such_a_model_does_not_chat(self, served: Stack) -> None:
        with pytest.raises(openai.NotFoundError):
            served.client().chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "hi"}]
            )
