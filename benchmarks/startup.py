"""How long a command line takes: help, configuration and imports, beside what others' users wait for.

A figure without a command of somebody else's is compared with an interpreter that does nothing.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lib.bench import Bench, Part
from lib.compare import OURS, Figure, Goal, Sample
from lib.contestants import ENGINE, SGLANG
from lib.processes import wait_for_answer

__all__ = ["wait_for_answer"]
BARE = "bare interpreter"
NOTHING = ("python", "-c", "pass")


@dataclass(frozen=True)
class Command:
    """One figure: how each contestant is asked, in one environment."""

    name: str
    environment: str
    contestants: dict[str, tuple[str, ...]]
    """The first word is a script or the interpreter of that environment."""
    against: str | None = None
    goal: Goal | None = None


def module(name: str, *words: str) -> tuple[str, ...]:
    return ("python", "-m", name, *words)


def imports(names: str) -> tuple[str, ...]:
    return ("python", "-c", f"import {names}")


COMMANDS = (
    Command(
        "dynamo-vllm-worker --help",
        "vllm",
        {
            OURS: ("dynamo-vllm-worker", "--help"),
            "upstream": module("dynamo.vllm", "--help"),
            "vllm serve": ("vllm", "serve", "--help"),
        },
        against="upstream",
        goal=Goal("at most", 1 / 25),
    ),
    Command(
        "dynamo-sglang-worker --help",
        "sglang",
        {
            OURS: ("dynamo-sglang-worker", "--help"),
            "upstream": module("dynamo.sglang", "--help"),
            "sglang.launch_server": module("sglang.launch_server", "--help"),
        },
        against="upstream",
    ),
    Command(
        "dynamo-frontend --help",
        "vllm",
        {OURS: ("dynamo-frontend", "--help"), "upstream": module("dynamo.frontend", "--help")},
    ),
    Command("dynamo --help", "vllm", {OURS: ("dynamo", "--help"), BARE: NOTHING}),
    Command(
        "dynamo-vllm-worker --show-config",
        "vllm",
        {OURS: ("dynamo-vllm-worker", "--model", "m", "--show-config"), BARE: NOTHING},
    ),
    Command(
        "dynamo-frontend --show-config",
        "vllm",
        {OURS: ("dynamo-frontend", "--show-config"), BARE: NOTHING},
    ),
    Command(
        "import of the core's runtime",
        "vllm",
        {
            OURS: imports("dynamo_core.runtime, dynamo_core.handlers"),
            "upstream": imports("dynamo.runtime, dynamo.llm"),
        },
    ),
    Command(
        "import of the frontend",
        "vllm",
        {OURS: imports("dynamo_frontend.__main__"), "upstream": imports("dynamo.frontend.main")},
    ),
    Command(
        "import of the vLLM worker",
        "vllm",
        {OURS: imports("dynamo_vllm.worker"), "upstream": imports("dynamo.vllm.main")},
    ),
)


def measure(bench: Bench) -> Part:
    part = Part("startup", "Command line")
    part.notes = [
        "Each command once before it is measured, so that files are in memory; its output goes to a pipe."
    ]
    for command in COMMANDS:
        turns = bench.alternating()
        turns.run(contestants(bench, command), what=command.name, warm_up=True)
        samples = turns.samples["seconds"]
        part.figures.append(Figure(command.name, "s", samples, goal=command.goal, against=command.against))
    return part


def contestants(bench: Bench, command: Command) -> dict[str, Callable[[], Sample]]:
    return {
        name: partial(run, [bench.command(command.environment, words[0]), *words[1:]])
        for name, words in command.contestants.items()
    }


def run(argv: list[str]) -> Sample:
    env = {**os.environ, **ENGINE, **SGLANG}
    began = time.perf_counter()
    result = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(argv)}\nended with {result.returncode}:\n{result.stderr[-1000:]}")
    return {"seconds": seconds}
