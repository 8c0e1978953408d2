"""Every option of SGLang, and every form that SGLang gives one, means what SGLang says it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_core.testing.engine_options import (
    EngineOptionChecks,
    OptionsUnderTest,
    assert_same,
    suggestions,
)
from dynamo_sglang.args import SGLANG
from dynamo_sglang.worker import parser

OPTIONS = OptionsUnderTest(SGLANG, parser, samples={"cuda_graph_config": {"decode": {"max_bs": 7}}})

FILE = """
model: Qwen/Qwen3-0.6B
served-model-name: qwen
namespace: team
status-port: 9090
drain-timeout: 2.5
log-level: debug
rpc-host: 192.0.2.7

tp-size: 2
pipeline-parallel-size: 3
dp-size: 4
dtype: bfloat16
random-seed: 7
context_length: 4k
max-total-tokens: 8Ki
max-running-requests: 16
chunked-prefill-size: -1
mem-fraction-static: 0.5
page-size: 16
quantization: fp8
kv-cache-dtype: fp8_e5m2
attention-backend: torch_native
disable-radix-cache: true
enable-metrics: false
no-dllm-fdfo: true
trust-remote-code: true
tokenizer-path: 'yes'
revision: 2024-01-01
fastapi-root-path: ''
log-requests-target: [stdout, here]
cuda-graph-bs-decode: [1, 2, 4]
json-model-override-args: {rope_scaling: {rope_type: yarn, factor: 2.0}}
preferred-sampling-params: {temperature: 0.5}
cuda-graph-config:
  decode:
    max_bs: 7
sidecar-args: [a, --b]
lora-paths: [{lora_name: a, lora_path: b}, c=d]
watchdog-timeout: 600
"""
EXPECTED = {
    "model_path": "Qwen/Qwen3-0.6B",
    "served_model_name": "qwen",
    "log_level": "debug",
    "host": "192.0.2.7",
    "tp_size": 2,
    "pp_size": 3,
    "dp_size": 4,
    "dtype": "bfloat16",
    "random_seed": 7,
    "context_length": 4000,
    "max_total_tokens": 8192,
    "max_running_requests": 16,
    "chunked_prefill_size": -1,
    "mem_fraction_static": 0.5,
    "page_size": 16,
    "quantization": "fp8",
    "kv_cache_dtype": "fp8_e5m2",
    "attention_backend": "torch_native",
    "disable_radix_cache": True,
    "enable_metrics": False,
    "dllm_fdfo": False,
    "trust_remote_code": True,
    "tokenizer_path": "yes",
    "revision": "2024-01-01",
    "fastapi_root_path": "",
    "log_requests_target": ["stdout", "here"],
    "cuda_graph_bs_decode": [1, 2, 4],
    "json_model_override_args": '{"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}',
    "preferred_sampling_params": {"temperature": 0.5},
    "cuda_graph_config": {"decode": {"max_bs": 7}},
    "sidecar_args": ["a", "--b"],
    "lora_paths": [{"lora_name": "a", "lora_path": "b"}, "c=d"],
    "watchdog_timeout": 600.0,
}


class TestOptions(EngineOptionChecks):
    """One by one and all at once; the checks are core's."""

    options = OPTIONS


def test_there_are_all_of_them() -> None:
    assert len(OPTIONS.options) >= 500


def test_a_file_and_its_words_as_people_write_it(tmp_path: Path) -> None:
    file = tmp_path / "sglang.yaml"
    file.write_text(FILE)
    with OPTIONS.without_variables():
        arguments = parser().resolve(["-f", str(file)])
        words = parser().words(arguments, arguments.engine.values()[0])
        again = parser().resolve(words)
    assert again.settings == arguments.settings
    settings = arguments.settings
    assert (settings.namespace, settings.status_port, settings.drain_timeout) == ("team", 9090, 2.5)
    namespace = vars(arguments.engine.namespace())
    assert {name: namespace[name] for name in EXPECTED} == EXPECTED
    assert_same(vars(again.engine.namespace()), namespace, words)


