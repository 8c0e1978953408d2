"""Whole graphs as `dynamo serve` runs them."""

from __future__ import annotations

import sys
from pathlib import Path

import openai

from dynamo_core.testing.engine_checks import START_TIMEOUT, Case, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.processes import Running, Stack

PROMPT = [10 + i % 80 for i in range(100)]


def serve_and_ask(stack: Stack, engine: EngineUnderTest, file: Path) -> str:
    """Serve a graph of an engine small, with its discovery in `stack`, and return what it answers to
    `PROMPT`. Fails if `dynamo serve` does not then end in order."""
    words = [f"--Common.model={stack.model}", "--Common.served-model-name=tiny", "--Common.drain-timeout=5"]
    words += _as_overrides("Common", engine.flags)
    words += [f"--Common.discovery-path={stack.discovery}", f"--Frontend.http-port={stack.port}"]
    for role, flags in engine.half_flags.items():
        words += _as_overrides(role.capitalize(), flags)
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(file), *words]
    serving = Running(command, dict(engine.env))
    stack.running.append(serving)
    stack.wait_ready(START_TIMEOUT)
    try:
        text: str = complete(stack, Case("graph", PROMPT, max_tokens=8)).choices[0].text
    except openai.OpenAIError as error:
        error.add_note(serving.output)
        raise
    assert serving.stop(timeout=60) == 0, serving.output
    return text


def _as_overrides(section: str, flags: tuple[object, ...]) -> list[str]:
    """`--dtype float32` for every component of a section."""
    words: list[str] = []
    for flag in flags:
        text = str(flag)
        if text.startswith("--"):
            words.append(f"--{section}.{text.removeprefix('--')}")
        else:
            words[-1] += f"={text}"
    return words
