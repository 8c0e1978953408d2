"""The workers on the real TensorRT-LLM, which needs a GPU: pytest -m gpu. Nobody has run this yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dynamo_core.testing.engine_checks import GREEDY, START_TIMEOUT, Reference, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.pair_checks import IndependentDecodeChecks
from dynamo_core.testing.processes import Stack
from dynamo_core.testing.tiny_model import decode

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="session")
def engine() -> EngineUnderTest:
    """Without the double on its path."""
    return EngineUnderTest.of("dynamo_trtllm", reference=Path(__file__).with_name("reference.py"))


def test_a_worker_says_what_the_engine_says(
    stack: Stack, engine: EngineUnderTest, reference: Reference
) -> None:
    stack.frontend()
    engine.start(stack, "--kv-events")
    stack.wait_ready(START_TIMEOUT)
    for case in GREEDY:
        answer = complete(stack, case).choices[0].text
        assert answer == decode(reference[case.name][0]["token_ids"]), case.name


class TestTrtllmPair(IndependentDecodeChecks):
    """The checks are core's."""

    def unreachable(self, params: Any) -> Any:
        return params | {"ctx_request_id": 0}
