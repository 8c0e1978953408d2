"""Every graph of examples/vllm answers as one worker does."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_core.testing.engine_checks import Case, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.graphs import PROMPT, serve_and_ask
from dynamo_core.testing.processes import Stack

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "vllm"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_graph_answers(file: Path, stack: Stack, served: Stack, engine: EngineUnderTest) -> None:
    expected = complete(served, Case("graph", PROMPT, max_tokens=8)).choices[0].text
    assert serve_and_ask(stack, engine, file) == expected