@pytest.mark.parametrize(
    "words",
    [
        ["--context-length", "4Ki"],
        ["--max-total-tokens=1.5M"],
        ["--mem-fraction-static", "-0.5"],
        ["--model-checksum"],
        ["--model-checksum", "a"],
        ["--lora-paths"],
        ["--lora-paths", "a", "b=c", '{"lora_name": "d", "lora_path": "e"}'],
        ["--uvicorn-access-log-exclude-prefixes"],
        ["--prompt-tokens-buckets", "tse", "1", "2", "3"],
        ["--sidecar-args", '["a", "--b"]'],
        ["--disable-cuda-graph"],
    ],
    ids=" ".join,
)
def test_every_form_of_a_flag(words: list[str]) -> None:
    assert_same(OPTIONS.ours(*words), OPTIONS.engines(*words), words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model-checksum: true", ["--model-checksum"]),
        ("model-checksum: false", []),
        ("model-checksum: ''", ["--model-checksum", ""]),
        ("lora-paths: []", ["--lora-paths"]),
        (
            "lora-paths: {lora_name: a, lora_path: b}",
            ["--lora-paths", '{"lora_name": "a", "lora_path": "b"}'],
        ),
        ("forward-hooks: [{name: a}]", ["--forward-hooks", '[{"name": "a"}]']),
        ("context-length: 4Ki", ["--context-length", "4096"]),
        ("disable-radix-cache: false", []),
        ("weight-cache-mode: 'off'", ["--weight-cache-mode", "off"]),
    ],
)
def test_every_form_of_a_value_in_a_file(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "sglang.yaml"
    file.write_text(text)
    assert_same(OPTIONS.ours("-f", str(file)), OPTIONS.engines(*words), text)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--lora-paths", '{"path": "b"}'], "lora-paths"),
        (["--lora-paths", "{a}"], "lora-paths"),
        (["--cuda-graph-config", '{"a": 7}'], "unknown phase 'a'"),
        (["--cuda-graph-config.decode", "7"], "cuda-graph-config"),
        (["--mem-fraction-static", "0.8", "0.9"], "mem-fraction-static"),
        (["--lora-target-modules", "a"], "should be one of q_proj"),
    ],
    ids=str,
)
def test_what_sglang_cannot_read_is_one_problem(words: list[str], text: str) -> None:
    assert text in OPTIONS.problem(*words)


def test_underscores_are_for_files_only_as_sglang_takes_none() -> None:
    problem = OPTIONS.problem("--mem_fraction_static", "0.8")
    assert problem.startswith("unknown flag '--mem_fraction_static'")
    assert "--mem-fraction-static" in suggestions(problem)


@pytest.mark.parametrize("key", ["config", "show-config", "dump-config", "help"])
def test_what_is_for_the_command_line_is_refused_in_a_file(tmp_path: Path, key: str) -> None:
    """SGLang has an option `config` of its own, which must not get it either."""
    file = tmp_path / "sglang.yaml"
    file.write_text(f"{key}: other.yaml")
    assert OPTIONS.problem("-f", str(file)).startswith(f"{file}:1: ")


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("", None),
        ("--random-seed 7", None),
        ("--tensor-parallel-size 4", 4),
        ("--tp-size 4 --pp-size 2", 8),
        ("--tp-size 2 --dp-size 4", 8),
        ("--tp-size 4 --dp-size 4 --enable-dp-attention", 4),
        ("--tp-size 8 --nnodes 2", 4),
        ("--tp-size 2 --device cpu", 0),
        ("--device cuda", None),
    ],
)
def test_how_many_gpus_a_worker_takes(words: str, count: int | None) -> None:
    assert SGLANG.gpus is not None
    values, _ = OPTIONS.resolve(*words.split()).engine.read(OPTIONS.reader)
    assert SGLANG.gpus({value.key: value.value for value in values}) == count
