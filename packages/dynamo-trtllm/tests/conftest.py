"""The worker on the double of TensorRT-LLM, which stands on its processes' path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

pytest_plugins = ["dynamo_core.testing.plugin"]
DOUBLE = Path(__file__).parent / "double"
sys.path.insert(0, str(DOUBLE))


@pytest.fixture(scope="session")
def double() -> dict[str, str]:
    """The environment in which `import tensorrt_llm` finds the double."""
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(DOUBLE), *([others] if others else [])])}
