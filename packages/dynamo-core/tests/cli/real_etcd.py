"""A real etcd for commands that look into one."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamo_core.ports import free_ports
from dynamo_core.testing.processes import Running

PORTS = free_ports()
USER, PASSWORD = "root", "pa:ss@w"


@dataclass(frozen=True)
class Etcd:
    """A server, over the JSON gateway that it brings."""

    port: int
    process: Running

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)

    def put(self, key: str, value: bytes) -> None:
        encoded = {"key": base64.b64encode(key.encode()).decode(), "value": base64.b64encode(value).decode()}
        self.post("/v3/kv/put", encoded)

    def demand_password(self) -> None:
        self.post("/v3/auth/user/add", {"name": USER, "password": PASSWORD})
        self.post("/v3/auth/role/add", {"name": "root"})
        self.post("/v3/auth/user/grant", {"user": USER, "role": "root"})
        self.post("/v3/auth/enable", {})


@contextlib.contextmanager
def running_etcd(folder: Path) -> Iterator[Etcd]:
    """A server with its data in a folder, gone at the end."""
    program = shutil.which("etcd", path=str(Path(sys.executable).parent))
    assert program, "etcd is not installed; tox installs it"
    port, peers = next(PORTS), next(PORTS)
    url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    words = [program, "--data-dir", str(folder), "--initial-cluster", f"default={peer_url}"]
    words += ["--listen-client-urls", url, "--advertise-client-urls", url]
    words += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
    server = Etcd(port, Running(words))
    try:
        _wait_until_it_answers(server)
        yield server
    finally:
        server.process.close()


def _wait_until_it_answers(server: Etcd) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            server.post("/v3/kv/range", {"key": "AA=="})
        except (OSError, urllib.error.URLError):
            assert time.monotonic() < deadline, server.process.output
            time.sleep(0.05)
        else:
            return
