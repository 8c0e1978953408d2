"""The fields of TensorRT-LLM's arguments as flags and as keys; the fields are those of the double."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from dynamo_trtllm.args import TRTLLM, build_parser
from dynamo_trtllm.worker import parser
from tensorrt_llm.llmapi import KvCacheConfig, TorchLlmArgs

from dynamo_core.errors import UserError


def given(*argv: str) -> dict[str, Any]:
    return vars(parser().resolve(["--model", "m", *argv]).engine.namespace())


def test_every_field_is_a_flag() -> None:
    dests = {action.dest for action in build_parser()._actions}
    assert dests == set(TorchLlmArgs.model_fields)


def test_what_is_not_given_is_left_to_tensorrt_llm() -> None:
    assert given() == {"model": "m"}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("tensor-parallel-size", "2", 2),
        ("max-seq-len", "4096", 4096),
        ("dtype", "float16", "float16"),
        ("dtype", "16", "16"),
        ("tokenizer-mode", "slow", "slow"),
        ("guided-decoding-backend", "xgrammar", "xgrammar"),
        ("kv-cache-config", "{free_gpu_memory_fraction: 0.5}", KvCacheConfig(free_gpu_memory_fraction=0.5)),
        ("pp-partition", "[1, 2]", [1, 2]),
    ],
)
def test_as_flag_and_as_key(tmp_path: Path, key: str, text: str, value: object) -> None:
    name = key.replace("-", "_")
    assert given(f"--{key}", text)[name] == value
    file = tmp_path / "worker.yaml"
    quoted = f"'{text}'" if isinstance(value, str) else text
    file.write_text(f"{key}: {quoted}\n")
    assert given("-f", str(file))[name] == value


@pytest.mark.parametrize(
    ("words", "value"), [(["--enable-chunked-prefill"], True), (["--no-enable-attention-dp"], False)]
)
def test_switches(words: list[str], value: bool) -> None:
    name = words[0].removeprefix("--no-").removeprefix("--").replace("-", "_")
    assert given(*words)[name] is value


def test_all_problems_at_once() -> None:
    argv = [
        "--max-batch-size",
        "0",
        "--tokenizer-mode",
        "fast",
        "--kv-cache-config",
        "{max_tokens: many}",
    ]
    with pytest.raises(UserError) as caught:
        given(*argv)
    assert str(caught.value).splitlines() == [
        "max-batch-size: Input should be greater than 0; found '0' (from --max-batch-size)",
        "tokenizer-mode: input should be one of auto, slow; found 'fast' (from --tokenizer-mode)",
        "kv-cache-config: max_tokens: Input should be a valid integer, unable to parse string as an integer; "
        "found '{max_tokens: many}' (from --kv-cache-config)",
    ]


def test_a_name_that_is_no_longer_shared_is_an_error() -> None:
    arguments = parser().resolve(["--model", "m"])
    options = dataclasses.replace(arguments.engine, engine=dataclasses.replace(TRTLLM, shared={}))
    with pytest.raises(TypeError, match="TensorRT-LLM has options of the same names as ours: model"):
        options.parser()


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("", None),
        ("--max-seq-len 4096", None),
        ("--tensor-parallel-size 4", 4),
        ("--tensor-parallel-size 4 --pipeline-parallel-size 2 --context-parallel-size 2", 16),
        ("--tensor-parallel-size 16 --gpus-per-node 8", 8),
    ],
)
def test_how_many_gpus_a_worker_takes(words: str, count: int | None) -> None:
    assert TRTLLM.gpus is not None
    values, _ = parser().resolve(["--model", "m", *words.split()]).engine.values()
    assert TRTLLM.gpus({value.key: value.value for value in values}) == count
