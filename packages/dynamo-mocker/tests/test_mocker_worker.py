"""The simulated engine as a component, behind the real frontend."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from dynamo_core.testing.processes import Running, Stack

MODULE = "dynamo_mocker.worker"
MESSAGES: Any = [{"role": "user", "content": "hi"}]


def mocker(stack: Stack, *flags: object) -> Running:
    name = () if "--served-model-name" in flags else ("--served-model-name", "mock")
    return stack.start(MODULE, "--model", stack.model, *name, *flags)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_chat(stack: Stack, number: signal.Signals) -> None:
    stack.frontend()
    worker = mocker(stack)
    stack.wait_ready()
    chunks = stack.client().chat.completions.create(
        model="mock", messages=MESSAGES, max_tokens=12, stream=True, stream_options={"include_usage": True}
    )
    reasons, usage = [], None
    for chunk in chunks:
        reasons += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
        usage = chunk.usage or usage
    assert reasons == ["length"]
    assert usage is not None
    assert usage.completion_tokens == 12
    assert worker.stop(number) == 0
    assert "Traceback" not in worker.output
    stack.running.remove(worker)
    stack.wait_ready(healthy=False)


def test_it_is_ready_when_others_can_find_it(stack: Stack) -> None:
    """P08 (ai-dynamo #2296)."""
    mocker(stack).wait_for_line("dynamo.mocker.generate is ready")
    folders = [stack.discovery / "v1" / name for name in ("instances", "mdc")]
    assert all(any(path.is_file() for path in folder.rglob("*")) for folder in folders)


def test_the_models_name_is_the_folder_if_none_is_given(stack: Stack) -> None:
    stack.frontend()
    stack.start(MODULE, "--model", stack.model)
    stack.wait_ready()
    (model,) = stack.client().models.list().data
    assert model.id == str(stack.model)


def refusal(stack: Stack, *words: object) -> list[str]:
    """The last lines of a worker that does not start, without its name."""
    worker = stack.start(MODULE, *words)
    assert worker.wait() == 2, worker.output
    assert "Traceback" not in worker.output
    assert not [path for path in stack.discovery.rglob("*") if path.is_file()]
    lines = [line.removeprefix(f"python -m {MODULE}: ") for line in worker.lines]
    return [line for line in lines if " INFO " not in line]


@pytest.mark.setting("engine_args_file")
def test_an_engine_args_file_reaches_the_engine(stack: Stack, tmp_path: Path) -> None:
    """The mocker answers 500, and nothing else, to what exceeds the length that its file allows."""
    file = tmp_path / "engine.json"
    file.write_text('{"engine": {"max_model_len": 8}}')
    stack.frontend()
    mocker(stack, "--engine-args-file", file)
    stack.wait_ready()
    client = stack.client().with_options(max_retries=0)
    with pytest.raises(openai.InternalServerError):
        client.completions.create(model="mock", prompt="longer than eight", max_tokens=1)
    assert client.completions.create(model="mock", prompt="hi", max_tokens=1).usage


def test_an_engine_args_file_that_is_not_there(stack: Stack, tmp_path: Path) -> None:
    missing = tmp_path / "missing.json"
    assert refusal(stack, "--model", stack.model, "--engine-args-file", missing) == [
        f"error: --engine-args-file: there is no file {missing} (from --engine-args-file)"
    ]


@pytest.mark.parametrize(
    "content", ["{", '{"no_such": 1}', '{"engine": {"max_num_seqs": "many"}}', "[]", '{"engine": []}']
)
def test_an_engine_args_file_that_is_none(stack: Stack, tmp_path: Path, content: str) -> None:
    path = tmp_path / "engine.json"
    path.write_text(content)
    lines = refusal(stack, "--model", stack.model, "--engine-args-file", path)
    assert lines[0].startswith("error: ")
    assert str(path) in "".join(lines)


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("block_size", "--block-size"),
        ("speedup_ratio", "--speedup-ratio"),
        ("enable_prefix_caching", "--kv-events"),
        ("worker_type", "the component"),
    ],
)
def test_what_a_file_cannot_say(stack: Stack, tmp_path: Path, name: str, origin: str) -> None:
    file = tmp_path / "engine.json"
    file.write_text(f'{{"engine": {{"{name}": 1}}}}')
    assert refusal(stack, "--model", stack.model, "--engine-args-file", file) == [
        f"error: --engine-args-file: {file} has engine.{name}, which follows from {origin} "
        "(from --engine-args-file)",
        "  fix: leave it out of the file",
    ]


@pytest.mark.setting("block_size", "kv_events")
@pytest.mark.parametrize(
    ("flags", "cached"), [((), 64), (("--block-size", 32), 64), (("--block-size", 48), 48)]
)
def test_blocks_are_cached_as_a_whole(stack: Stack, flags: tuple[object, ...], cached: int) -> None:
    stack.frontend("--router-mode", "kv")
    mocker(stack, *flags)
    stack.wait_ready()
    assert cached_tokens(stack) == [0, cached]


def test_without_kv_events_nothing_is_cached(stack: Stack) -> None:
    """The runtime's mocker has both or neither."""
    stack.frontend()
    mocker(stack, "--no-kv-events")
    stack.wait_ready()
    assert cached_tokens(stack) == [0, 0]


def cached_tokens(stack: Stack) -> list[int]:
    """Of the same prompt of 70 tokens, sent twice."""
    found = []
    for _ in range(2):
        answer = stack.client().completions.create(model="mock", prompt="x" * 70, max_tokens=1)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        found.append(answer.usage.prompt_tokens_details.cached_tokens or 0)
    return found


@pytest.mark.setting("speedup_ratio")
def test_a_faster_gpu(stack: Stack) -> None:
    stack.frontend()
    took = []
    for ratio in (0.2, 50):
        worker = mocker(stack, "--speedup-ratio", ratio)
        stack.wait_ready()
        started = time.monotonic()
        stack.client().completions.create(model="mock", prompt="hello", max_tokens=20)
        took.append(time.monotonic() - started)
        worker.stop()
        stack.running.remove(worker)
        stack.wait_ready(healthy=False)
    assert took[0] > 3 * took[1]


def test_a_model_path_that_does_not_exist(stack: Stack, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refusal(stack, "--model", missing) == [
        f"error: --model: there is no folder {missing} (from --model)",
        "  fix: check the path",
    ]


def test_a_folder_that_is_no_model(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("")
    assert refusal(stack, "--model", folder) == [
        f"error: --model: the folder {folder} is no model: it has no config.json "
        "(found: notes.txt) (from --model)",
        "  fix: give the folder that holds config.json, the tokenizer and the weights",
    ]


def test_a_file_is_no_model(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_text("")
    assert refusal(stack, "--model", file) == [
        f"error: --model: {file} is a file; a model is a folder with config.json, a tokenizer and weights "
        "(from --model)",
        f"  fix: give the folder that holds it, {tmp_path}",
    ]


def test_a_folder_without_a_tokenizer(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_bytes((stack.model / "config.json").read_bytes())
    lines = refusal(stack, "--model", folder)
    assert lines[0].startswith("error: ")
    assert "tokenizer" in "".join(lines)


def test_the_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("dynamo-mocker-worker")
    result = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert (
        result.stderr == "dynamo-mocker-worker: error: --model is required: give the flag, or set DYN_MODEL\n"
    )
