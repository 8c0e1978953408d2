"""Every graph of examples/sglang answers as one worker does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dynamo_core.testing.engine_checks import Case, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.graphs import PROMPT, serve_and_ask
from dynamo_core.testing.processes import Stack

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "sglang"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_graph_answers(file: Path, stack: Stack, served: Stack, engine: EngineUnderTest) -> None:
    expected = complete(served, Case("graph", PROMPT, max_tokens=8)).choices[0].text
    decode = {"decode": engine.half_flags["decode"]} if "disagg" in file.stem else {}
    assert serve_and_ask(stack, replace(engine, half_flags=decode), file) == expected
