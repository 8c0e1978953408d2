"""Which worker a request goes to, as clients see it; the scripted engine, and its KV events, behind it."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from dynamo_core.testing.processes import Running, Stack

WORKERS = 3
PROMPT = "The same sixty-four letters again and again, in four whole blocks"
ANSWER_TIME = 1.0
"""Seconds in which a router has heard of what it has caused."""


@contextmanager
def workers(folder: Path, model: Path, *flags: object, count: int = WORKERS) -> Iterator[Stack]:
    with Stack(folder, model) as stack:
        for _ in range(count):
            stack.scripted(*flags)
        yield stack


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Stack]:
    """Workers that tell nothing of their KV caches."""
    with workers(tmp_path_factory.mktemp("plain"), tiny_model) as stack:
        yield stack


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Stack]:
    """Workers that publish KV events."""
    with workers(tmp_path_factory.mktemp("telling"), tiny_model, "--kv-events") as stack:
        yield stack


@contextmanager
def frontend(graph: Stack, folder: Path, *flags: object, count: int = WORKERS) -> Iterator[Stack]:
    """A frontend of its own for the workers of `graph`."""
    with Stack(folder, graph.model) as own:
        own.discovery = graph.discovery
        own.frontend(*flags)
        own.wait_ready()
        wait_workers(own, count)
        yield own


def wait_workers(stack: Stack, count: int, timeout: float = 30.0) -> list[int]:
    """Wait until the frontend knows this many workers; their instance ids."""
    deadline = time.monotonic() + timeout
    while True:
        with urllib.request.urlopen(f"{stack.url}/health/runtime", timeout=5) as response:
            instances = json.load(response)["instances"]
        found = [instance["instance_id"] for instance in instances if instance["endpoint"] == "generate"]
        if len(found) == count:
            return found
        assert time.monotonic() < deadline, f"{len(found)} workers instead of {count}"
        time.sleep(0.02)


def ask(stack: Stack, prompt: str = PROMPT, headers: dict[str, str] | None = None, **nvext: Any) -> int:
    """Send a request; the worker that has answered it."""
    answer = stack.client().completions.create(
        model="scripted",
        prompt=prompt,
        max_tokens=1,
        extra_headers=headers,
        extra_body={"nvext": {"extra_fields": ["worker_id"], **nvext}},
    )
    assert answer.model_extra is not None
    return int(answer.model_extra["nvext"]["worker_id"]["decode_worker_id"])


def ask_again(stack: Stack, times: int, prompt: str = PROMPT) -> list[int]:
    """The same, one after the other, once the router knows what the first has left in a cache."""
    first = ask(stack, prompt)
    time.sleep(ANSWER_TIME)
    return [first, *(ask(stack, prompt) for _ in range(times - 1))]


def refusal(stack: Stack, *flags: object) -> list[str]:
    process = stack.frontend(*flags)
    assert process.wait() == 2, process.output
    stack.running.remove(process)
    return [line for line in process.lines if " INFO " not in line]


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        (("--router-temperature", 0.5), "--router-temperature"),
        (("--no-router-kv-events",), "--router-kv-events"),
        (("--router-ttl", 9), "--router-ttl"),
        (("--router-overlap-credit", 0), "--router-overlap-credit"),
        (("--router-queue-threshold", 1), "--router-queue-threshold"),
        (("--router-replica-sync",), "--router-replica-sync"),
        (("--router-max-prefill-tokens", 9), "--router-max-prefill-tokens"),
        (("--conditional-disagg", 9), "--conditional-disagg"),
    ],
)
def test_what_only_mode_kv_knows(stack: Stack, flags: tuple[object, ...], flag: str) -> None:
    assert refusal(stack, "--router-mode", "random", *flags) == [
        f"python -m dynamo_frontend: error: {flag} counts only with --router-mode kv, and that is random "
        f"(from {flags[0]})",
        "  fix: leave it out, or give --router-mode kv",
    ]


def test_what_does_not_go_together_in_mode_kv(stack: Stack) -> None:
    kv = ("--router-mode", "kv")
    assert refusal(stack, *kv, "--router-ttl", 9)[0].endswith(
        "--router-ttl 9 counts only where caches are guessed, and workers tell theirs (from --router-ttl)"
    )
    assert refusal(stack, *kv, "--conditional-disagg", 9, "--no-router-kv-events")[0].endswith(
        "--conditional-disagg needs to hear what decode workers have cached, and --router-kv-events is off "
        "(from --conditional-disagg)"
    )


def test_mode_kv_follows_the_kv_events(telling: Stack, tmp_path: Path) -> None:
    mode = ("--router-mode", "kv")
    with frontend(telling, tmp_path / "first", *mode) as own:
        assert len({ask(own, f"{number} comes first, so that no block is known") for number in range(9)}) > 1
        where = ask_again(own, 6)
    assert len(set(where)) == 1
    with frontend(telling, tmp_path / "later", *mode) as own:  # it can ask for what it has not heard
        time.sleep(ANSWER_TIME)
        assert {ask(own) for _ in range(3)} == set(where)


@pytest.mark.setting("router_kv_events", "router_ttl")
def test_without_kv_events_caches_are_guessed(plain: Stack, tmp_path: Path) -> None:
    flags = ("--router-mode", "kv", "--no-router-kv-events", "--router-ttl", 2)
    with frontend(plain, tmp_path, *flags) as own:
        assert len({ask(own) for _ in range(8)}) == 1
        where = {ask(own)}
        for _ in range(12):  # a guess that is forgotten leaves chance
            if len(where) == 1:
                time.sleep(2.5)
                where.add(ask(own))
        assert len(where) > 1


@pytest.mark.setting("router_overlap_credit")
def test_caches_that_count_nothing(telling: Stack, tmp_path: Path) -> None:
    with frontend(telling, tmp_path, "--router-mode", "kv", "--router-overlap-credit", 0) as own:
        assert len(set(ask_again(own, 10))) > 1


@pytest.mark.setting("router_temperature")
def test_a_temperature_spreads(telling: Stack, tmp_path: Path) -> None:
    with frontend(telling, tmp_path, "--router-mode", "kv", "--router-temperature", 100) as own:
        assert len(set(ask_again(own, 10))) > 1


@pytest.mark.setting("router_replica_sync")
@pytest.mark.parametrize("told", [True, False])
def test_frontends_tell_each_other_of_their_load(tmp_path: Path, tiny_model: Path, told: bool) -> None:
    """One keeps a worker busy; only if it says so does the other one know which."""
    flags = ("--router-mode", "kv", "--router-replica-sync" if told else "--no-router-replica-sync")
    with (
        workers(tmp_path, tiny_model, "--kv-events", "--token-delay", 0.05, count=2) as graph,
        frontend(graph, tmp_path / "a", *flags, count=2) as one,
        frontend(graph, tmp_path / "b", *flags, count=2) as other,
    ):
        busy = wait_workers(one, 2)[0]
        streams = [
            one.client().completions.create(
                model="scripted",
                prompt=f"{number} something that nobody has asked for yet",
                max_tokens=400,
                stream=True,
                extra_headers={"x-dynamo-worker-instance-id": str(busy)},
            )
            for number in range(4)
        ]
        time.sleep(ANSWER_TIME)
        where = [ask(other, f"{number} is a new and rather short prompt") for number in range(12)]
        for stream in streams:
            stream.close()
    assert (busy not in where) is told


@pytest.mark.setting("router_session_ttl")
@pytest.mark.parametrize("mode", ["round-robin", "kv"])
def test_a_session_stays_with_its_worker(plain: Stack, tmp_path: Path, mode: str) -> None:
    def questions(name: str) -> set[int]:
        header = {"x-dynamo-session-id": name}
        return {ask(own, f"{number} {name}", header) for number in range(2 * WORKERS)}

    with frontend(plain, tmp_path, "--router-mode", mode, "--router-session-ttl", 2) as own:
        first = [questions(name) for name in ("one", "two", "three", "four", "five", "six", "seven", "eight")]
        assert [len(where) for where in first] == [1] * 8
        assert len(set.union(*first)) > 1
        if mode == "round-robin":
            assert len({ask(own) for _ in range(WORKERS)}) == WORKERS
            later = set()
            for _ in range(2):  # round-robin gives a forgotten session the next worker
                time.sleep(3.5)
                later |= questions("one")
            assert len(later | first[0]) > 1


def test_a_session_without_the_setting_goes_anywhere(plain: Stack, tmp_path: Path) -> None:
    with frontend(plain, tmp_path) as own:
        assert len({ask(own, headers={"x-dynamo-session-id": "one"}) for _ in range(WORKERS)}) == WORKERS


@pytest.mark.parametrize("mode", ["round-robin", "least-loaded", "kv"])
def test_a_client_can_name_the_worker(telling: Stack, tmp_path: Path, mode: str) -> None:
    with frontend(telling, tmp_path, "--router-mode", mode) as own:
        for worker in wait_workers(own, WORKERS):
            assert {ask(own, headers={"x-dynamo-worker-instance-id": str(worker)}) for _ in range(3)} == {
                worker
            }
            assert {ask(own, backend_instance_id=worker) for _ in range(3)} == {worker}
        with pytest.raises(openai.BadRequestError):
            ask(own, backend_instance_id=12345)


@pytest.mark.parametrize(
    "salt", [{"extra_body": {"nvext": {"cache_salt": "s"}}}, {"extra_headers": {"x-tenant-id": "s"}}]
)
def test_a_salt_keeps_caches_apart(telling: Stack, tmp_path: Path, salt: dict[str, Any]) -> None:
    def hit_rate(**options: Any) -> float:
        """The part of the prompt that the router believes cached."""
        options.setdefault("extra_body", {}).setdefault("nvext", {})["extra_fields"] = ["timing"]
        answer = own.client().completions.create(model="scripted", prompt=PROMPT, max_tokens=1, **options)
        assert answer.model_extra is not None
        return float(answer.model_extra["nvext"]["timing"]["kv_hit_rate"])

    with frontend(telling, tmp_path, "--router-mode", "kv") as own:
        ask_again(own, 2)
        assert hit_rate() > 0.5
        assert hit_rate(**salt) == 0


def test_clients_can_be_kept_from_choosing(
    telling: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYN_DISABLE_FRONTEND_NVEXT", "1")
    with frontend(telling, tmp_path) as own:
        worker = str(wait_workers(own, WORKERS)[0])
        answers = [
            own.client().completions.create(
                model="scripted",
                prompt="hello",
                max_tokens=1,
                extra_headers={"x-dynamo-worker-instance-id": "12345"},
                extra_body={"nvext": {"extra_fields": ["worker_id"], "backend_instance_id": int(worker)}},
            )
            for _ in range(2)
        ]
    assert [answer.choices[0].text for answer in answers] == ["5", "5"]
    assert not any("nvext" in (answer.model_extra or {}) for answer in answers)


def test_what_a_client_cannot_override_is_refused_by_name(plain: Stack, tmp_path: Path) -> None:
    with (
        frontend(plain, tmp_path, "--router-mode", "kv", "--no-router-kv-events") as own,
        pytest.raises(openai.BadRequestError, match="unknown field `router_config_override`"),
    ):
        ask(own, router_config_override={"router_temperature": 1.0})


@pytest.mark.setting("router_max_kv_usage")
def test_full_workers_refuse(tmp_path: Path, tiny_model: Path) -> None:
    """The scripted engine never forgets a block, and tells how many it has."""
    with workers(tmp_path, tiny_model, "--kv-events", count=1) as graph:
        limit = ("--router-max-kv-usage", 0.0005)  # of 10,000 blocks
        with frontend(graph, tmp_path / "own", *limit, count=1) as own:
            ask(own, "x" * 200)
            time.sleep(1)
            with pytest.raises(openai.APIStatusError) as refused:
                ask(own)
            assert refused.value.status_code == 529


@pytest.mark.setting("router_max_prefill_tokens")
def test_workers_with_much_to_compute_refuse(tmp_path: Path, tiny_model: Path) -> None:
    limit = ("--router-mode", "kv", "--router-max-prefill-tokens", 50)
    with (
        workers(tmp_path, tiny_model, "--kv-events", "--token-delay", 2, count=1) as graph,
        frontend(graph, tmp_path / "own", *limit, count=1) as own,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(ask, own, "y" * 100)
        time.sleep(0.5)
        with pytest.raises(openai.APIStatusError) as refused:
            ask(own)
        assert refused.value.status_code == 529
        assert first.result()
        assert ask(own)


@pytest.mark.setting("conditional_disagg")
def test_what_a_decode_worker_mostly_has_stays_there(stack: Stack) -> None:
    stack.frontend("--router-mode", "kv", "--conditional-disagg", 64)
    pair = str(Path(__file__).parent / "components" / "pair.py")
    model = ("--model", stack.model, "--served-model-name", "scripted", "--kv-events")
    halves = {}
    for half in ("prefill", "decode"):
        words = [sys.executable, pair, "--half", half, "--discovery-path", stack.discovery, *model]
        halves[half] = Running([str(word) for word in words])
        stack.running.append(halves[half])
    stack.wait_ready()
    text = PROMPT * 3

    def computed_by(prompt: str) -> str:
        before = {half: len(process.lines) for half, process in halves.items()}
        ask(stack, prompt)
        time.sleep(ANSWER_TIME)
        (found,) = [
            half for half, process in halves.items() if "computes" in "".join(process.lines[before[half] :])
        ]
        return found

    assert computed_by(text) == "prefill"
    assert computed_by(f"{text} And a short question.") == "decode"
    assert (
        computed_by(f"{text} And what is too long to be computed there, since it has {64} letters or more.")
        == "prefill"
    )
    assert computed_by("Short, but new.") == "prefill"
