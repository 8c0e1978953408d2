"""vLLM for real, on whatever device this machine has; started once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_core.testing.engine_plugin import EngineUnderTest

pytest_plugins = [
    "dynamo_core.testing.engine_checks",
    "dynamo_core.testing.pair_checks",
    "dynamo_core.testing.engine_plugin",
]


@pytest.fixture(scope="session")
def engine() -> EngineUnderTest:
    return EngineUnderTest(
        module="dynamo_vllm.worker",
        flags=(
            *("--dtype", "float32", "--enforce-eager", "--block-size", "32"),
            *("--kv-cache-memory-bytes", 32 << 20, "--max-num-seqs", "1"),
        ),
        core_process="EngineCore",
        reference=Path(__file__).with_name("reference.py"),
        env={"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"},
    )
