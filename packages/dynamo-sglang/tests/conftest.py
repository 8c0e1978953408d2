"""SGLang for real; on a machine without a GPU with the stand-ins of cpu/. Started once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_core.testing.engine_plugin import EngineUnderTest

pytest_plugins = ["dynamo_core.testing.engine_checks", "dynamo_core.testing.engine_plugin"]


@pytest.fixture(scope="session")
def engine() -> EngineUnderTest:
    return EngineUnderTest(
        module="dynamo_sglang.worker",
        flags=(
            *("--device", "cpu", "--attention-backend", "torch_native", "--sampling-backend", "pytorch"),
            *("--disable-cuda-graph", "--mem-fraction-static", "0.2", "--max-total-tokens", "4096"),
            *("--max-running-requests", "1", "--skip-server-warmup", "--page-size", "16"),
        ),
        core_process="sglang::schedul",
        reference=Path(__file__).with_name("reference.py"),
        env={
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "SGLANG_USE_CPU_ENGINE": "1",
            "TRITON_INTERPRET": "1",
            "TORCHDYNAMO_DISABLE": "1",
        },
    )
