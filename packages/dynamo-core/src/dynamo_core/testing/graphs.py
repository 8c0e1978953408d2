"""Whole graphs as `dynamo serve` runs them."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import openai

from dynamo_core.testing.engine_checks import START_TIMEOUT, Case, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.processes import Running, Stack

LINES, WIDTH = 12, 200
"""Of what is shown of the processes when a graph does not answer; a log of failures is short."""
FIRST_ANSWER = 180.0
"""Seconds. Two of vLLM's engines that move a KV cache have needed more than a minute for their first request
on two cores, beside a third that was idle; the second takes two seconds. Why is open."""
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
        answer = complete(stack, Case("graph", PROMPT, max_tokens=8), timeout=FIRST_ANSWER)
    except openai.OpenAIError as error:
        for note in (_complaints(serving), _registered(stack), f"asked again: {_asked_again(stack)}"):
            error.add_note(note)
        raise
    assert serving.stop(timeout=60) == 0, serving.output
    text: str = answer.choices[0].text
    return text


def _complaints(serving: Running) -> str:
    """What its processes have warned of."""
    lines = [line for line in serving.lines if re.search(r"\b(WARN|WARNING|ERROR)\b", line)]
    return "\n".join(line[:WIDTH] for line in lines[-LINES:])


def _registered(stack: Stack) -> str:
    """Who is in discovery, with the seconds since each entry was renewed."""
    now = time.time()
    files = [path for path in stack.discovery.rglob("*") if path.is_file()]
    return "\n".join(f"{path.name[:WIDTH]}: {now - path.stat().st_mtime:.1f} s" for path in sorted(files))


def _asked_again(stack: Stack) -> str:
    started = time.monotonic()
    try:
        stack.client(max_retries=5).completions.create(model="tiny", prompt=PROMPT, max_tokens=8)
    except openai.OpenAIError as error:
        return f"{error} after {time.monotonic() - started:.1f} s"
    return f"answered after {time.monotonic() - started:.1f} s"


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
