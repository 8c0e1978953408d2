"""Discovery through a real etcd, requests and events through a real NATS."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dynamo_core.ports import free_ports
from dynamo_core.testing.processes import Running, Stack

PORTS = free_ports()


@dataclass(frozen=True)
class Servers:
    etcd: int
    nats: int

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            *("--discovery-backend", "etcd", "--etcd-endpoints", f"http://127.0.0.1:{self.etcd}"),
            *("--request-plane", "nats", "--event-plane", "nats"),
            *("--nats-server", f"nats://127.0.0.1:{self.nats}"),
        )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("servers")
    etcd, peers, nats = (next(PORTS) for _ in range(3))
    url, peer_url = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peers}"
    running = [
        Running(
            [
                *(program("etcd"), "--data-dir", str(folder / "etcd")),
                *("--listen-client-urls", url, "--advertise-client-urls", url),
                *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
                *("--initial-cluster", f"default={peer_url}"),
            ]
        ),
        Running([program("nats-server"), "-a", "127.0.0.1", "-p", str(nats)]),
    ]
    try:
        for port in (etcd, nats):
            wait_for_port(port)
        yield Servers(etcd, nats)
    finally:
        for process in running:
            process.close()


def program(name: str) -> str:
    """A server that a PyPI package has put beside the interpreter."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"{name} is not installed; tox installs it"
    return found


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            time.sleep(0.02)
        else:
            return


@pytest.mark.setting("discovery_backend", "etcd_endpoints", "request_plane", "event_plane", "nats_server")
def test_a_graph_meets_through_etcd_and_talks_over_nats(stack: Stack, servers: Servers) -> None:
    stack.frontend(*servers.flags)
    worker = stack.scripted(*servers.flags)
    stack.wait_ready()
    message = {"role": "user", "content": "hi"}
    answer = stack.client().chat.completions.create(model="scripted", messages=[message], max_tokens=8)
    assert len(answer.choices[0].message.content or "") == 8
    assert worker.stop() == 0
    stack.wait_ready(healthy=False)
    assert not stack.discovery.exists()


@pytest.mark.parametrize(
    ("flags", "server", "way_out"),
    [
        (("--discovery-backend", "etcd", "--etcd-endpoints"), "etcd", "--discovery-backend file"),
        (("--request-plane", "nats", "--nats-server"), "NATS", "--request-plane tcp"),
    ],
)
def test_a_server_that_is_not_there_is_named_with_the_ways_out(
    stack: Stack, flags: tuple[str, ...], server: str, way_out: str
) -> None:
    port = next(PORTS)
    worker = stack.scripted(*flags, f"http://127.0.0.1:{port}")
    assert worker.wait(5) == 2
    assert f"error: {server} cannot be reached at 127.0.0.1:{port}" in worker.output
    assert way_out in worker.lines[-1]
    assert "Traceback" not in worker.output
