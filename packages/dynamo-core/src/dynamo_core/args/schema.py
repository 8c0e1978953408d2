"""JSON schema of what a file may say about a component, for editors and checks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from dynamo_core.args.config_files import CONTAINER
from dynamo_core.args.engine_parser import EngineParser
from dynamo_core.args.engine_words import is_switch, key_of
from dynamo_core.args.help import action_help
from dynamo_core.args.parser import DynamoFlexibleArgumentParser

REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_]\w*(:-[^}]*)?\}"}
"""`${NAME}` and `${NAME:-default}` may stand for a value of any type."""
PARTS = r"^[\w-]+\."
"""Keys for parts of an engine's larger values: `compilation-config.mode`."""
_ANNOTATIONS = ("description", "default", "deprecated")
_TYPES = {int: "integer", float: "number"}


def file_schema(parser: DynamoFlexibleArgumentParser[Any]) -> dict[str, Any]:
    """Every key that a file may hold for this component, the engine's among them.

    Imports the engine. Raises `UserError` if it is not installed.
    """
    properties = _settings(parser)
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if parser.engine:
        properties |= _engine_options(EngineParser(parser.engine, parser.keys))
        found["patternProperties"] = {PARTS: {}}
    return found


def _settings(parser: DynamoFlexibleArgumentParser[Any]) -> dict[str, Any]:
    fields = parser.settings.model_json_schema()["properties"]
    found = {}
    for name, declared in parser.declared.items():
        ours = ("title", "env", "metavar", "secret", "formerly", "default")
        schema = {key: value for key, value in fields[name].items() if key not in ours}
        default = parser.default_of(declared)
        if default is not None and not declared.secret:
            schema["default"] = default
        found[declared.key] = _or_reference(schema)
        for former in declared.former:
            found[former.key] = found[declared.key] | {"deprecated": True}
    return found


def _engine_options(parser: EngineParser) -> dict[str, Any]:
    found = {}
    for action in parser.actions:
        schema = _or_reference(_action(action) | _annotations(parser, action))
        for flag in action.option_strings:
            if flag.startswith("--"):
                found[flag.removeprefix("--")] = schema
    return {key_of(action): found[key_of(action)] for action in parser.actions} | found


def _annotations(parser: EngineParser, action: argparse.Action) -> dict[str, Any]:
    help = " ".join(action_help(parser.parser, action).split())
    found: dict[str, Any] = {"description": help} if help else {}
    if isinstance(action.default, (bool, int, float, str)) and action.default != argparse.SUPPRESS:
        found["default"] = action.default
    return found


def _action(action: argparse.Action) -> dict[str, Any]:
    """As much as argparse knows: a custom type says nothing of what it takes."""
    if is_switch(action):
        return {"type": "boolean"}
    one: dict[str, Any] = {}
    if action.choices:
        one["enum"] = list(action.choices)
    elif kind := _TYPES.get(action.type) if isinstance(action.type, type) else None:
        one["type"] = kind
    if action.nargs in ("+", "*"):
        return {"anyOf": [{"type": "array", "items": one}, one]} if one else {}
    return one


def _or_reference(schema: Mapping[str, Any]) -> dict[str, Any]:
    notes = {key: schema[key] for key in _ANNOTATIONS if key in schema}
    rule = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
    return notes | ({"anyOf": [rule, REFERENCE, {"type": "null"}]} if rule else {})


def serve_file_schema(components: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The schema of a serve file, from the schemas of the components that it may name.

    A section of another component is not checked: it may be a module of the user's own.
    """
    common: dict[str, Any] = {}
    for schema in components.values():
        for key, rule in schema["properties"].items():
            rules = common.setdefault(key, [])
            if rule not in rules:
                rules.append(rule)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A graph of dynamo serve",
        "type": "object",
        "properties": {
            "Common": {
                "description": "For every component that knows the key.",
                "type": "object",
                "properties": {
                    k: rules[0] if len(rules) == 1 else {"anyOf": rules} for k, rules in common.items()
                }
                | {CONTAINER: _container()},
                "additionalProperties": False,
            }
        },
        "additionalProperties": {
            "type": "object",
            "required": ["component"],
            "properties": {"component": {"anyOf": [{"enum": list(components)}, {"type": "string"}]}},
            "allOf": [_if_component(name, schema) for name, schema in components.items()],
        },
    }


def _container() -> dict[str, Any]:
    """Its fields are checked where they are read: any of them may be a reference to the environment."""
    from dynamo_core.deploy.container import Container

    keys = [name.replace("_", "-") for name in Container.model_fields]
    return {
        "type": "object",
        "description": "What only targets of `dynamo render` read.",
        "properties": dict.fromkeys(keys, True),
        "additionalProperties": False,
    }


def _if_component(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = {**RESERVED_KEYS, CONTAINER: _container(), **schema["properties"]}
    is_it = {"properties": {"component": {"const": name}}, "required": ["component"]}
    return {"if": is_it, "then": {**schema, "properties": properties}}


RESERVED_KEYS: dict[str, Any] = {
    "component": {"type": "string", "description": "What `python -m` runs, or the path of a .py file."},
    "name": {"type": "string", "description": "The name it is found under; the class's if left out."},
    "python": {"type": "string", "description": "The interpreter that has this component."},
    "replicas": _or_reference(
        {"type": "integer", "minimum": 0, "description": "How many processes; the class's value if left out."}
    ),
    "resources": {
        "type": "object",
        "description": "What each replica needs.",
        "properties": {"gpu": {"type": "integer", "minimum": 0}, "cpu": {}, "memory": {}},
        "additionalProperties": False,
    },
    "restart": {
        "enum": ["never", "on-failure", "always"],
        "description": "When a process that has ended is started again.",
    },
    "start-timeout": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Seconds until a process must be ready.",
    },
    "env": {
        "type": "object",
        "description": "Environment variables of its processes, beside those of dynamo serve.",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
}
"""Keys of a section that are the supervisor's."""
