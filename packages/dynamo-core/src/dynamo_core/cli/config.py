"""`dynamo config`: what files, flags and the environment come to, without starting anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from dynamo_core import environment
from dynamo_core.args.foreign import foreign_names
from dynamo_core.args.show import Row, row_data, table
from dynamo_core.cli.parser import OVERRIDES, CommandParser
from dynamo_core.deploy.compare import differences
from dynamo_core.deploy.describe import Description, describe_quickly, schema_of
from dynamo_core.deploy.graph import GraphConfig, read_graph, split_overrides
from dynamo_core.deploy.installed import components, parsers
from dynamo_core.deploy.plan import describe_all, make_plan
from dynamo_core.deploy.variables import variables_of
from dynamo_core.errors import UserError
from dynamo_core.printing import emit, visible


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser("dynamo config", "Look at configurations without starting anything.", OVERRIDES)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[..., int], help: str) -> CommandParser:
        found: CommandParser = commands.add_parser(
            name, prog=f"dynamo config {name}", help=help, description=help
        )
        found.set_defaults(run=run)
        return found

    one = command("show", show, "Print every value of a graph with its source.")
    one.add_argument("file", metavar="GRAPH")
    one.add_argument("--format", choices=("text", "json", "yaml"), default="text")
    one.add_argument("--changed", action="store_true", help="only what differs from the defaults")
    one = command("check", check, "Check all components of graphs, their engines' flags among them.")
    one.add_argument("files", metavar="GRAPH", nargs="+")
    one = command("schema", schema, "Print a JSON schema of serve files, for editors.")
    one.add_argument("file", metavar="GRAPH", nargs="?", help="the components of this graph, not all")
    one = command("env", env, "Print every environment variable that is read or set.")
    one.add_argument("--all", action="store_true", help="also the names that belong to others")
    one = command(
        "diff", diff, "Print what differs in effect between two graphs; exit code 1 if anything does."
    )
    one.add_argument("first", metavar="A")
    one.add_argument("second", metavar="B")

    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    words, overrides = split_overrides(argv)
    options = vars(build_parser().parse_args(words))
    run = options.pop("run")
    if overrides and run not in (show, check, diff):
        raise UserError(f"unexpected argument {overrides[0]!r}")
    return int(run(**options, **({"overrides": overrides} if run in (show, check, diff) else {})))


def show(file: str, format: str, changed: bool, overrides: Sequence[str]) -> int:
    """`dynamo config show`."""
    return show_graph(read_graph(file, overrides), format, changed=changed)


def show_graph(graph: GraphConfig, format: str = "text", *, changed: bool = False) -> int:
    """Print every value of a graph with its source."""
    descriptions = _described(graph)
    rows = {name: _rows(description, changed) for name, description in descriptions.items()}
    if format == "text":
        for section in graph.sections:
            emit(visible(f"{section.name}: {section.component} in {section.python}", keep=""))
            emit("\n".join(f"  {line}" for line in table(rows[section.name])) or "  (only defaults)")
        return 0
    data: dict[str, Any] = {
        section.name: {
            "component": section.component,
            "python": section.python,
            "values": {row.key: row_data(row) for row in rows[section.name]},
        }
        for section in graph.sections
    }
    emit(json.dumps(data, indent=2) if format == "json" else yaml.safe_dump(data, sort_keys=False).rstrip())
    return 0


def check(files: list[str], overrides: Sequence[str]) -> int:
    """`dynamo config check`."""
    failed = False
    for file in files:
        try:
            plan = make_plan(read_graph(file, overrides), ask=describe_quickly)
        except UserError as error:
            failed = True
            _warn(f"{file}: error", *(f"  {line}" for line in str(error).splitlines()))
            continue
        _warn(*(f"{file}: warning: {warning}" for warning in plan.warnings))
        _warn(*(f"{file}: warning: engine flags not checked: {reason}" for reason in plan.unchecked))
        sections = len({process.name.split("/")[0] for process in plan.processes})
        processes = _count(len(plan.processes), "process", "processes")
        emit(f"{file}: ok, {_count(sections, 'component', 'components')}, {processes}")
    return 2 if failed else 0


def schema(file: str | None) -> int:
    """`dynamo config schema`."""
    from dynamo_core.args.schema import serve_file_schema

    if file is None:
        wanted = [(module, sys.executable) for module in components().values()]
    else:
        wanted = [(section.component, section.python) for section in read_graph(file).sections]
    found = {}
    for component, python in dict.fromkeys(wanted):
        try:
            answer = schema_of(component, python)
        except UserError as error:
            if file is not None:
                raise
            _warn(f"dynamo config: warning: {component} is left out: {error}")
            continue
        if answer:
            found[component.removesuffix(".__main__")] = answer
    emit(json.dumps(serve_file_schema(found), indent=2))
    return 0


def env(all: bool) -> int:
    """`dynamo config env`."""
    problems: list[str] = []
    installed = parsers(problems)
    _warn(*(f"dynamo config: warning: {problem}" for problem in problems))
    for variable in variables_of(installed):
        uses = [word for word, is_so in (("read", variable.is_read), ("set", variable.is_set)) if is_so]
        everyone = len(variable.components) == len(installed) > 1
        by = "all components" if everyone else ", ".join(variable.components)
        emit(f"{variable.name}\n    {' and '.join(uses)} by {by}: {variable.why}")
    for name, why in environment.OF_THE_TERMINAL.items():
        emit(f"{name}\n    read by every command: {why}")
    foreign = sorted(foreign_names())
    if all:
        emit("\nread by the Rust runtime or the Kubernetes operator, accepted and shown by --show-config:")
        emit("\n".join(f"  {name}{'*' if name.endswith('_') else ''}" for name in foreign))
    else:
        emit(f"\nand {len(foreign)} names of the Rust runtime and the Kubernetes operator: --all lists them")
    return 0


def diff(first: str, second: str, overrides: Sequence[str]) -> int:
    """`dynamo config diff`."""
    graphs = [read_graph(file, overrides) for file in (first, second)]
    found = differences(*((graph, _described(graph)) for graph in graphs))
    for difference in found:
        emit(visible(f"{difference.where}: {difference.before} -> {difference.after}", keep=""))
    return 1 if found else 0


def _described(graph: GraphConfig) -> dict[str, Description]:
    problems: list[str] = []
    found = describe_all(graph, problems, ask=describe_quickly)
    if problems:
        raise UserError("\n".join(problems))
    for name, description in found.items():
        _warn(*(f"dynamo config: warning: {name}: {warning}" for warning in description.warnings))
        if description.unchecked:
            _warn(f"dynamo config: warning: {name}: engine flags not checked: {description.unchecked}")
    return found


def _rows(description: Description, changed: bool) -> list[Row]:
    values = {**description.settings, **description.engine_options}
    return [
        Row(key, described.value, described.origin, described.is_secret)
        for key, described in values.items()
        if not changed or described.origin.kind not in ("default", "deployment")
    ]


def _warn(*lines: str) -> None:
    for line in lines:
        print(visible(line), file=sys.stderr)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
