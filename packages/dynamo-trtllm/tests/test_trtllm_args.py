"""What follows from a component and its settings, and what never imports TensorRT-LLM."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dynamo_trtllm import decode, prefill, worker
from dynamo_trtllm.args import EVENT_BUFFER, TRANSFER_TIMEOUT
from tensorrt_llm.llmapi import CacheTransceiverConfig, KvCacheConfig

from dynamo_core.testing.processes import Stack

MODULES = ["dynamo_trtllm.worker", "dynamo_trtllm.prefill", "dynamo_trtllm.decode"]
BUFFER = "kv-cache-config.event_buffer_max_size"
BACKEND = "cache-transceiver-config.backend"
TIMEOUT = "cache-transceiver-config.kv_transfer_timeout_ms"
STATS = "enable-iter-perf-stats"
TRACES = "otlp-traces-endpoint"
URL = "http://127.0.0.1:4317"


def derived(module: ModuleType, *argv: str) -> dict[str, tuple[Any, str]]:
    values, _ = module.parser().resolve(["--model", "m", *argv]).engine.values()
    return {v.key: (v.value, str(v.origin)) for v in values if v.origin.kind == "derived"}


def given(module: ModuleType, *argv: str) -> dict[str, Any]:
    return vars(module.parser().resolve(["--model", "m", *argv]).engine.namespace())


@pytest.mark.parametrize(
    ("module", "argv", "keys", "why"),
    [
        (worker, [], [], ""),
        (worker, ["--router-mode", "least-loaded"], [], ""),
        (worker, ["--kv-events"], [BUFFER, STATS], "kv-events"),
        (worker, ["--router-mode", "kv"], [BUFFER, STATS], "router-mode kv"),
        (worker, ["--status-port", "0"], [STATS], "status-port"),
        (worker, ["--status-port", "0", "--kv-events"], [BUFFER, STATS], "kv-events"),
        (worker, ["--otlp-endpoint", URL], [TRACES, "return-perf-metrics"], "otlp-endpoint"),
        (prefill, [], [BACKEND, TIMEOUT], "role prefill"),
        (decode, [], [BACKEND, TIMEOUT], "role decode"),
    ],
)
def test_what_follows(module: ModuleType, argv: list[str], keys: list[str], why: str) -> None:
    found = derived(module, *argv)
    assert list(found) == keys
    assert {where for _, where in found.values()} == ({f"derived from {why}"} if why else set())


def test_a_prefill_worker_in_kv_mode_has_both() -> None:
    assert list(derived(prefill, "--router-mode", "kv")) == [BUFFER, STATS, BACKEND, TIMEOUT]


@pytest.mark.parametrize(("protocol", "path"), [("grpc", ""), ("http/protobuf", "/v1/traces")])
def test_where_traces_go_by_their_protocol(protocol: str, path: str) -> None:
    found = derived(worker, "--otlp-endpoint", f"{URL}/", "--otlp-protocol", protocol)
    assert found[TRACES] == (URL + path, "derived from otlp-endpoint")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], {}),
        (["--kv-cache-config.dtype", "fp8"], {"dtype": "fp8"}),
        (["--kv-cache-config", "{dtype: fp8, max_tokens: 5}"], {"dtype": "fp8", "max_tokens": 5}),
        (["--kv_cache_config.max_tokens=5"], {"max_tokens": 5}),
        ([f"--{BUFFER}", "7"], {"event_buffer_max_size": 7}),
        (["--kv-cache-config", "{event_buffer_max_size: 7}"], {"event_buffer_max_size": 7}),
    ],
)
def test_what_is_given_wins_and_the_rest_stays(argv: list[str], expected: dict[str, Any]) -> None:
    config = given(worker, "--kv-events", *argv)["kv_cache_config"]
    assert config == KvCacheConfig(**{"event_buffer_max_size": EVENT_BUFFER, **expected})


def test_the_same_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "decode.yaml"
    file.write_text(
        "cache-transceiver-config: {backend: UCX, max_tokens_in_buffer: 8192}\n"
        "kv-cache-config.enable_partial_reuse: false\npp-partition: [1, 2]\n"
    )
    for argv in (["-f", str(file)], decode.parser().words(*resolved(decode, "-f", str(file)))):
        found = given(decode, *argv)
        assert found["cache_transceiver_config"] == CacheTransceiverConfig(
            backend="UCX", max_tokens_in_buffer=8192, kv_transfer_timeout_ms=TRANSFER_TIMEOUT
        )
        assert found["kv_cache_config"] == KvCacheConfig(enable_partial_reuse=False)
        assert found["pp_partition"] == [1, 2]


def resolved(module: ModuleType, *argv: str) -> tuple[Any, Any]:
    arguments = module.parser().resolve(["--model", "m", *argv])
    return arguments, arguments.engine.values()[0]


def test_a_part_that_is_wrong_is_told() -> None:
    arguments = worker.parser().resolve(["--model", "m", "--kv-cache-config.max_tokens", "many"])
    problems = arguments.engine.read()[1]
    assert len(problems) == 1
    assert "max_tokens: Input should be a valid integer" in problems[0]
    assert "(from --kv-cache-config.max_tokens)" in problems[0]


@pytest.mark.parametrize(("module", "role"), [(prefill, "prefill"), (decode, "decode")])
def test_the_role_is_the_module(module: ModuleType, role: str, stack: Stack) -> None:
    """P10 (ai-dynamo #12821): what makes two workers a pair follows from it."""
    assert module.Deployment.describe()["role"] == role
    assert "role" not in module.parser().keys
    result = outcome({}, "-m", module.__name__, "--model", stack.model, "--show-config")
    assert f"derived from role {role}" in result.stdout


@pytest.fixture
def poison(tmp_path: Path) -> dict[str, str]:
    """The environment in which importing TensorRT-LLM ends the process."""
    package = tmp_path / "poison" / "tensorrt_llm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import os\nprint('MPI is initialised', flush=True)\nos._exit(77)\n")
    return {"PYTHONPATH": str(package.parent)}


