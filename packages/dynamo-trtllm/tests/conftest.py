"""The workers on the double of TensorRT-LLM, which stands on their processes' path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dynamo_core.testing.engines import EngineUnderTest

pytest_plugins = [
    "dynamo_core.testing.engine_checks",
    "dynamo_core.testing.pair_checks",
    "dynamo_core.testing.engine_plugin",
]
DOUBLE = Path(__file__).parent / "double"
sys.path.insert(0, str(DOUBLE))


@pytest.fixture(scope="session")
def double() -> dict[str, str]:
    """The environment in which `import tensorrt_llm` finds the double."""
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(DOUBLE), *([others] if others else [])])}


@pytest.fixture(scope="session")
def engine(double: dict[str, str]) -> EngineUnderTest:
    return EngineUnderTest.of("dynamo_trtllm", reference=Path(__file__).with_name("reference.py"), env=double)
