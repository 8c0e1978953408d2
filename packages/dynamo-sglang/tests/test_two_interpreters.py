"""One graph across two environments: SGLang from this one and vLLM from another, behind one frontend."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import yaml

from dynamo_core.testing.engine_plugin import EngineUnderTest
from dynamo_core.testing.processes import Running, Stack

VLLM = Path(os.environ.get("PYTHON_WITH_VLLM", "nowhere"))
FLAGS_OF_VLLM = {
    "dtype": "float32",
    "enforce-eager": True,
    "kv-cache-memory-bytes": 32 << 20,
    "max-num-seqs": 1,
    "env": {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
}
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture
def other_python() -> Path:
    if not VLLM.is_file():
        pytest.skip("tox run -e vllm makes the environment that this needs; the whole run does so before")
    return VLLM


def graph(stack: Stack, engine: EngineUnderTest, other: Path, **more: object) -> dict[str, dict[str, object]]:
    flags: dict[str, object] = {}
    words = [str(word) for word in engine.flags]
    for word, value in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            flags[word.removeprefix("--")] = True if value.startswith("--") else value
    common = {"model": str(stack.model), "discovery-path": str(stack.discovery)}
    sglang = {"component": "dynamo_sglang.worker", "served-model-name": "by-sglang", "env": dict(engine.env)}
    vllm = {"component": "dynamo_vllm.worker", "served-model-name": "by-vllm", "python": str(other)}
    return {
        "Common": common,
        "Frontend": {"component": "dynamo_frontend", "http-port": stack.port},
        "Sglang": {**sglang, **flags, **more},
        "Vllm": {**vllm, **FLAGS_OF_VLLM, **more},
    }


def serve(stack: Stack, file: Path, content: dict[str, dict[str, object]]) -> Running:
    file.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(file)]
    serving = Running(command, {"TMPDIR": str(file.parent)})
    stack.running.append(serving)
    return serving


def test_both_answer(stack: Stack, engine: EngineUnderTest, other_python: Path, tmp_path: Path) -> None:
    serving = serve(stack, tmp_path / "both.yaml", graph(stack, engine, other_python))
    serving.wait_for_line("ready after", timeout=240)
    assert (
        f"Vllm/0: HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 {other_python} -m dynamo_vllm.worker" in serving.output
    )
    client = stack.client()
    assert sorted(model.id for model in client.models.list()) == ["by-sglang", "by-vllm"]
    for model in ("by-sglang", "by-vllm"):
        answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=5, temperature=0)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 5
    assert serving.stop(signal.SIGINT, timeout=60) == 0
    assert serving.lines[-1].endswith("exit code 0: Ctrl-C")


def test_flags_are_checked_by_the_engine_of_each(
    stack: Stack, engine: EngineUnderTest, other_python: Path, tmp_path: Path
) -> None:
    content = graph(stack, engine, other_python, **{"max-modl-len": 5, "page-sise": 5})
    serving = serve(stack, tmp_path / "wrong.yaml", content)
    assert serving.wait(120) == 2
    problems = [line for line in serving.lines if "unknown" in line]
    assert [line.split(":")[0].strip() for line in problems] == ["Sglang", "Sglang", "Vllm", "Vllm"]
    assert any(line.startswith("  Sglang") and "did you mean page-size" in line for line in problems)
    assert any(line.startswith("  Vllm") and "did you mean max-model-len" in line for line in problems)
