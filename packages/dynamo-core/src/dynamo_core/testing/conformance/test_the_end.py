"""How a worker goes: the last tests, since they stop the one that all others have used."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request

import psutil

from dynamo_core.testing.conformance.conftest import Same, Served
from dynamo_core.testing.engine_checks import PROMPTS, Case, assert_gone, complete


def status(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_health(served: Served) -> None:
    """The status port says that the worker is ready"""
    assert status(served.status_port) == 200


def test_drain(served: Served, same: Same) -> None:
    """A worker that is stopped ends its streams in order, then leaves nothing behind"""
    long = Case("long", PROMPTS[4], max_tokens=600)
    whole = complete(served.stack, long).choices[0].text
    children = psutil.Process(served.worker.pid).children(recursive=True)
    stream = iter(complete(served.stack, long, stream=True))
    text = next(stream).choices[0].text
    said = len(served.worker.lines)  # the Rust side prints a traceback for a request that is refused
    served.worker.process.send_signal(signal.SIGTERM)
    text += "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
    assert same(text, whole)
    assert served.worker.wait(60) == 0
    assert "Traceback" not in "\n".join(served.worker.lines[said:])
    assert_gone(children)
    left = [path for path in (served.stack.discovery / "v1" / "mdc").rglob("*") if path.is_file()]
    assert not left
