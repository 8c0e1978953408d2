"""`dynamo render TARGET GRAPH`: write a graph as others run it."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from dynamo_core.cli.config import show_graph
from dynamo_core.cli.parser import OVERRIDES, CommandParser
from dynamo_core.cli.serve import graph_name
from dynamo_core.deploy.describe import describe_quickly
from dynamo_core.deploy.graph import GraphConfig, read_graph, split_overrides
from dynamo_core.deploy.plan import make_plan
from dynamo_core.errors import UserError
from dynamo_core.printing import emit, visible
from dynamo_core.targets import Files, Rendering, Target, find_target, target_names

NAME = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")


def build_parser() -> CommandParser:
    """The flags of the command."""
    lines = [f"  {name:<18} {find_target(name).summary}" for name in target_names()]
    parser = CommandParser(
        "dynamo render",
        "Write a graph as files for others to run. Each component gets the command line that dynamo serve "
        "gives it, but for addresses, and for GPUs where somebody else chooses them.",
        "targets:\n" + "\n".join(lines) + f"\n\n{OVERRIDES}",
    )
    parser.add_argument("target", metavar="TARGET", help="see below")
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
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write files there; else print them")
    parser.add_argument("--name", help="of the graph; default: the file's")
    group = parser.add_argument_group("instead of rendering")
    group.add_argument("--show-config", action="store_true", help="print every value with its source")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    words, overrides = split_overrides(argv)
    options = build_parser().parse_args(words)
    target = find_target(options.target)
    graph = read_graph(options.graph, overrides, options.file)
    if options.show_config:
        return show_graph(target.site().informed(graph))
    name = check_name(options.name or graph_name(options.graph).lower().replace("_", "-"))
    files = render(target, graph, name, shlex.join(["dynamo", "render", *argv]))
    if options.output is None:
        _print(files)
    else:
        _write(files, options.output)
    return 0


def check_name(name: str) -> str:
    """`name`, if hosts and Kubernetes objects can be called so. Raises `UserError`."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"name {name!r} is none that hosts and Kubernetes objects can have",
            fix="give --name with up to 42 small letters, digits and dashes, a letter first",
        )
    return name


def render(target: Target, graph: GraphConfig, name: str, command: str) -> Files:
    """The files of a target; prints what the user should know. Raises `UserError`."""
    plan = make_plan(graph, ask=describe_quickly, site=target.site())
    for warning in plan.warnings:
        print(visible(f"dynamo render: warning: {warning}"), file=sys.stderr)
    for reason in plan.unchecked:
        print(visible(f"dynamo render: warning: engine flags not checked: {reason}"), file=sys.stderr)
    return target.render(Rendering(plan, name, command))


def _print(files: Files) -> None:
    for name, text in files.items():
        if len(files) > 1:
            emit(f"# ---- {name}")
        emit(text.rstrip("\n"))


def _write(files: Files, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
            emit(str(folder / name))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}", fix="give another -o") from None
