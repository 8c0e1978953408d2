"""SGLang for real; on a machine without a GPU with the stand-ins of cpu/. Started once per session."""

from __future__ import annotations

from dataclasses import replace
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
GIVE_UP = {  # long before the tests do
    "SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT": "8",
    "SGLANG_DISAGGREGATION_WAITING_TIMEOUT": "8",
}


@pytest.fixture(scope="session")
def engine() -> EngineUnderTest:
    engine = EngineUnderTest.of(
        "dynamo_sglang", reference=Path(__file__).with_name("reference.py"), env=GIVE_UP
    )
    return replace(engine, half_flags={**engine.half_flags, "prefill": ("--router-mode", "kv")})
