"""`dynamo restart [NAME] [PROCESS …]`: restart processes of a running graph one after the other."""

from __future__ import annotations

import time
from typing import Any

from dynamo_core.cli.parser import CommandParser
from dynamo_core.errors import UserError
from dynamo_core.printing import emit
from dynamo_core.serve.control import ask
from dynamo_core.serve.registry import GraphRecord, find_graph

INTERVAL = 0.2


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo restart",
        "Restart processes of a running graph, each only once the one before is ready again. Streams in "
        "flight end within the drain budget; with two replicas or more, requests go on being answered.",
    )
    parser.add_argument("name", metavar="NAME", help="of the graph; dynamo ps lists them")
    parser.add_argument(
        "what",
        nargs="*",
        default=[],  # without one, argparse says that it is required
        metavar="PROCESS",
        help="Worker or Worker/1; all of the graph if left out",
    )
    parser.add_argument(
        "--timeout", type=float, default=3600.0, metavar="SECONDS", help="default %(default)s"
    )
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    options = build_parser().parse_args(argv)
    graph = find_graph(options.name)
    names = ask(graph, do="restart", names=options.what)["names"]
    deadline = time.monotonic() + options.timeout
    before: dict[str, str] = {}
    while True:
        status = ask(graph, do="status")
        _print_changes(status, names, before)
        if status["stopping"]:
            raise UserError(f"{graph.name} is being stopped; dynamo logs {graph.name} tells why")
        if not status["rolling"] and status["ready"]:
            return 0
        _check_deadline(graph, deadline)
        time.sleep(INTERVAL)


def _print_changes(status: dict[str, Any], names: list[str], before: dict[str, str]) -> None:
    for process in status["processes"]:
        name, state = process["name"], process["state"]
        if name in names and before.get(name, state) != state:
            emit(f"{name} is {state}")
        before[name] = state


def _check_deadline(graph: GraphRecord, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise UserError(f"the restart of {graph.name} goes on", fix="dynamo ps shows how it stands")
