"""The graphs that run on this machine, and the processes of one, as rows of tables."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dynamo_core.cli.tables import duration
from dynamo_core.errors import UserError
from dynamo_core.serve.control import ask
from dynamo_core.serve.registry import GraphRecord, running_graphs


@dataclass(frozen=True)
class GraphRow:
    """One graph and its supervisor."""

    graph: str
    state: str
    processes: str
    address: str
    pid: int
    age: str
    source: str


@dataclass(frozen=True)
class ProcessRow:
    """One process of a graph."""

    process: str
    state: str
    since: str
    pid: object
    restarts: int
    gpus: str
    ports: str


def graph_rows() -> list[GraphRow]:
    """All graphs of this user; one whose supervisor does not answer is listed as such."""
    return [_graph_row(graph) for graph in running_graphs()]


def process_rows(graph: GraphRecord) -> list[ProcessRow]:
    """Raises `UserError` if the graph's supervisor does not answer."""
    return [
        ProcessRow(
            process["name"],
            process["state"],
            duration(process["seconds"]),
            process["pid"] or "-",
            process["restarts"],
            ",".join(process["gpus"]) or "-",
            ", ".join(f"{key.removesuffix('-port')} {port}" for key, port in process["ports"].items()) or "-",
        )
        for process in ask(graph, do="status")["processes"]
    ]


def _graph_row(graph: GraphRecord) -> GraphRow:
    try:
        status = ask(graph, do="status")
    except UserError:
        status = {}
    ready = sum(process["state"] == "ready" for process in status.get("processes", ()))
    return GraphRow(
        graph.name,
        _state(status),
        f"{ready} of {len(status['processes'])} ready" if status else "-",
        ", ".join(status.get("addresses", ())) or "-",
        graph.pid,
        duration(time.time() - graph.started),
        graph.source,
    )


def _state(status: dict[str, Any]) -> str:
    if not status:
        return "does not answer"
    if status["stopping"]:
        return "stopping"
    if status["rolling"]:
        return "restarting"
    return "ready" if status["ready"] else "not ready"
