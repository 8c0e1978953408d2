"""What the settings do that no other test is about, on real processes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from dynamo_core.testing.processes import PORTS, Running, Stack

READY = "endpoint .* is ready|generate is ready|is ready"


def listening(worker: Running) -> dict[int, str]:
    """Addresses by port."""
    sockets = psutil.Process(worker.pid).net_connections(kind="inet")
    return {socket.laddr.port: socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}


def records(stack: Stack) -> str:
    """What is in the discovery folder."""
    files = [path for path in stack.discovery.rglob("*") if path.is_file()]
    return "\n".join([*(str(path) for path in files), *(path.read_text(errors="replace") for path in files)])


def answers(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.setting("status_port", "status_host", "rpc_host")
def test_addresses_and_ports(stack: Stack) -> None:
    port = next(PORTS)
    flags = ("--status-port", port, "--status-host", "127.0.0.2", "--rpc-host", "127.0.0.3")
    worker = stack.scripted(*flags)
    worker.wait_for_line(READY)
    found = listening(worker)
    assert found.pop(port) == "127.0.0.2"
    assert set(found.values()) == {"127.0.0.3"}
    assert answers(f"http://127.0.0.2:{port}/health") == 200


@pytest.mark.setting("component", "endpoint")
def test_a_worker_is_found_under_its_names(stack: Stack) -> None:
    worker = stack.scripted("--component", "left", "--endpoint", "hand")
    worker.wait_for_line(READY)
    found = records(stack)
    assert "left" in found
    assert "hand" in found
    assert "generate" not in found


@pytest.mark.setting("log_level")
@pytest.mark.parametrize(("level", "said"), [("info", True), ("warning", False)])
def test_the_level_of_what_is_said(stack: Stack, level: str, said: bool) -> None:
    status = next(PORTS)
    worker = stack.scripted("--log-level", level, "--status-port", status)
    stack.frontend("--log-level", level)
    stack.wait_ready()
    assert worker.stop() == 0
    assert (" INFO " in worker.output) is said
    assert ("values differ from the default; --show-config shows them" in worker.output) is said


@pytest.mark.setting("log_format")
def test_lines_for_programs(stack: Stack, tmp_path: Path) -> None:
    worker = stack.scripted("--log-format", "json")
    worker.wait_for_line(READY)
    assert worker.stop() == 0
    for line in worker.lines:
        assert isinstance(json.loads(line), dict), line
