"""A file of requests, answered by real processes that are killed at bad moments."""

from __future__ import annotations

import itertools
import json
import random
import re
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.scripted import ALPHABET
from dynamo_core.testing.terminal import Terminal
from dynamo_core.testing.tiny_model import decode

LETTERS = decode(ALPHABET) * 3


def write(path: Path, lines: Iterable[Any]) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The output by id; each id is there once."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    found = {entry["custom_id"]: entry for entry in entries}
    assert len(found) == len(entries)
    return found


def start(stack: Stack, source: Path, *flags: object) -> Running:
    return stack.start("dynamo_frontend", "--input", f"batch:{source}", *flags)


def finish(stack: Stack, batch: Running, code: int = 0, timeout: float = 60.0) -> None:
    """Wait for the end, which is a clean one."""
    assert batch.wait(timeout) == code, batch.output
    assert "Traceback" not in batch.output
    stack.running.remove(batch)


def answered(path: Path, count: int, timeout: float = 20.0) -> None:
    """Wait until the output has so many lines."""
    deadline = time.monotonic() + timeout
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def prompts(count: int, tokens: int = 4) -> list[dict[str, Any]]:
    return [{"prompt": "x" * (i % 30 + 1), "max_tokens": tokens} for i in range(count)]


@pytest.mark.setting("input")
def test_every_form_of_a_request(stack: Stack, tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
    completion = {"prompt": "hello", "max_tokens": 3, "model": "scripted"}
    source = write(
        tmp_path / "in.jsonl",
        [
            {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat},
            {"custom_id": "b", "method": "POST", "url": "/v1/completions", "body": completion},
            "",
            {"text": "hello", "max_tokens": 3},
            chat,
            {"custom_id": "e", "prompt": "hello", "max_tokens": 3, "model": None},
            {"prompt": "hello", "max_tokens": 3000},
            {"prompt": "hello", "model": "scripted", "seed": 13},
        ],
    )
    stack.scripted()
    batch = start(stack, source)
    finish(stack, batch, 1)
    found = read(tmp_path / "in.out.jsonl")
    assert found.keys() == {"a", "b", "line-4", "line-5", "e", "line-7", "line-8"}
    for id in ("a", "line-4", "line-5"):
        body = found[id]["response"]["body"]
        assert body["choices"][0]["message"]["content"] == LETTERS[9:12]
        assert (found[id]["response"]["status_code"], found[id]["error"]) == (200, None)
        assert re.fullmatch(r"[0-9a-f-]{36}", found[id]["response"]["request_id"])
    for id in ("b", "e"):
        assert found[id]["response"]["body"]["choices"][0]["text"] == LETTERS[5:8]
    assert found["line-7"]["error"] == {
        "code": "http_400",
        "message": "prompt and max_tokens exceed 2048 tokens: 5 + 3000",
    }
    assert found["line-8"]["response"]["status_code"] == 400
    assert "seed must be lucky" in found["line-8"]["error"]["message"]
    assert "5 answered in 0:00:0" in batch.output
    assert batch.lines[-1] == (
        f"error: 2 of 7 requests failed (http_400: 2); {tmp_path / 'in.out.jsonl'} has their errors, and the "
        "same command sends them again"
    )


def test_what_is_wrong_with_the_input_is_said_at_once(stack: Stack, tmp_path: Path) -> None:
    body = {"prompt": "x"}
    source = write(
        tmp_path / "in.jsonl",
        [
            {"text": "good"},
            "{",
            [1],
            {"max_tokens": 3},
            {"text": "a", "prompt": "b"},
            {"messages": []},
            {"prompt": 3},
            {"text": "a", "stream": True},
            {"custom_id": 7, "text": "a"},
            {"custom_id": "same", "text": "a"},
            {"custom_id": "same", "text": "b"},
            {"custom_id": "line-1", "text": "a"},
            {"custom_id": "x", "method": "GET", "url": "/v1/completions", "body": body},
            {"custom_id": "x", "method": "POST", "url": "/v1/embeddings", "body": body},
            {"custom_id": "x", "method": "POST", "url": "/v1/completions", "body": body, "top_p": 1},
            {"custom_id": "x", "method": "POST", "url": "/v1/completions", "body": "text"},
        ],
    )
    batch = start(stack, source)
    finish(stack, batch, 2)
    error = batch.lines.index(f"error: {source}: 14 of 16 requests cannot be sent")
    forms = "expected custom_id, method, url and body, or one of messages, prompt and text"
    assert batch.lines[error + 1 :] == [
        "  line 2: is not JSON: Expecting property name enclosed in double quotes at column 2",
        f"  line 3: must be a JSON object, found a list; {forms}",
        f"  line 4: {forms}, found 'max_tokens'",
        f"  line 5: {forms}, found 'text', 'prompt'",
        "  line 6: messages must be a list of messages, found an empty list",
        "  line 7: prompt must be text or a list, found a number",
        "  line 8: stream must be left out: an answer is written when it is complete",
        "  line 9: custom_id must be text, found 7",
        "  line 11: custom_id 'same' is also that of line 10",
        "  line 12: custom_id 'line-1' is what line 1 is called if it has none",
        "  line 13: method must be POST, found 'GET'",
        "  line 14: url must be /v1/chat/completions or /v1/completions, found '/v1/embeddings'",
        "  line 15: top_p: beside body there is only custom_id, method and url",
        "  line 16: body must be a JSON object, found text",
    ]
    assert not (tmp_path / "in.out.jsonl").exists()


def test_of_many_problems_the_first_are_shown(stack: Stack, tmp_path: Path) -> None:
    batch = start(stack, write(tmp_path / "in.jsonl", ["{"] * 3000))
    finish(stack, batch, 2)
    assert "3000 of 3000 requests cannot be sent" in batch.output
    assert batch.lines[-1] == "  … and 2980 more"


def test_an_input_that_is_none(stack: Stack, tmp_path: Path) -> None:
    cases = {
        tmp_path / "missing": "--input: {} is not there",
        tmp_path: "--input: {} is not a file, and a batch is read twice",
        write(tmp_path / "empty", ["", " "]): "{} has no requests",
    }
    for source, message in cases.items():
        batch = start(stack, source)
        finish(stack, batch, 2)
        assert f"error: {message.format(source)}" in batch.output


@pytest.mark.parametrize("word", ["htpp", "batch", "batch:"])
def test_an_input_setting_that_is_none(stack: Stack, word: str) -> None:
    refused = stack.start("dynamo_frontend", "--input", word)
    finish(stack, refused, 2)
    assert f"input: input should be http, text or batch:FILE; found '{word}' (from --input)" in refused.output


def test_killed_at_any_moment_it_goes_on_where_it_was(stack: Stack, tmp_path: Path) -> None:
    count = 400
    source, target = write(tmp_path / "in.jsonl", prompts(count)), tmp_path / "in.out.jsonl"
    worker = stack.scripted("--token-delay", 0.01, "--trace")
    before = b""
    for kill in itertools.count(1):
        batch = start(stack, source, "--batch-concurrency", 8)
        if kill > 3:
            break
        answered(target, before.count(b"\n") + random.randrange(5, 60))
        batch.process.kill()
        batch.wait()
        stack.running.remove(batch)
        now = target.read_bytes()
        assert now.startswith(before[: before.rfind(b"\n") + 1])  # nothing is written anew
        before = now + b'{"custom_id": "line-'  # as if it had been killed in the middle of a line
        target.write_bytes(before)
    finish(stack, batch)
    found = read(target)
    assert found.keys() == {f"line-{i + 1}" for i in range(count)}
    assert not [entry for entry in found.values() if entry["error"]]
    for i in range(count):
        text = found[f"line-{i + 1}"]["response"]["body"]["choices"][0]["text"]
        assert text == LETTERS[i % 30 + 1 : i % 30 + 5]
    starts = sum(line.startswith("start ") for line in worker.lines)
    assert count <= starts <= count + 3 * 8  # only what was under way was asked twice
    assert re.search(r"\d+ had an answer already", batch.output)


def test_only_what_failed_is_sent_again(stack: Stack, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl", prompts(4)), tmp_path / "in.out.jsonl"
    response = {"status_code": 200, "request_id": "1", "body": "kept"}
    failure = {"custom_id": "line-3", "response": None, "error": {"code": "timeout", "message": ""}}
    kept = {"custom_id": "line-2", "response": response, "error": None}
    write(target, [failure, kept])
    stack.scripted()
    finish(stack, start(stack, source))
    found = read(target)
    assert found.keys() == {"line-1", "line-2", "line-3", "line-4"}
    assert found["line-2"] == kept
    assert found["line-3"]["error"] is None
    assert sorted(path.name for path in tmp_path.glob("in.*")) == ["in.jsonl", "in.out.jsonl"]
    again = start(stack, source)
    finish(stack, again)
    assert "0 answered in 0:00:00 · 4 had an answer already" in again.output
    assert "has changed" not in again.output
    source.touch()
    again = start(stack, source)
    finish(stack, again)
    assert f"{source} has changed since its last answer" in again.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_how_far_it_is(stack: Stack, tmp_path: Path, number: signal.Signals) -> None:
    source, target = write(tmp_path / "in.jsonl", prompts(200)), tmp_path / "in.out.jsonl"
    worker = stack.scripted("--token-delay", 0.05, "--trace")
    batch = start(stack, source, "--batch-concurrency", 4)
    answered(target, 10)
    started = time.monotonic()
    assert batch.stop(number) == 1
    assert time.monotonic() - started < 5
    assert "Traceback" not in batch.output
    stack.running.remove(batch)
    done = target.read_bytes().count(b"\n")
    assert batch.lines[-1] == (
        f"error: stopped: {done} of 200 requests have an answer in {target}; the same command goes on with "
        "the rest"
    )
    worker.wait_for_line("cancelled")
    assert worker.process.poll() is None


def test_stopped_while_the_input_is_checked(stack: Stack, tmp_path: Path) -> None:
    batch = start(stack, write(tmp_path / "in.jsonl", ['{"text": "a"}'] * 1_000_000))
    batch.wait_for_line("looking for models")
    started = time.monotonic()
    assert batch.stop(signal.SIGINT) == 1
    assert time.monotonic() - started < 2
    assert batch.lines[-1] == "error: stopped before the first request"
    stack.running.remove(batch)


def test_a_worker_that_is_replaced(stack: Stack, tmp_path: Path) -> None:
    """Nothing fails while there is none, and nothing is asked without a model."""
    source, target = write(tmp_path / "in.jsonl", prompts(120)), tmp_path / "in.out.jsonl"
    dying = stack.scripted("--token-delay", 0.02)
    batch = start(stack, source, "--batch-concurrency", 8)
    answered(target, 10)
    dying.process.kill()
    dying.wait()
    stack.running.remove(dying)
    time.sleep(1.5)
    assert batch.process.poll() is None
    stack.scripted()
    finish(stack, batch)
    assert read(target).keys() == {f"line-{i + 1}" for i in range(120)}
    assert "120 answered" in batch.output


@pytest.mark.setting("batch_wait_timeout")
def test_without_a_model_it_gives_up(stack: Stack, tmp_path: Path) -> None:
    batch = start(stack, write(tmp_path / "in.jsonl", prompts(3)), "--batch-wait-timeout", 1)
    finish(stack, batch, 1)
    assert batch.lines[-1] == (
        "error: no model has been ready for 1 s (--batch-wait-timeout); start a worker, then the same "
        "command goes on"
    )


def test_a_model_that_does_not_exist(stack: Stack, tmp_path: Path) -> None:
    """It may be about to come, so that its requests wait a little, once."""
    absent = [{"prompt": "x", "model": "absent"}] * 20
    source = write(tmp_path / "in.jsonl", [*absent, *prompts(2)])
    stack.scripted()
    batch = start(stack, source, "--batch-concurrency", 4)
    started = time.monotonic()
    finish(stack, batch, 1)
    assert 9 < time.monotonic() - started < 20
    found = read(tmp_path / "in.out.jsonl")
    assert found["line-1"]["error"] == {"code": "http_404", "message": "Model not found"}
    assert found["line-22"]["error"] is None
    assert "20 of 22 requests failed (http_404: 20)" in batch.output


@pytest.mark.setting("batch_concurrency", "batch_output")
@pytest.mark.parametrize("concurrency", [1, 5])
def test_so_many_at_a_time(stack: Stack, tmp_path: Path, concurrency: int) -> None:
    source, target = write(tmp_path / "in.jsonl", prompts(30)), tmp_path / "answers"
    worker = stack.scripted("--token-delay", 0.005, "--trace")
    finish(stack, start(stack, source, "--batch-concurrency", concurrency, "--batch-output", target))
    assert len(read(target)) == 30
    under_way = most = 0
    for line in worker.lines:
        under_way += {"start": 1, "end": -1}.get(line.split(" ")[0], 0)
        most = max(most, under_way)
    assert most == concurrency


def test_many_lines_in_little_memory(stack: Stack, tmp_path: Path) -> None:
    """As much as 20 requests of that size, where all of them would be 80 MB as text alone."""
    count, padding = 2000, "x" * 40_000
    lines = ({"prompt": "x", "max_tokens": 1, "user": padding} for _ in range(count))
    source = write(tmp_path / "in.jsonl", lines)
    stack.scripted()
    idle = start(stack, write(tmp_path / "one.jsonl", prompts(1)))
    finish(stack, idle)
    batch = start(stack, source, "--batch-concurrency", 8)
    process, most = psutil.Process(batch.pid), 0
    while batch.process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    finish(stack, batch)
    assert len(read(tmp_path / "in.out.jsonl")) == count
    assert most < 260e6


def test_an_output_that_cannot_be_written(stack: Stack, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", prompts(3))
    other = write(tmp_path / "other", ["not an answer"])
    cases = {
        tmp_path / "no" / "out": "cannot write the output {}: No such file or directory",
        tmp_path: "cannot write the output {}: Is a directory",
        Path("/dev/full"): "the output {} is not a file",
        source: "--batch-output: {} is the input",
        other: "the output {} is not that of a batch: line 1 is no answer",
    }
    for target, message in cases.items():
        batch = start(stack, source, "--batch-output", target)
        finish(stack, batch, 2)
        assert f"error: {message.format(target)}" in batch.lines
    assert other.read_text() == "not an answer\n"
    assert len(source.read_text().splitlines()) == 3


def test_a_full_disk(stack: Stack, tmp_path: Path) -> None:
    """A limit on the size of files stands for it. What was written stays, and the next run goes on."""
    source, target = write(tmp_path / "in.jsonl", prompts(100)), tmp_path / "in.out.jsonl"
    stack.scripted()
    argv = [sys.executable, "-m", "dynamo_frontend", "--discovery-path", str(stack.discovery)]
    batch = Running(["prlimit", "--fsize=10000", *argv, "--input", f"batch:{source}"])
    assert batch.wait() == 2
    assert batch.lines[-1] == f"error: cannot write the output {target}: File too large"
    assert "Traceback" not in batch.output
    finish(stack, start(stack, source))
    assert len(read(target)) == 100


def test_two_at_a_time_would_answer_twice(stack: Stack, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", prompts(3))
    first = start(stack, source)
    first.wait_for_line("looking for models")
    answered(tmp_path / "in.out.jsonl", 0)
    second = start(stack, source)
    finish(stack, second, 2)
    assert f"error: another process writes to {tmp_path / 'in.out.jsonl'}" in second.lines
    assert first.stop() == 1
    stack.running.remove(first)


def test_an_output_needs_a_batch(stack: Stack, tmp_path: Path) -> None:
    frontend = stack.frontend("--batch-output", tmp_path / "out")
    finish(stack, frontend, 2)
    assert "error: --batch-output is for a batch, but --input is http" in frontend.output


def test_a_bar_in_a_terminal(stack: Stack, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", prompts(100))
    argv = [sys.executable, "-m", "dynamo_frontend", "--discovery-path", stack.discovery]
    with Terminal([*argv, "--input", f"batch:{source}", "--batch-concurrency", 2]) as terminal:
        terminal.wait_for("0 of 100 · waiting for a model")
        stack.scripted("--token-delay", 0.01)
        terminal.wait_for(r"━ +\d+ of 100 · [\d.]+ requests/s · [\d,]+ output tokens/s · 0:0\d:\d\d left")
        assert terminal.wait() == 0
        assert "100 answered in 0:00:0" in terminal.screen
        assert "request completed" not in terminal.screen
        assert "Traceback" not in terminal.screen


def test_ctrl_c_in_a_terminal(stack: Stack, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", prompts(100))
    argv = [sys.executable, "-m", "dynamo_frontend", "--discovery-path", stack.discovery]
    stack.scripted("--token-delay", 0.1)
    with Terminal([*argv, "--input", f"batch:{source}", "--batch-concurrency", 2]) as terminal:
        terminal.wait_for(r"[1-9]\d* of 100 · ")
        terminal.send("\x03")
        assert terminal.wait() == 1
        assert re.search(r"error: stopped: [1-9]\d* of 100 requests have", terminal.screen)
        assert "Traceback" not in terminal.screen
