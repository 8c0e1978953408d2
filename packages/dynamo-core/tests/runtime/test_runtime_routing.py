"""What workers tell routers, and what they wait for, on the scripted engine."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from dynamo_core.errors import UserError
from dynamo_core.handlers.kv_events import KvEventSocket, sources
from dynamo_core.runtime.feed import RouterFeed
from dynamo_core.testing.processes import PORTS, Running, Stack
from dynamo_core.testing.scripted import BLOCK_SIZE

PREFIX = list(range(20, 20 + 8 * BLOCK_SIZE // 2)) * 2


def worker_of(stack: Stack, prompt: list[int]) -> object:
    """The worker that a frontend has chosen for a prompt."""
    answer = stack.client().completions.create(
        model="scripted",
        prompt=prompt,
        max_tokens=1,
        extra_body={"nvext": {"extra_fields": ["worker_id"]}},
    )
    return answer.nvext["worker_id"]["decode_worker_id"]


def settles(stack: Stack, prompt: list[int], timeout: float = 10.0) -> bool:
    """Whether a prompt and its continuations go to one worker, as soon as its events have arrived."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if len({str(worker_of(stack, [*prompt, 30 + i])) for i in range(6)}) == 1:
            return True
    return False


@pytest.mark.setting("router_mode", "kv_events")
def test_one_mode_for_frontend_and_workers(stack: Stack) -> None:
    stack.frontend("--router-mode", "kv")
    workers = [stack.scripted("--router-mode", "kv") for _ in range(2)]
    for worker in workers:
        worker.wait_for_line("is ready")
    stack.wait_ready()
    stack.wait_instances(4)  # each has an endpoint for its KV index besides
    assert settles(stack, PREFIX)
    assert "KV events go out on all interfaces" in workers[0].output


@pytest.mark.setting("kv_events")
@pytest.mark.parametrize("flags", [("--kv-events",), ("--router-mode", "kv")])
def test_the_choice_is_the_frontends(stack: Stack, flags: tuple[str, ...]) -> None:
    stack.frontend()
    for worker in [stack.scripted(*flags) for _ in range(2)]:
        worker.wait_for_line("is ready")
    stack.wait_ready()
    stack.wait_instances(4)
    chosen = [str(worker_of(stack, PREFIX)) for _ in range(6)]
    assert len(set(chosen)) == 2


def test_without_them_nothing_listens_but_on_loopback(stack: Stack) -> None:
    worker = stack.scripted()
    worker.wait_for_line("is ready")
    assert "KV events" not in worker.output


def test_an_endpoint_is_ready_only_with_what_it_needs(
    stack: Stack, component: Callable[..., Running], ask: Callable[..., list[Any]]
) -> None:
    port = next(PORTS)
    needy = component(stack, "needy.py", "--status-port", port)
    needy.wait_for_line("test.needy.generate is not ready: it needs an instance of test.answers.generate")
    assert status(port) == 503
    answers = component(stack, "answers.py")
    needy.wait_for_line("test.needy.generate is ready")
    assert status(port) == 200
    assert ask(stack, "test.needy.generate", [{"request": {}}])[0]["answers"] == ["served"]
    answers.stop()
    deadline = time.monotonic() + 20
    while status(port) != 503 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status(port) == 503
    assert needy.stop() == 0


def status(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


class Publisher:
    """Takes down what would go to the Rust side."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []

    def publish(self, *, dp_rank: int, kv_used_blocks: int) -> None:
        self.said.append((dp_rank, kv_used_blocks))


def test_load_is_told_when_it_changes_and_not_at_every_step() -> None:
    publisher = Publisher()
    feed = RouterFeed(16, {}, publisher)
    for used in (1, 1, 2, 3, 0, 0):
        feed.load(used)
    feed.load(5, rank=1)
    assert publisher.said == [(0, 1), (0, 0), (1, 5)]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("ipc:///run/kv", ["ipc:///run/kv"]),
        ("ipc:///run/inproc", ["ipc:///run/inproc", "ipc:///run/inproc_dp1"]),
        ("tcp://*:5557", ["tcp://127.0.0.1:5557", "tcp://127.0.0.1:5558"]),
        ("tcp://0.0.0.0:5557", ["tcp://127.0.0.1:5557"]),
    ],
)
def test_where_to_listen_to_an_engine(endpoint: str, expected: list[str]) -> None:
    assert [source.endpoint for source in sources(endpoint, ranks=len(expected))] == expected


def test_an_address_that_an_engine_would_connect_to() -> None:
    with pytest.raises(UserError, match="nobody listens") as caught:
        sources("tcp://127.0.0.1:5557")
    assert "fix: leave the address out" in str(caught.value)


def test_the_socket_of_a_killed_worker_is_cleared_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = KvEventSocket()
    assert first.endpoint == first.endpoint
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    left = folder.with_name(folder.name.rpartition("kv-")[0] + "kv-999999999-abc")
    left.mkdir()
    second = KvEventSocket()
    assert second.endpoint != first.endpoint
    assert not left.exists()
    first.close()
    second.close()
    assert not list(tmp_path.iterdir())
