"""Vectors through the frontend are those that vLLM computes alone."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from dynamo_core import environment
from dynamo_core.testing.engine_checks import START_TIMEOUT
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.processes import Stack
from dynamo_core.testing.tiny_model import CONTEXT_LENGTH, encode

TEXTS = ["the quick brown fox", "jumps over", "the lazy dog"]
SHORTER = 16
MATRYOSHKA = ("--hf-overrides", json.dumps({"matryoshka_dimensions": [SHORTER, 64]}))
ALONE = """
import json, os, sys
from vllm import LLM
from vllm.inputs import TokensPrompt

if __name__ == "__main__":
    options = {"dtype": "float32", "enforce_eager": True, "block_size": 32, "kv_cache_memory_bytes": 32 << 20}
    llm = LLM(sys.argv[1], runner="pooling", convert="embed", **options)
    prompts = [TokensPrompt(prompt_token_ids=ids) for ids in json.load(sys.stdin)]
    print(json.dumps([output.outputs.embedding for output in llm.embed(prompts)]), flush=True)
    llm.llm_engine.engine_core.shutdown()
    os._exit(0)  # the end of the interpreter now and then aborts in one of vLLM's libraries
"""


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
) -> list[list[float]]:
    """The vectors of `TEXTS`, from a process that has none of our code."""
    script = tmp_path_factory.mktemp("alone") / "alone.py"
    script.write_text(ALONE)
    result = subprocess.run(
        [sys.executable, str(script), str(tiny_model)],
        input=json.dumps([encode(text) for text in TEXTS]),
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        env={**environment.snapshot(), **engine.env},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    line = next(line for line in result.stdout.splitlines() if line.startswith("[["))
    vectors: list[list[float]] = json.loads(line)
    return vectors


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("embeddings"), tiny_model) as stack:
        stack.frontend()
        engine.start(stack, "--runner", "pooling", "--convert", "embed", *MATRYOSHKA)
        stack.wait_ready(START_TIMEOUT)
        yield stack


def test_vectors_are_the_engines_own(served: Stack, alone: list[list[float]]) -> None:
    answer = served.client().embeddings.create(model="tiny", input=TEXTS)
    assert [item.index for item in answer.data] == [0, 1, 2]
    for item, expected in zip(answer.data, alone, strict=True):
        assert item.embedding == pytest.approx(expected, abs=1e-5)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(map(len, TEXTS))


def test_one_text_and_tokens_are_taken_too(served: Stack, alone: list[list[float]]) -> None:
    for given in (TEXTS[1], encode(TEXTS[1])):
        answer = served.client().embeddings.create(model="tiny", input=given, encoding_format="float")
        assert answer.data[0].embedding == pytest.approx(alone[1], abs=1e-5)
    raw = served.client().embeddings.with_raw_response.create(
        model="tiny", input=TEXTS[1], encoding_format="base64"
    )
    packed = base64.b64decode(json.loads(raw.content)["data"][0]["embedding"])
    assert struct.unpack(f"<{len(packed) // 4}f", packed) == pytest.approx(alone[1], abs=1e-5)


def test_fewer_dimensions_where_the_model_has_them(served: Stack, alone: list[list[float]]) -> None:
    answer = served.client().embeddings.create(model="tiny", input=TEXTS[0], dimensions=SHORTER)
    vector = answer.data[0].embedding
    length = sum(number**2 for number in alone[0][:SHORTER]) ** 0.5
    assert vector == pytest.approx([number / length for number in alone[0][:SHORTER]], abs=1e-5)
    with pytest.raises(openai.BadRequestError, match="17"):
        served.client().embeddings.create(model="tiny", input=TEXTS[0], dimensions=17)


def test_a_text_that_is_too_long_refuses_the_whole_request(served: Stack) -> None:
    with pytest.raises(openai.BadRequestError, match=str(CONTEXT_LENGTH)):
        served.client().embeddings.create(model="tiny", input=[TEXTS[0], "x" * (CONTEXT_LENGTH + 1)])
    assert served.client().embeddings.create(model="tiny", input=TEXTS)


def test_such_a_model_does_not_chat(served: Stack) -> None:
    with pytest.raises(openai.NotFoundError):
        served.client().chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}])


def test_a_model_that_classifies_is_refused(stack: Stack, engine: EngineUnderTest) -> None:
    worker = engine.start(stack, "--runner", "pooling", "--convert", "classify")
    assert worker.wait(START_TIMEOUT) == 2
    assert "vLLM has loaded this one for" in worker.output
