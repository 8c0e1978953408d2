"""Reading YAML and TOML with the line of every value."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dynamo_core.errors import UserError

_TOML_TABLE = re.compile(r"\s*\[([\w-]+)\]")

_MERGE = "tag:yaml.org,2002:merge"
NO_VALUE = (ValueError, KeyError, AttributeError, OverflowError)
"""What PyYAML raises for a date, a number or a tag that is none."""
MOST_NODES = 100_000
"""Keys and values of one file, aliases counted as often as they are used."""


@dataclass(frozen=True)
class Entry:
    """One key of a mapping: its plain value, where it stands, and its own keys if it is a mapping."""

    value: Any
    line: int
    children: dict[str, Entry]
    column: int = 1


def read_file(path: Path) -> dict[str, Entry]:
    """The top-level keys of a file, in order; TOML if it is named so, else YAML.

    Raises `UserError` with file and line for anything that is not a mapping of plain values.
    """
    return read_toml(path) if path.suffix == ".toml" else read_yaml(path)


def read_yaml(path: Path) -> dict[str, Entry]:
    """The top-level keys of a YAML file, in order. Raises `UserError`, as above."""
    text = _text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return {}
        _check_size(node, path)
        return _mapping(node, path, yaml.SafeLoader(""))
    except RecursionError:
        raise UserError(f"{path}: not a configuration: it is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, *NO_VALUE) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None


def read_toml(path: Path) -> dict[str, Entry]:
    """The top-level keys of a TOML file, in order. Raises `UserError`, as above."""
    text = _text(path)
    try:
        data = tomllib.loads(text)
        yaml.safe_dump(data)  # what cannot be written cannot be walked either
        return _toml_entries(data, text.splitlines())
    except ValueError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except yaml.representer.RepresenterError as error:
        raise UserError(
            f"{path}: {error.args[1]} is a time of day, which is no value of a configuration",
            fix="put it in quotes, if it is meant as text",
        ) from None
    except RecursionError:
        raise UserError(f"{path}: not a configuration: it is nested too deeply") from None


def _toml_entries(data: dict[str, Any], lines: list[str], table: str = "") -> dict[str, Entry]:
    """The parser keeps no lines; a key is looked up in its table, where it stands once."""
    entries = {}
    for key, value in data.items():
        line = _toml_line(key, lines, table)
        children = _toml_entries(value, lines, key) if isinstance(value, dict) else {}
        entries[key] = Entry(value, line, children)
    return entries


def _toml_line(key: str, lines: list[str], table: str) -> int:
    current = ""
    for number, line in enumerate(lines, start=1):
        if match := _TOML_TABLE.match(line):
            current = match[1]
            if current == key and not table:
                return number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
    return 1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        raise UserError(f"cannot read {str(path)!r}: {error}") from None
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}", fix="check the path and its permissions"
        ) from None


def _check_size(root: yaml.Node, path: Path) -> None:
    """Anchors let a short file stand for an endless or a huge one; neither is a configuration."""
    count = 0
    stack = [root]
    while stack:
        node = stack.pop()
        count += 1
        if count > MOST_NODES:
            raise UserError(
                f"{path}:{node.start_mark.line + 1}: the file stands for more than {MOST_NODES} values",
                fix="look for an anchor that refers to itself, or to many others",
            )
        if isinstance(node, yaml.MappingNode):
            stack += [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            stack += node.value


def _value(node: yaml.Node, path: Path, loader: yaml.SafeLoader) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except NO_VALUE as error:
        raise UserError(f"{path}:{node.start_mark.line + 1}: not valid YAML: {error}") from None


def _mapping(node: yaml.Node, path: Path, loader: yaml.SafeLoader) -> dict[str, Entry]:
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}:{node.start_mark.line + 1}: expected `key: value` lines")
    entries: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if key_node.tag == _MERGE:
            raise UserError(f"{path}:{line}: merge keys (<<) are not supported", fix="write the keys out")
        key = _value(key_node, path, loader)
        if not isinstance(key, str):
            raise UserError(f"{path}:{line}: a key must be text, found {key!r}")
        if key in entries:
            raise UserError(
                f"{path}:{line}: {key!r} is given twice, first on line {entries[key].line}",
                fix="keep one of the two",
            )
        children = _mapping(value_node, path, loader) if isinstance(value_node, yaml.MappingNode) else {}
        value = _value(value_node, path, loader)
        entries[key] = Entry(value, line, children, key_node.start_mark.column + 1)
    return entries
