"""What all tests of the core share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_core.testing.servers import Etcd, Nats

pytest_plugins = ["dynamo_core.testing.plugin"]


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    """A real etcd with a folder of its own."""
    with Etcd(tmp_path / "etcd") as server:
        yield server


@pytest.fixture
def nats() -> Iterator[Nats]:
    """A real NATS server."""
    with Nats() as server:
        yield server
