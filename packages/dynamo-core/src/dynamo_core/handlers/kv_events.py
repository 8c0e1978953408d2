"""Where an engine publishes its KV events, and how its worker listens.

vLLM and SGLang publish over ZeroMQ, without authentication, and bind or connect depending on how the
address is spelled. A worker and its engine share a machine, so by default the events go through a
socket file in a folder of this user alone: no port, and nobody else can listen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dynamo_core.errors import UserError
from dynamo_core.handlers.private_folder import PrivateFolder

_WILDCARD = re.compile(r"^tcp://(\*|0\.0\.0\.0|\[?::\]?):(\d+)$")


@dataclass(frozen=True)
class KvEventSource:
    """The publisher of one data-parallel rank."""

    endpoint: str
    """ZeroMQ address that a subscriber connects to."""
    rank: int = 0
    topic: str = ""


class KvEventSocket:
    """A socket file for an engine's publisher, made when it is asked for; `close` removes it."""

    def __init__(self) -> None:
        self._folder = PrivateFolder("kv")

    @property
    def endpoint(self) -> str:
        """Its ZeroMQ address."""
        # Both engines give each further rank an address of its own by a suffix, if the word inproc is
        # in it, and refuse addresses that have neither that nor tcp.
        return f"ipc://{self._folder.path}/inproc"

    def close(self) -> None:
        self._folder.close()


def sources(endpoint: str, *, ranks: int = 1, first_rank: int = 0, topic: str = "") -> list[KvEventSource]:
    """Where to listen to an engine of `ranks` data-parallel ranks that was given `endpoint`.

    Raises `UserError` for an address that an engine would connect to instead of listening at it.
    """
    return [
        KvEventSource(_subscribable(_of_rank(endpoint, rank)), rank, topic)
        for rank in range(first_rank, first_rank + ranks)
    ]


def _of_rank(endpoint: str, rank: int) -> str:
    """The address of one rank, as vLLM and SGLang make it from the one that they are given."""
    if rank == 0:
        return endpoint
    if "inproc" in endpoint:
        return f"{endpoint}_dp{rank}"
    address, _, port = endpoint.rpartition(":")
    return f"{address}:{int(port) + rank}"


def _subscribable(endpoint: str) -> str:
    if endpoint.startswith("ipc://"):
        return endpoint
    if match := _WILDCARD.match(endpoint):
        return f"tcp://127.0.0.1:{match[2]}"
    raise UserError(
        f"the engine would connect to {endpoint} to publish its KV events, and so does its worker to hear "
        "them: nobody listens",
        fix="leave the address out, or give one that the engine binds: ipc:///PATH or tcp://*:PORT",
    )
