"""Every option of vLLM, and every form that vLLM gives one, means what vLLM says it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_core.testing.engine_options import (
    EngineOptionChecks,
    OptionsUnderTest,
    as_word,
    assert_same,
    suggestions,
    write,
)
from dynamo_vllm.args import VLLM
from dynamo_vllm.worker import parser

OPTIONS = OptionsUnderTest(
    VLLM,
    parser,
    samples={
        "quantization_config": {"ignore": ["lm_head"]},
        "pooler_config": {"use_activation": True},
        "logging_config": {"configure_logging": False},
        "ir_op_priority": {"rms_norm": ["native"]},
        "kv_transfer_config": {"kv_port": 7, "engine_id": "a"},
        "kv_events_config": {"buffer_steps": 7},
        "ec_transfer_config": {"ec_ip": "127.0.0.2", "engine_id": "a"},
        "ec_manager_config": {"encoder_cache_manager_cls": "a.b"},
        "engram_config": {"cpu_offload": True},
        "reasoning_config": {"reasoning_parser": "qwen3"},
        "weight_transfer_config": {"backend": "ipc"},
    },
)
"""The engine ids would be random."""

KV = "kv-transfer-config"
FILE = """
model: Qwen/Qwen3-0.6B
served-model-name: qwen
namespace: team
status-port: 9090
drain-timeout: 2.5
log-level: debug

tensor-parallel-size: 2
-pp: 3
data-parallel-size: 4
dtype: bfloat16
seed: 7
max_model_len: 4k
max-num-seqs: 16
max-num-batched-tokens: 8192
gpu-memory-utilization: 0.5
block-size: 32
quantization: fp8
kv-cache-dtype: fp8
enforce-eager: true
enable-prefix-caching: false
no-enable-chunked-prefill: true
trust-remote-code: true
disable-log-stats: true
tokenizer: 'yes'
revision: 2024-01-01
allowed-local-media-path: ''
allowed-media-domains: [a.example, b.example]
cudagraph-capture-sizes: [1, 2, 4]
generation-config: vllm
hf-overrides: {rope_scaling: {rope_type: yarn, factor: 2.0}}
limit-mm-per-prompt: {image: 2}
speculative-config:
  method: ngram
  num_speculative_tokens: 3
compilation-config.cudagraph_capture_sizes: [1, 2]
optimization-level: 3
safetensors-load-strategy: lazy
"""
EXPECTED = {
    "model": "Qwen/Qwen3-0.6B",
    "served_model_name": ["qwen"],
    "tensor_parallel_size": 2,
    "pipeline_parallel_size": 3,
    "data_parallel_size": 4,
    "dtype": "bfloat16",
    "seed": 7,
    "max_model_len": 4000,
    "max_num_seqs": 16,
    "max_num_batched_tokens": 8192,
    "gpu_memory_utilization": 0.5,
    "block_size": 32,
    "quantization": "fp8",
    "kv_cache_dtype": "fp8",
    "enforce_eager": True,
    "enable_prefix_caching": False,
    "enable_chunked_prefill": False,
    "trust_remote_code": True,
    "disable_log_stats": True,
    "tokenizer": "yes",
    "revision": "2024-01-01",
    "allowed_local_media_path": "",
    "allowed_media_domains": ["a.example", "b.example"],
    "cudagraph_capture_sizes": [1, 2, 4],
    "generation_config": "vllm",
    "hf_overrides": {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
    "limit_mm_per_prompt": {"image": 2},
    "speculative_config": {"method": "ngram", "num_speculative_tokens": 3},
    "optimization_level": "3",
    "safetensors_load_strategy": "lazy",
}


class TestOptions(EngineOptionChecks):
    """One by one and all at once; the checks are core's."""

    options = OPTIONS


def test_there_are_all_of_them() -> None:
    assert len(OPTIONS.options) >= 240


def test_a_file_and_its_words_as_people_write_it(tmp_path: Path) -> None:
    file = tmp_path / "vllm.yaml"
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
    assert namespace["compilation_config"].cudagraph_capture_sizes == [1, 2]
    assert_same(vars(again.engine.namespace()), namespace, words)


@pytest.mark.parametrize(
    "words",
    [
        "-O3",
        "-O 3",
        "-O=3",
        "-Odecode",
        "-n2",
        "-qfp8",
        "-tp=2",
        "--tensor_parallel_size 2",
        "--tensor_parallel_size=2",
        "--no_enforce_eager",
        "--max-model-len 4K",
        "--max-model-len=1.5k",
        "--max-model-len auto",
        "--max-model-len -1",
        "--watermark=-0.5",
        "--device-ids 0,1",
        "--moe-backend FLASHINFER-CUTLASS",
        "--hf-token",
        "-cc.mode 3",
        "-cc.mode=3",
        "-cc.custom_ops+ +rms_norm",
        "-cc.custom_ops+=+rms_norm,+silu_and_mul",
        "-cc.pass_config.fuse_norm_quant true",
        "--compilation_config.cache_dir here -cc.mode 3",
        "--hf-overrides.a.b 1 --hf-overrides.a.c [2] --hf-overrides.d -0.5",
        f"--{KV}.kv_connector NixlConnector --{KV}.kv_role kv_both --{KV}.engine_id a",
    ],
)
def test_every_form_of_a_flag(words: str) -> None:
    assert_same(OPTIONS.ours(*words.split()), OPTIONS.engines(*words.split()), words)


