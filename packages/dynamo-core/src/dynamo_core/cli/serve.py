"""`dynamo serve FILE`: start all components of a graph, watch them, stop them together."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from dynamo_core.cli.config import show
from dynamo_core.cli.parser import OVERRIDES, CommandParser
from dynamo_core.deploy.graph import read_graph, split_overrides
from dynamo_core.deploy.plan import make_plan
from dynamo_core.errors import UserError
from dynamo_core.printing import emit
from dynamo_core.serve.supervisor import Supervisor


def seconds(text: str) -> float:
    """A number of seconds; argparse turns the ValueError into its message."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo serve",
        "Start all components of a YAML file as `python -m …` processes, wait until they answer, and stop "
        "them together on Ctrl-C.",
        OVERRIDES,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the graph")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and exit")
    parser.add_argument(
        "--show-config",
        action="store_true",
        help="print every value with its source, as `dynamo config show`",
    )
    parser.add_argument(
        "--start-timeout", type=seconds, default=600.0, metavar="SECONDS", help="default %(default)s"
    )
    parser.add_argument(
        "--drain-timeout",
        type=seconds,
        metavar="SECONDS",
        help="the same as --Common.drain-timeout: how long streams get to end when all is stopped",
    )
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    words, overrides = split_overrides(argv)
    options = build_parser().parse_args(words)
    if options.drain_timeout is not None:
        overrides.append(f"--Common.drain-timeout={options.drain_timeout}")
    if options.show_config:
        return show(options.file, "text", changed=False, overrides=overrides)
    plan = make_plan(read_graph(options.file, overrides))
    for warning in plan.warnings:
        print(f"dynamo serve: warning: {warning}", file=sys.stderr)
    if options.dry_run:
        for reason in plan.unchecked:
            print(f"dynamo serve: warning: engine flags not checked: {reason}", file=sys.stderr)
        for process in plan.processes:
            emit(process.command())
        return 0
    if plan.unchecked:
        raise UserError("\n".join(plan.unchecked))
    supervisor = Supervisor(plan, start_timeout=options.start_timeout)
    return asyncio.run(supervisor.run())
