"""A parsed command line for people, for machines, and as a file that gives the same again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from dynamo_core.args.settings import declarations
from dynamo_core.environment import Variable

if TYPE_CHECKING:
    from dynamo_core.args.parser import Arguments

MASK = "********"
FORMATS = ("text", "json", "yaml")


def show(arguments: Arguments[Any], variables: Sequence[Variable], style: str) -> str:
    """Every value with its source, and every variable that the process will set and why."""
    if style == "text":
        return _as_text(arguments, variables)
    data = _as_data(arguments, variables)
    return json.dumps(data, indent=2) if style == "json" else yaml.safe_dump(data, sort_keys=False).rstrip()


def dump(arguments: Arguments[Any]) -> str:
    """A YAML file that gives the same settings again: what differs from the defaults.

    A secret is left out, and said to be.
    """
    lines = []
    for name, declared in declarations(type(arguments.settings)).items():
        value = getattr(arguments.settings, name)
        if arguments.origins[name].kind == "default":
            continue
        if declared.secret:
            lines.append(f"# {declared.key}: hidden; it came from {arguments.origins[name]}")
        else:
            lines.append(yaml.safe_dump({declared.key: _plain(value)}, default_flow_style=False).rstrip())
    lines += [yaml.safe_dump({key: value}).rstrip() for key, value in _engine_keys(arguments.engine_args)]
    return "\n".join(lines) + "\n"


def _as_text(arguments: Arguments[Any], variables: Sequence[Variable]) -> str:
    found = declarations(type(arguments.settings))
    width = max(len(declared.key) for declared in found.values())
    lines = []
    for name, declared in found.items():
        value = MASK if declared.secret else _text(getattr(arguments.settings, name))
        lines.append(f"{declared.key:<{width}} = {value}   {arguments.origins[name]}")
    if arguments.engine_args:
        lines.append(f"{'engine flags':<{width}} = {' '.join(arguments.engine_args)}")
    if variables:
        lines.append("\nenvironment that this process sets for the libraries in it:")
        secret = {declared.key for declared in found.values() if declared.secret}
        for variable in variables:
            value = MASK if variable.setting in secret else variable.value
            lines.append(f"  {variable.name}={value}   {variable.why}")
    return "\n".join(lines)


def _as_data(arguments: Arguments[Any], variables: Sequence[Variable]) -> dict[str, Any]:
    found = declarations(type(arguments.settings))
    secret = {declared.key for declared in found.values() if declared.secret}
    return {
        "settings": {
            declared.key: {
                "value": MASK if declared.secret else _plain(getattr(arguments.settings, name)),
                "source": arguments.origins[name].kind,
                "where": arguments.origins[name].where,
            }
            for name, declared in found.items()
        },
        "engine_flags": list(arguments.engine_args),
        "environment": {
            variable.name: {
                "value": MASK if variable.setting in secret else variable.value,
                "why": variable.why,
            }
            for variable in variables
        },
    }


def _engine_keys(words: Sequence[str]) -> list[tuple[str, Any]]:
    """`--key value` words as file keys; several values become a list, none becomes true."""
    keys: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            key, equals, value = word.removeprefix("--").partition("=")
            keys.append((key, [value] if equals else []))
        elif keys:
            keys[-1][1].append(word)
    return [(key, values[0] if len(values) == 1 else values or True) for key, values in keys]


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str, list)) else str(value)


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
