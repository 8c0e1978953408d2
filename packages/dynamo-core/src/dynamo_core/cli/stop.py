"""`dynamo stop [NAME]`: stop graphs that run on this machine."""

from __future__ import annotations

import time

from dynamo_core.cli.parser import CommandParser
from dynamo_core.errors import UserError
from dynamo_core.printing import emit
from dynamo_core.serve.control import ask
from dynamo_core.serve.registry import GraphRecord, find_graph, is_alive, running_graphs

INTERVAL = 0.05


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo stop", "Stop a graph in order, as Ctrl-C in its terminal does, and wait for its end."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the graph; dynamo ps lists them")
    parser.add_argument("--all", action="store_true", help="all graphs of this user")
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="default %(default)s")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    options = build_parser().parse_args(argv)
    if options.all and options.name:
        raise UserError(f"--all and {options.name} exclude each other")
    graphs = running_graphs() if options.all else [find_graph(options.name)]
    for graph in graphs:
        ask(graph, do="stop")
    deadline = time.monotonic() + options.timeout
    for graph in graphs:
        _wait(graph, deadline)
        emit(f"{graph.name} is stopped")
    if not graphs:
        emit("no graph is running")
    return 0


def _wait(graph: GraphRecord, deadline: float) -> None:
    while is_alive(graph.folder):
        if time.monotonic() > deadline:
            raise UserError(f"{graph.name} still runs", fix=f"kill {graph.pid} a second time ends it at once")
        time.sleep(INTERVAL)
