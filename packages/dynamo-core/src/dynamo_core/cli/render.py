"""`dynamo render TARGET GRAPH`: write a graph as others run it."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dynamo_core.cli.config import show_graph
from dynamo_core.cli.parser import OVERRIDES, CommandParser
from dynamo_core.cli.serve import add_graph, graph_name
from dynamo_core.deploy.describe import describe_quickly
from dynamo_core.deploy.graph import GraphConfig, read_graph, split_overrides
from dynamo_core.deploy.plan import make_plan
from dynamo_core.deploy.process import Plan
from dynamo_core.errors import UserError
from dynamo_core.printing import emit, visible
from dynamo_core.targets import Files, Rendering, Target, find_target, target_names
from dynamo_core.targets.target import hidden_values

HIDDEN = "(hidden)"
_ENV = re.compile(r"--[\w-]+\.env")
NAME = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")


def build_parser(*, with_targets: bool = False) -> CommandParser:
    """The flags of the command; `with_targets` for its help, which imports all of them."""
    lines = [f"  {name:<18} {_summary(name)}" for name in target_names()] if with_targets else []
    parser = CommandParser(
        "dynamo render",
        "Write a graph as files for others to run. Each component gets the command line that\n"
        "dynamo serve gives it, but for addresses, and for GPUs where somebody else chooses them.",
        "targets:\n" + "\n".join(lines) + f"\n\n{OVERRIDES}",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter  # a target a line
    parser.add_argument("target", metavar="TARGET", help="see below")
    add_graph(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write files there; else print them")
    add_name(parser)
    group = parser.add_argument_group("instead of rendering")
    group.add_argument("--show-config", action="store_true", help="print every value with its source")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    words, overrides = split_overrides(argv)
    options = build_parser(with_targets=bool({"-h", "--help"} & set(words))).parse_args(words)
    target = find_target(options.target)
    graph = read_graph(options.graph, overrides, options.file)
    if options.show_config:
        return show_graph(target.site().informed(graph))
    name = name_of(options)
    files = render(target, graph, name, argv)
    if options.output is None:
        _print(files)
    else:
        _write(files, options.output)
    return 0


def add_name(parser: CommandParser) -> None:
    """The flag for a graph's name."""
    parser.add_argument("--name", help="of the graph; default: the file's")


def name_of(options: argparse.Namespace) -> str:
    """The name of a graph, given or by its file. Raises `UserError`."""
    return check_name(options.name or graph_name(options.graph).lower().replace("_", "-"))


def check_name(name: str) -> str:
    """`name`, if hosts and Kubernetes objects can be called so. Raises `UserError`."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"name {name!r} is none that hosts and Kubernetes objects can have",
            fix="give --name with up to 42 small letters, digits and dashes, a letter first",
        )
    return name


def render(target: Target, graph: GraphConfig, name: str, argv: Sequence[str]) -> Files:
    """The files of a target, asked for with the words `argv`; prints what the user should know.

    Raises `UserError`.
    """
    plan = make_plan(graph, ask=describe_quickly, site=target.site())
    for warning in plan.warnings:
        print(visible(f"dynamo render: warning: {warning}"), file=sys.stderr)
    for reason in plan.unchecked:
        print(visible(f"dynamo render: warning: engine flags not checked: {reason}"), file=sys.stderr)
    return target.render(Rendering(plan, name, command_line(argv, plan)))


def command_line(argv: Sequence[str], plan: Plan) -> str:
    """The command on one line, as it may stand in a file: without values of secrets, and without `env`,
    which is where people put them."""
    secrets = {value for process in plan.processes for value in hidden_values(process)}
    words: list[str] = []
    for word in argv:
        flag, has_value, _ = word.partition("=")
        if _ENV.fullmatch(flag) and has_value:
            word = f"{flag}={HIDDEN}"
        elif words and _ENV.fullmatch(words[-1]):
            word = HIDDEN
        for secret in filter(None, secrets):
            word = word.replace(secret, HIDDEN)
        words.append(word)
    return " ".join(shlex.join(["dynamo", "render", *words]).split())


def _summary(name: str) -> str:
    try:
        return find_target(name).summary
    except UserError as error:
        return str(error)


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
