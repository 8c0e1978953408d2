"""Flags for the fields of a pydantic model, for an engine that has arguments but no command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo


def parser_of(model: type[BaseModel]) -> argparse.ArgumentParser:
    """A parser with one flag per field; what is not given is not in its namespace.

    A value is checked by the field's own type. Text that this type does not take is read as YAML, of
    which JSON is a part: `--kv-cache-config '{free_gpu_memory_fraction: 0.8}'`. A part of it can be given
    alone: `--kv-cache-config.free_gpu_memory_fraction 0.8`.
    """
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name, field in model.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        options: dict[str, Any] = {"dest": name, "help": _help(field)}
        kinds = _alternatives(field.annotation)
        if kinds == [bool]:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **options)
        elif all(typing.get_origin(kind) is Literal for kind in kinds):
            choices = [choice for kind in kinds for choice in typing.get_args(kind)]
            parser.add_argument(flag, choices=choices, **options)
        else:
            parser.add_argument(flag, type=_reader(field), **options)
    return parser


class _Parser(argparse.ArgumentParser):
    """Joins what is given of an option, whole and in parts; of what is given twice the last counts."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        return super().parse_known_args(_joined(args or ()), namespace)


def _joined(words: Sequence[str]) -> list[str]:
    """The same words with one for each option that has parts or several values, as JSON."""
    groups: list[tuple[str, list[str], list[str]]] = []
    for word in words:
        if word.startswith("--") or not groups:
            name, equals, value = word.partition("=")
            flag, *path = name.split(".")
            groups.append((flag.replace("_", "-"), path, [value] if equals else []))
        else:
            groups[-1][-1].append(word)
    with_parts = {flag for flag, path, _ in groups if path}
    found: dict[str, Any] = {}
    others: list[str] = []
    for flag, path, values in groups:
        if flag in with_parts:
            given = _data(values)
            for key in reversed(path):
                given = {key: given}
            found[flag] = _merged(found.get(flag), given)
        elif values:
            others.append(f"{flag}={values[0] if len(values) == 1 else json.dumps(_data(values))}")
        else:
            others.append(flag)
    return [*others, *(f"{flag}={json.dumps(value)}" for flag, value in found.items())]


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def _data(words: Sequence[str]) -> Any:
    """One value or a list: JSON, or a mapping or list of YAML; any other text is meant as it stands."""
    if len(words) != 1:
        return [_data([word]) for word in words]
    with contextlib.suppress(ValueError):
        return json.loads(words[0])
    with contextlib.suppress(yaml.YAMLError):
        if isinstance(value := yaml.safe_load(words[0]), (dict, list)):
            return value
    return words[0]


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a field takes, None left out."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    return [annotation]


def _reader(field: FieldInfo) -> Callable[[str], Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(
        typing.Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation,
        config={"arbitrary_types_allowed": True} if not _is_model(field.annotation) else None,
    )

    def read(text: str) -> Any:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            first = error
        try:
            return adapter.validate_python(yaml.safe_load(text))
        except (ValidationError, yaml.YAMLError) as error:
            found = error if isinstance(error, ValidationError) else first
            raise argparse.ArgumentTypeError(_message(found)) from None

    return read


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _message(error: ValidationError) -> str:
    """The complaints of a union's members stand for the same value; the last one is the most specific."""
    part = error.errors(include_url=False)[-1]
    where = ".".join(str(name) for name in part["loc"])
    return f"{where}: {part['msg']}" if where else part["msg"]


def _help(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    default = field.get_default()
    told = "" if field.is_required() or default is None or field.default_factory else f" [default {default}]"
    return f"{text}{told}".replace("%", "%%").strip()
