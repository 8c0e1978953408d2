"""vLLM for real, on whatever device this machine has; started once per session."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from dynamo_core.testing.engine_checks import CASES, Reference
from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.tiny_model import write_tiny_model, write_tiny_weights

pytest_plugins = ["dynamo_core.testing.plugin"]

FLAGS = (
    *("--dtype", "float32", "--enforce-eager", "--block-size", "32"),
    *("--kv-cache-memory-bytes", 32 << 20, "--max-num-seqs", "1"),
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
START_TIMEOUT = 240.0


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_weights(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="session")
def reference(tiny_model: Path) -> Reference:
    """What vLLM says by itself, from a process that has none of our code."""
    cases = json.dumps([asdict(case) for case in CASES])
    script = Path(__file__).with_name("reference.py")
    result = subprocess.run(
        [sys.executable, str(script), str(tiny_model)],
        input=cases,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        env={**_environment(), **ENVIRONMENT},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    answer: Reference = json.loads(result.stdout.splitlines()[-1])
    return answer


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("served"), tiny_model) as stack:
        stack.frontend()
        start_worker(stack)
        stack.wait_ready(START_TIMEOUT)
        yield stack


def start_worker(stack: Stack, *flags: object) -> Running:
    name = ("--model", stack.model, "--served-model-name", "tiny")
    return stack.start("dynamo_vllm.worker", *name, *FLAGS, *flags, env=ENVIRONMENT)


def _environment() -> dict[str, str]:
    from dynamo_core import environment

    return dict(environment.snapshot())
