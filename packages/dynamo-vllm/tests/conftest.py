"""vLLM for real, on whatever device this machine has; started once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_core.testing.engines import EngineUnderTest

pytest_plugins = [
    "dynamo_core.testing.engine_checks",
    "dynamo_core.testing.pair_checks",
    "dynamo_core.testing.adapter_checks",
    "dynamo_core.testing.embedding_checks",
    "dynamo_core.testing.image_checks",
    "dynamo_core.testing.observed_checks",
    "dynamo_core.testing.parser_checks",
    "dynamo_core.testing.engine_plugin",
]


@pytest.fixture(scope="session")
def engine() -> EngineUnderTest:
    return EngineUnderTest.of("dynamo_vllm", reference=Path(__file__).with_name("reference.py"))
