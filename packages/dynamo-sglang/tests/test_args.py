"""Every option of SGLang, and every form that SGLang gives one, means what SGLang says it means."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dynamo_core.errors import UserError
from dynamo_core.testing.engine_options import (
    EngineOptionChecks,
    OptionsUnderTest,
    assert_same,
    suggestions,
)
from dynamo_sglang import decode, prefill, worker
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


def derived(module: ModuleType, *words: str) -> dict[str, tuple[Any, str]]:
    values, _ = module.parser().resolve(["--model", "m", *words]).engine.values()
    return {v.key: (v.value, str(v.origin)) for v in values if v.origin.kind == "derived"}


PAIR = ["disaggregation-mode", "disaggregation-transfer-backend"]


@pytest.mark.parametrize(
    ("module", "words", "keys", "why"),
    [
        (worker, "", [], ""),
        (worker, "--router-mode least-loaded", [], ""),
        (worker, "--kv-events", ["kv-events-config"], "kv-events"),
        (worker, "--router-mode kv", ["kv-events-config"], "router-mode kv"),
        (prefill, "", PAIR, "role prefill"),
        (decode, "--kv-transfer-host 192.0.2.1", PAIR, "role decode"),
        (worker, "--status-port 0", ["enable-metrics"], "status-port"),
        (worker, "--enable-lora", ["max-lora-rank", "lora-target-modules"], "enable-lora"),
        (worker, "--otlp-endpoint http://h:4317", ["enable-trace", "otlp-traces-endpoint"], "otlp-endpoint"),
    ],
)
def test_what_follows(module: ModuleType, words: str, keys: list[str], why: str) -> None:
    found = derived(module, *words.split())
    assert list(found) == keys
    assert {where for _, where in found.values()} == ({f"derived from {why}"} if why else set())


@pytest.mark.parametrize(
    ("protocol", "path"), [("grpc", "http://h:4317"), ("http/protobuf", "http://h:4317/v1/traces")]
)
def test_where_spans_go(protocol: str, path: str) -> None:
    found = derived(worker, "--otlp-endpoint", "http://h:4317/", "--otlp-protocol", protocol)
    assert found["otlp-traces-endpoint"][0].rstrip("/") == path


@pytest.mark.parametrize(
    ("frontends", "sglangs"),
    [("qwen3", "qwen3"), ("deepseek_r1", "deepseek-r1"), ("nemotron3", "nemotron_3"), ("basic", None)],
)
def test_reasoning_parsers_under_sglangs_names(frontends: str, sglangs: str | None) -> None:
    from dynamo_sglang.engine import own_name

    assert own_name(frontends) == sglangs


def test_parsers_are_the_frontends() -> None:
    words = ["--model", "m", "--tool-call-parser", "hermes", "--reasoning-parser", "basic"]
    arguments = worker.parser().resolve(words)
    assert (arguments.settings.tool_call_parser, arguments.settings.reasoning_parser) == ("hermes", "basic")
    namespace = arguments.engine.namespace()
    assert (namespace.tool_call_parser, namespace.reasoning_parser) == (None, None)


def test_where_a_prefill_worker_is_found() -> None:
    found = derived(prefill, "--kv-transfer-host", "192.0.2.1", "--kv-transfer-port", "8998")
    assert found["host"] == ("192.0.2.1", "derived from kv-transfer-host")
    assert found["disaggregation-bootstrap-port"] == (8998, "derived from kv-transfer-port")
    namespace = prefill.parser().resolve(
        ["--model", "m", "--rpc-host", "192.0.2.7", "--kv-transfer-host", "192.0.2.1"]
    )
    assert namespace.engine.namespace().host == "192.0.2.1"


def test_metrics_can_be_left_out(tmp_path: Path) -> None:
    file = tmp_path / "sglang.yaml"
    file.write_text("enable-metrics: false")
    assert derived(worker, "--status-port", "0", "-f", str(file)) == {}
    namespace = worker.parser().resolve(["--model", "m", "--status-port", "0", "-f", str(file)])
    assert namespace.engine.namespace().enable_metrics is False


def test_what_follows_loses_against_what_is_given() -> None:
    words = ["--router-mode", "kv", "--disaggregation-transfer-backend", "mooncake_tcp"]
    words += ["--kv-events-config", '{"publisher": "zmq", "endpoint": "tcp://*:5557"}']
    assert list(derived(prefill, *words)) == ["disaggregation-mode"]
    namespace = prefill.parser().resolve(["--model", "m", *words]).engine.namespace()
    assert namespace.disaggregation_transfer_backend == "mooncake_tcp"
    assert "5557" in namespace.kv_events_config


@pytest.mark.parametrize("module", [worker, prefill, decode])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--disaggregation-mode", "prefill"], "start dynamo-sglang-prefill or dynamo-sglang-decode"),
        (["--disaggregation-bootstrap-port", "1"], "--kv-transfer-port of dynamo-sglang-prefill decides it"),
    ],
)
def test_what_the_component_decides_cannot_be_given(module: ModuleType, words: list[str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        module.parser().resolve(["--model", "m", *words]).engine.values()
    assert told in str(caught.value)


def test_deadlines_of_a_pair_give_way_to_what_is_set_already() -> None:
    settings = decode.parser().resolve(["--model", "m"]).settings
    variables = {v.name: v for v in decode.parser().variables(settings)}
    for name in ("BOOTSTRAP_TIMEOUT", "WAITING_TIMEOUT", "HEARTBEAT_INTERVAL"):
        assert variables[f"SGLANG_DISAGGREGATION_{name}"].yields
    assert variables["SGLANG_HOST_IP"].value == "127.0.0.1"
    assert variables["UCX_NET_DEVICES"].value == "lo"
    elsewhere = decode.parser().resolve(["--model", "m", "--kv-transfer-host", "192.0.2.1"]).settings
    assert "UCX_NET_DEVICES" not in {v.name for v in decode.parser().variables(elsewhere)}