def outcome(env: dict[str, str], *argv: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, argv)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", MODULES)
def test_only_a_worker_that_starts_imports_it(module: str, poison: dict[str, str], stack: Stack) -> None:
    """P16 (ai-dynamo #5960, #6481): not help, not what shows or plans the same command, engine flags in it or
    not."""
    options = ["--model", stack.model, "--tensor-parallel-size", "2", "--kv-cache-config.dtype", "fp8"]
    for argv in (["--help"], [*options, "--show-config"], [*options, "--dump-config", "-"]):
        result = outcome(poison, "-m", module, *argv)
        assert result.returncode == 0, result.stdout + result.stderr
    code = (
        f"import {module}, dynamo_trtllm.base, dynamo_trtllm.reports, sys; assert 'mpi4py' not in sys.modules"
    )
    assert outcome(poison, "-c", code).returncode == 0
    assert outcome(poison, "-m", module, *options, "--discovery-path", stack.discovery).returncode == 77


def test_planning_never_imports_it(poison: dict[str, str], stack: Stack, tmp_path: Path) -> None:
    """P16 (ai-dynamo #5960)."""
    file = tmp_path / "graph.yaml"
    file.write_text(
        f"Common: {{model: {stack.model}, max-seq-len: 2048}}\n"
        "Frontend: {component: dynamo_frontend}\n"
        "Prefill: {component: dynamo_trtllm.prefill, tensor-parallel-size: 2, pp-partition: [1, 2]}\n"
        "Decode: {component: dynamo_trtllm.decode, kv-cache-config: {dtype: fp8}}\n"
    )
    result = outcome(poison, "-m", "dynamo_core.cli.main", "serve", file, "--dry-run")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "--tensor-parallel-size 2" in result.stdout
    assert result.stdout.count("--max-seq-len 2048") == 2


@pytest.mark.parametrize("module", MODULES)
def test_without_tensorrt_llm_the_index_is_named(module: str, stack: Stack) -> None:
    """Here it is really missing: the double is on the path of the other tests only."""
    for argv in (["--help=engine"], ["--discovery-path", stack.discovery]):
        result = outcome({}, "-m", module, "--model", stack.model, *argv)
        assert result.returncode == 2
        assert "tensorrt_llm is not installed" in result.stderr
        assert "fix: pip install dynamo-trtllm --extra-index-url https://pypi.nvidia.com" in result.stderr
        assert "Traceback" not in result.stderr
