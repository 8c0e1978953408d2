"""A prefill and a decode worker say together what one worker says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_core.testing.conformance.conftest import Same, Served
from dynamo_core.testing.engine_checks import GREEDY, START_TIMEOUT, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.pair_checks import LONG, Pair, request_for
from dynamo_core.testing.processes import Stack


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
) -> Iterator[Pair]:
    assert engine.has("prefill"), "the package has no module prefill; does-not-apply must say why"
    assert engine.has("decode"), "the package has no module decode; does-not-apply must say why"
    with Stack(tmp_path_factory.mktemp("pair"), tiny_model) as stack:
        pair = Pair(stack, engine)
        stack.frontend()
        pair.start("decode")
        pair.start("prefill")
        stack.wait_ready(START_TIMEOUT)
        yield pair


def test_disaggregation(pair: Pair, served: Served, same: Same) -> None:
    """Prefill and decode workers answer as one worker does"""
    for case in GREEDY:
        answer = complete(pair.stack, case)
        alone = complete(served.stack, case)
        assert same(answer.choices[0].text, alone.choices[0].text), case.name
        assert answer.usage.completion_tokens == case.max_tokens


def test_hand_over(pair: Pair) -> None:
    """What a prefill worker hands over travels as JSON"""
    (chunks,) = pair.stack.ask(pair.address("prefill"), request_for(LONG, 1))
    assert any(chunk.get("disaggregated_params") for chunk in chunks)
