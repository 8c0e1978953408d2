"""A component's page of the documentation, from its declarations alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynamo_core.args.groups import default_discovery_path
from dynamo_core.args.help import OWN, allowed, plain, topics_of
from dynamo_core.args.parser import DynamoFlexibleArgumentParser
from dynamo_core.args.settings import Declaration


def reference_page(name: str, parser: DynamoFlexibleArgumentParser[Any]) -> str:
    """The page of the component whose console script is `name`, as Markdown."""
    lines = [f"# {name}", "", parser.description, ""]
    lines += ["Written by `tools/reference.py` from the declarations; edit those.", ""]
    for title, settings in topics_of(parser).values():
        lines += [f"## {title}", "", *_table(settings, parser), ""]
    lines += ["## What every component understands", "", "| Flag | |", "| --- | --- |"]
    lines += [f"| `{_cell(flag)}` | {text} |" for flag, text in OWN]
    if parser.engine:
        name_of = parser.engine.name
        lines += ["", f"## {name_of}'s own flags", ""]
        lines.append(
            f"Any other flag, and any other key of a file, is {name_of}'s: `{name} --help=engine` lists them."
        )
        lines += [f"`{flag}` cannot be given: {why}." for flag, why in parser.engine.kept.items()]
    return "\n".join(lines).rstrip() + "\n"


def _table(settings: Iterable[Declaration], parser: DynamoFlexibleArgumentParser[Any]) -> list[str]:
    lines = ["| Flag and file key | Default | Variable | Allowed | |", "| --- | --- | --- | --- | --- |"]
    for declared in settings:
        default = parser.default_of(declared)
        none = "required" if declared.required else ""
        text = none if default is None else f"`{_default(default)}`"
        flag = declared.flag if not declared.is_switch else f"{declared.flag}`, `{declared.negated_flag}"
        lines.append(
            f"| `{flag}` | {text} | `{declared.env}` | {_cell(allowed(declared))} | {_cell(declared.help)} |"
        )
    return lines


def _default(value: Any) -> str:
    return _cell(plain(value)).replace(default_discovery_path(), "TMPDIR/dynamo-UID")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
