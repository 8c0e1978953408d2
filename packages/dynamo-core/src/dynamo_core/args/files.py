"""Reading YAML with the line of every value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dynamo_core.errors import UserError


@dataclass(frozen=True)
class Entry:
    """One key of a mapping: its plain value, where it stands, and its own keys if it is a mapping."""

    value: Any
    line: int
    children: dict[str, Entry]


def read_yaml(path: Path) -> dict[str, Entry]:
    """The top-level keys of a YAML file, in order.

    Raises `UserError` with file and line for anything that is not a mapping of plain values.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}", fix="check the path and its permissions"
        ) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return {} if node is None else _mapping(node, path, yaml.SafeLoader(""))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None


def _mapping(node: yaml.Node, path: Path, loader: yaml.SafeLoader) -> dict[str, Entry]:
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}:{node.start_mark.line + 1}: expected `key: value` lines")
    entries: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise UserError(f"{path}:{line}: a key must be text, found {key!r}")
        if key in entries:
            raise UserError(
                f"{path}:{line}: {key!r} is given twice, first on line {entries[key].line}",
                fix="keep one of the two",
            )
        children = _mapping(value_node, path, loader) if isinstance(value_node, yaml.MappingNode) else {}
        value = loader.construct_object(value_node, deep=True)
        entries[key] = Entry(value, line, children)
    return entries
