"""A worker that lives stays registered, whatever becomes of its entries."""

from __future__ import annotations

import os
import signal
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dynamo_core.runtime.listing.folder import EXPIRY
from dynamo_core.runtime.presence import in_folder
from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.servers import Etcd

AGAIN = r"dynamo\.scripted\.generate was no longer registered and has registered again"
RENEWAL = 4.0
"""Seconds in which every living process touches its entries at least once."""


def entries(stack: Stack) -> set[str]:
    return {path.name for path in stack.discovery.glob("v1/*/*") if not path.name.startswith(".")}


def wait_entries(stack: Stack, names: set[str], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while (found := entries(stack)) != names:
        assert time.monotonic() < deadline, f"{found} instead of {names}"
        time.sleep(0.02)


def ask(stack: Stack) -> None:
    message = {"role": "user", "content": "hi"}
    answer = stack.client().chat.completions.create(model="scripted", messages=[message], max_tokens=3)
    assert len(answer.choices[0].message.content or "") == 3


@contextmanager
def paused(processes: list[Running]) -> Iterator[None]:
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


def test_a_folder_that_is_emptied_fills_again(stack: Stack) -> None:
    stack.frontend()
    worker = stack.scripted()
    worker.wait_for_line("is ready")  # it has seen its own entry
    stack.wait_ready()
    names = entries(stack)
    for path in stack.discovery.glob("v1/*/*"):
        path.unlink()
    stack.wait_ready(healthy=False)
    worker.wait_for_line(AGAIN)
    assert entries(stack) == names
    stack.wait_ready()
    ask(stack)


def test_a_laptop_that_has_slept(stack: Stack) -> None:
    """Whoever wakes up first removes what the others have not touched for 10 s, and the Rust runtime never
    makes an entry again: all processes would live, and every request get a 404 from then on."""
    processes = [stack.frontend(), stack.scripted(), stack.scripted()]
    stack.wait_ready()
    stack.wait_instances(2)
    names = entries(stack)
    with paused(processes):
        time.sleep(EXPIRY + 1)  # nobody is awake who could be asked
    deadline = time.monotonic() + RENEWAL + 1
    while time.monotonic() < deadline:  # until each of them has removed what it takes for dead
        wait_entries(stack, names)
        time.sleep(0.1)
    stack.wait_ready()
    ask(stack)


def test_keys_that_are_deleted_in_etcd_are_made_again(stack: Stack, etcd: Etcd) -> None:
    stack.frontend(*etcd.flags)
    worker = stack.scripted(*etcd.flags)
    worker.wait_for_line("is ready")  # it has seen its own entry
    stack.wait_ready()
    keys = etcd.keys()
    etcd.delete("v1/")
    worker.wait_for_line(AGAIN)
    assert etcd.keys() == keys
    stack.wait_ready()
    ask(stack)


def test_one_that_is_stopped_does_not_register_again(stack: Stack, etcd: Etcd) -> None:
    stack.frontend(*etcd.flags)
    worker = stack.scripted(*etcd.flags, "--token-delay", "0.1")
    stack.wait_ready()
    message = {"role": "user", "content": "hi"}
    with stack.client().chat.completions.create(
        model="scripted", messages=[message], max_tokens=30, stream=True
    ) as stream:
        next(iter(stream))
        worker.process.terminate()
        assert sum(len(c.delta.content or "") for chunk in stream for c in chunk.choices) > 25
    assert worker.wait() == 0
    assert etcd.keys() == []
    assert "registered again" not in worker.output


def test_a_model_that_vanishes_alone_comes_back(stack: Stack) -> None:
    stack.frontend()
    worker = stack.scripted("--component", "any-name_1")
    worker.wait_for_line("is ready")  # it has seen its own entry
    stack.wait_ready()
    names = entries(stack)
    (name,) = names
    assert in_folder(stack.discovery, urllib.parse.unquote(name), is_model=True)
    (card,) = (path for path in stack.discovery.glob("v1/mdc/*") if not path.name.startswith("."))
    card.unlink()
    worker.wait_for_line("has registered again")
    assert in_folder(stack.discovery, urllib.parse.unquote(name), is_model=True)
    assert entries(stack) == names
    stack.wait_ready()
    ask(stack)


def test_a_defect_in_the_watch_is_not_taken_for_a_lost_registration(
    stack: Stack, component: Callable[..., Running]
) -> None:
    defective = component(stack, "defective.py")
    assert defective.wait() == 1
    assert "ZeroDivisionError: the defect" in defective.output
    assert "Traceback" in defective.output
    assert "no longer registered" not in defective.output