@pytest.mark.parametrize("number", ["-0.5", "-.5", "-3"])
def test_a_negative_number_needs_no_equals_sign(number: str) -> None:
    """By itself vLLM takes `-0.5` for a part of an option."""
    expected = OPTIONS.engines(f"--watermark={number}", "--seed", "7")
    assert_same(OPTIONS.ours("--watermark", number, "--seed", "7"), expected, number)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("device-ids: [0, 1]", ["--device-ids", "0,1"]),
        ("device-ids: 0", ["--device-ids", "0"]),
        ("hf-token: true", ["--hf-token"]),
        ("hf-token: false", []),
        ("max-model-len: 4k", ["--max-model-len", "4000"]),
        ("disable-log-stats: false", []),
        ("hf-overrides: {since: 2024-01-01}", ["--hf-overrides", '{"since": "2024-01-01"}']),
        ("hf-overrides.a: '5'", ["--hf-overrides", '{"a": "5"}']),
        ("hf-overrides.a: 'true'", ["--hf-overrides", '{"a": "true"}']),
        ("hf-overrides.a: x", ["--hf-overrides", '{"a": "x"}']),
        ("hf-overrides.a: {b: [1]}\nhf-overrides.c: 2", ["--hf-overrides", '{"a": {"b": [1]}, "c": 2}']),
        (
            f"{KV}.kv_connector: NixlConnector\n{KV}.kv_role: kv_both\n{KV}.engine_id: a",
            [f"--{KV}", '{"kv_connector": "NixlConnector", "kv_role": "kv_both", "engine_id": "a"}'],
        ),
    ],
)
def test_every_form_of_a_value_in_a_file(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "vllm.yaml"
    file.write_text(text)
    assert_same(OPTIONS.ours("-f", str(file)), OPTIONS.engines(*words), text)


def test_parts_of_every_option_that_takes_json(tmp_path: Path) -> None:
    """By each of its flags, in a file, and in a file dumped from that."""
    found = 0
    for option in OPTIONS.options.values():
        whole = option.samples[0]
        if not isinstance(whole.value, dict):
            continue
        found += 1
        expected = OPTIONS.engines(*whole.words)
        for flag in option.names:
            parts = {f"{flag}.{name}": value for name, value in whole.value.items()}
            words = [word for name, value in parts.items() for word in (name, as_word(value))]
            assert_same(OPTIONS.ours(*words), expected, words)
            joined = [f"{name}={as_word(value)}" for name, value in parts.items()]
            assert_same(OPTIONS.ours(*joined), expected, joined)
            keys = {name.removeprefix("--"): value for name, value in parts.items()}
            file = write(tmp_path, keys)
            assert_same(OPTIONS.ours("-f", file), expected, keys)
            values, _ = OPTIONS.resolve(*words).engine.read(OPTIONS.reader)
            shown = {value.key: value.value for value in values}
            assert_same(OPTIONS.ours("-f", write(tmp_path, shown)), expected, shown)
    assert found >= 30


@pytest.mark.parametrize("part", ["mode", "pass_config.fuse_norm_quant"])
def test_a_part_of_a_misspelt_option(tmp_path: Path, part: str) -> None:
    flag = f"--compilation-confg.{part}"
    for words in ([flag, "3"], [f"{flag}=3"], [flag]):
        problem = OPTIONS.problem(*words)
        assert problem.startswith(f"unknown flag {flag!r}")
        assert "--compilation-config" in suggestions(problem)
    file = write(tmp_path, {flag.removeprefix("--"): 3})
    problem = OPTIONS.problem("-f", file)
    assert problem.startswith(f"{file}:1: unknown key")
    assert "compilation-config" in suggestions(problem)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--compilation-config.mode"], "compilation-config.mode"),
        (["--compilation-config", "x"], "compilation-config"),
        (["--seed", "1", "2"], "seed"),
        (["--seed.x", "3"], "seed"),
        (["--limit-mm-per-prompt", "image=2"], "limit-mm-per-prompt"),
        (["--hf-overrides", '{"a": 1}', "--hf-overrides.b", "2"], "keep one of the two"),
    ],
)
def test_what_vllm_cannot_read_is_one_problem(words: list[str], text: str) -> None:
    assert text in OPTIONS.problem(*words)


def test_a_part_for_another_engine_may_stand_in_common(tmp_path: Path) -> None:
    file = write(tmp_path, {"Common": {"other-config.part": 3}, "hf-overrides.a": 1})
    assert OPTIONS.ours("-f", file)["hf_overrides"] == {"a": 1}


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("", None),
        ("--seed 7", None),
        ("-tp 4", 4),
        ("-tp 4 --pipeline_parallel_size 2", 8),
        ("-tp 2 -dp 4", 8),
        ("-tp 2 -dp 4 --data-parallel-size-local 1", 2),
        ("-tp 2 -dp 4 --data-parallel-rank 3", 2),
        ("-tp 2 -pcp 2", 4),
        ("-tp 8 --nnodes 2 --master-addr 192.0.2.7", 4),
    ],
)
def test_how_many_gpus_a_worker_takes(words: str, count: int | None) -> None:
    assert VLLM.gpus is not None
    values, _ = OPTIONS.resolve(*words.split()).engine.read(OPTIONS.reader)
    assert VLLM.gpus({value.key: value.value for value in values}) == count
