"""Choosing GPUs, one graph of this user at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self

from dynamo_core.deploy.gpus import Inventory, visible_gpus
from dynamo_core.serve.registry import GraphRecord, graphs_root, locked, running_graphs

_LOCK = ".gpus"


class Turn:
    """From the look at the GPUs until the graph is registered, nobody else of this user looks.

    The driver tells of a device as in use only once an engine has loaded something there; until then the
    register does. The turn ends with the process, if not before.
    """

    def __init__(self) -> None:
        self._lock = contextlib.ExitStack()

    def inventory(self) -> Inventory:
        """Wait for the turn, and tell what GPUs there are and which of them running graphs hold."""
        self.end()
        self._lock.enter_context(locked(graphs_root() / _LOCK))
        return with_holders(visible_gpus(), running_graphs())

    def end(self) -> None:
        """Let others choose."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()


def with_holders(inventory: Inventory, graphs: Iterable[GraphRecord]) -> Inventory:
    """The same devices, each with the graph that has been given it."""
    holders = {
        name: f"the graph {graph.name} (process {graph.pid})" for graph in graphs for name in graph.gpus
    }
    gpus = tuple(replace(gpu, holder=holders.get(gpu.name, "")) for gpu in inventory.gpus)
    return replace(inventory, gpus=gpus)
