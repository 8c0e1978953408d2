"""The graphs in examples/trtllm, served as they are, on the double."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Running, Stack

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "trtllm"
SECTIONS = {
    "agg": ["Worker"],
    "agg_router": ["Worker"],
    "disagg": ["Prefill", "Decode"],
    "disagg_router": ["Prefill", "Decode"],
}


def test_there_are_no_others() -> None:
    assert {file.stem for file in EXAMPLES.iterdir()} == SECTIONS.keys()


@pytest.mark.parametrize("name", SECTIONS)
def test_it_answers(name: str, stack: Stack, double: dict[str, str]) -> None:
    overrides = {
        "Common.model": stack.model,
        "Common.discovery-path": stack.discovery,
        "Common.served-model-name": "tiny",
        "Common.max-seq-len": 2048,  # the model here has no more
        "Frontend.http-port": stack.port,
        **{f"{section}.resources": "{gpu: 0}" for section in SECTIONS[name]},
    }
    words = [f"--{key}={value}" for key, value in overrides.items()]
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(EXAMPLES / f"{name}.yaml")]
    server = Running([*command, *words], double)
    stack.running.append(server)
    server.wait_for_line("ready after", 60)
    for _ in range(3):
        answer = stack.client().completions.create(model="tiny", prompt="abc", max_tokens=5)
        assert answer.choices[0].text == "34567"
    if "Decode" in SECTIONS[name]:
        server.wait_for_line(r"Decode.*double: fetched 3 tokens")
