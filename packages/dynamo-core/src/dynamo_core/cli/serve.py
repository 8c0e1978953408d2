"""`dynamo serve GRAPH`: start all components of a graph, watch them, stop them together."""

from __future__ import annotations

import re
from pathlib import Path

from dynamo_core.cli.config import show_graph
from dynamo_core.cli.launch import add_flags, explicit_dry_run, overrides_of, start
from dynamo_core.cli.parser import OVERRIDES, CommandParser
from dynamo_core.deploy.graph import read_graph, split_overrides


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo serve",
        "Start all components of a graph as `python -m …` processes, watch over them, and stop them "
        "together on Ctrl-C.",
        OVERRIDES,
    )
    add_graph(parser)
    add_flags(parser)
    return parser


def add_graph(parser: CommandParser) -> None:
    """The graph and the files over it, for every command that reads one."""
    parser.add_argument("graph", metavar="GRAPH", help="a YAML file, or module:object of a Python graph")
    parser.add_argument(
        "-f",
        "--file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a file like the graph's, whose keys replace those before; may be repeated",
    )


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    words, overrides = split_overrides(explicit_dry_run(argv))
    options = build_parser().parse_args(words)
    overrides += overrides_of(options)
    graph = read_graph(options.graph, overrides, options.file)
    if options.show_config:
        return show_graph(graph)
    return start("serve", argv, graph, options, graph_name(options.graph))


def graph_name(source: str) -> str:
    """`agg` for `graphs/agg.yaml` and for `graphs.agg:graph`."""
    stem = (
        Path(source).stem if source.endswith((".yaml", ".yml")) else source.partition(":")[0].split(".")[-1]
    )
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "graph"
