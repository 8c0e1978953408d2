"""The shape of the proposal's example works as it stands there."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from dynamo_core.testing.processes import Running, Stack


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_example_of_the_proposal(
    stack: Stack, component: Callable[..., Running], ask: Callable[..., list[Any]], number: signal.Signals
) -> None:
    worker = component(stack, "proposal.py")
    (result,) = ask(stack, "dynamo.sgldecode.generate", [{"request": "hi"}])
    assert result == {"answers": ["hello", "world"], "error": None}
    assert worker.stop(number) == 0
    assert "Traceback" not in worker.output
    assert not [path for path in stack.discovery.rglob("*") if path.is_file()]
