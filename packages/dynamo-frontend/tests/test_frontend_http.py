"""What clients see of the frontend, with the scripted engine behind it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from dynamo_core.runtime.own_server import ROUTES, OwnServer
from dynamo_core.testing.processes import Running, Stack

MESSAGES: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Stack]:
    """A frontend with one worker, for tests that leave it as it was."""
    with Stack(tmp_path_factory.mktemp("graph"), tiny_model) as running:
        running.frontend()
        running.scripted()
        running.wait_ready()
        yield running


def get(url: str) -> tuple[int, str]:
    """Status and body, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _first_answer(url: str, timeout: float = 10.0) -> tuple[int, str]:
    deadline = time.monotonic() + timeout
    while True:
        try:
            return get(url)
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def ask(stack: Stack, count: int = 3) -> str:
    answer = stack.client().chat.completions.create(model="scripted", messages=MESSAGES, max_tokens=count)
    return answer.choices[0].message.content or ""


def stream(stack: Stack, count: int, first: threading.Event) -> str:
    text = ""
    for chunk in stack.client().chat.completions.create(
        model="scripted", messages=MESSAGES, max_tokens=count, stream=True
    ):
        first.set()
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return text


def test_health_follows_the_models(stack: Stack) -> None:
    """P08 (ai-dynamo #2296, #11178)."""
    frontend = stack.frontend()
    status, body = _first_answer(f"{stack.url}/health")
    assert (status, json.loads(body)) == (503, {"status": "no model is ready", "models": []})

    server = OwnServer("127.0.0.1", stack.port)
    assert not any(map(server.is_open, ROUTES))
    worker = stack.scripted()
    stack.wait_ready()
    assert all(map(server.is_open, ROUTES))
    status, body = get(f"{stack.url}/health")
    assert (status, json.loads(body)) == (200, {"status": "ready", "models": ["scripted"]})

    assert worker.stop() == 0
    stack.running.remove(worker)
    stack.wait_ready(healthy=False)
    assert get(f"{stack.url}/health")[0] == 503
    assert frontend.stop() == 0


def test_the_models(graph: Stack) -> None:
    (model,) = graph.client().models.list().data
    assert (model.id, model.object) == ("scripted", "model")


def test_a_model_that_is_not_there(graph: Stack) -> None:
    with pytest.raises(openai.NotFoundError):
        graph.client().chat.completions.create(model="absent", messages=MESSAGES)


def test_chat_and_completions(graph: Stack) -> None:
    assert len(ask(graph, 7)) == 7
    answer = graph.client().completions.create(model="scripted", prompt="hello", max_tokens=4)
    assert answer.choices[0].text == "5678"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 4)


def test_a_completion_as_a_stream(graph: Stack) -> None:
    chunks = list(
        graph.client().completions.create(model="scripted", prompt="hello", max_tokens=4, stream=True)
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "5678"


def test_metrics(graph: Stack) -> None:
    ask(graph)
    status, text = get(f"{graph.url}/metrics")
    assert status == 200
    counted = re.findall(
        r'^dynamo_frontend_requests_total\{.*model="scripted".*\} (\d+)$', text, re.MULTILINE
    )
    assert sum(map(int, counted)) >= 1


@pytest.mark.setting("router_mode")
@pytest.mark.parametrize("mode", ["round-robin", "random", "least-loaded", "power-of-two", "kv"])
def test_every_router_mode_serves(graph: Stack, tmp_path: Path, mode: str) -> None:
    with Stack(tmp_path, graph.model) as own:
        own.discovery = graph.discovery
        own.frontend("--router-mode", mode)
        own.wait_ready()
        assert [len(ask(own, 5)) for _ in range(4)] == [5] * 4


@pytest.mark.setting("migration_limit")
@pytest.mark.parametrize(("limit", "moves"), [(0, False), (3, True)])
def test_a_lost_worker_with_and_without_migration(stack: Stack, limit: int, moves: bool) -> None:
    frontend = stack.frontend("--migration-limit", limit)
    dying = stack.scripted("--token-delay", 0.02)
    stack.wait_ready()
    first = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream, stack, 1000, first)
        assert first.wait(10)
        stack.scripted()
        stack.wait_instances(2)
        dying.process.kill()
        if moves:
            text = answer.result()
            alphabet = "0123456789abcdefghijklmnopqrstuvwxyz" * 29
            assert len(text) == 1000
            assert text in alphabet
        else:
            with pytest.raises(openai.APIError):
                answer.result()
    assert dying.wait() == -signal.SIGKILL
    stack.running.remove(dying)
    assert frontend.process.poll() is None


@pytest.mark.setting("http_port")
def test_a_port_in_use_names_its_holder(graph: Stack, tmp_path: Path) -> None:
    with Stack(tmp_path, graph.model) as own:
        own.port = graph.port
        second = own.frontend()
        assert second.wait() == 2
        assert re.fullmatch(
            rf"error: port {graph.port} is in use by python\S* \(process {graph.running[0].pid}, user \S+\)",
            second.lines[-2],
        )
        assert second.lines[-1] == "  fix: stop that process, or choose another --http-port"
        assert "Traceback" not in second.output
    assert graph.healthy()


@pytest.mark.setting("http_host")
def test_an_address_of_another_machine(stack: Stack) -> None:
    frontend = stack.frontend("--http-host", "192.0.2.1")
    assert frontend.wait() == 2
    assert frontend.lines[-2] == (
        f"error: cannot listen on 192.0.2.1:{stack.port}: Cannot assign requested address"
    )
    assert "--http-host" in frontend.lines[-1]
    assert "Traceback" not in frontend.output


def test_the_console_script_is_the_same_program(stack: Stack) -> None:
    script = Path(sys.executable).with_name("dynamo-frontend")
    argv = [str(script), "--discovery-path", str(stack.discovery), "--http-port", str(stack.port)]
    stack.running.append(Running(argv))
    stack.scripted()
    stack.wait_ready()
    assert len(ask(stack)) == 3
    shown = subprocess.run([str(script), "--router-mode", "kw"], capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert shown.stderr.startswith(
        "dynamo-frontend: error: router-mode: input should be 'round-robin', 'random'"
    )
