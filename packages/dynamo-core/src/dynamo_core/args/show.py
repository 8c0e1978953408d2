"""A parsed command line for people, for machines, and as a file that gives the same again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from dynamo_core import environment
from dynamo_core.args.config_files import COMMON
from dynamo_core.args.engine import is_secret
from dynamo_core.args.engine_options import EngineOptions
from dynamo_core.args.expand import escape
from dynamo_core.args.foreign import foreign_variables
from dynamo_core.args.origins import Origin
from dynamo_core.args.settings import Declaration, Settings, declarations
from dynamo_core.environment import Variable
from dynamo_core.printing import visible

if TYPE_CHECKING:
    from dynamo_core.args.parser import Arguments

MASK = "********"


@dataclass(frozen=True)
class Row:
    """One value and its source."""

    key: str
    value: Any
    origin: Origin
    is_secret: bool
    is_common: bool = False
    """Whether it is for those engines that know it."""

    @property
    def shown(self) -> Any:
        return MASK if self.is_secret else self.value


def engine_rows(options: EngineOptions) -> tuple[list[Row], str]:
    """The engine options as its parser understands them; without it as they were written, and a note.

    Raises `UserError` with what the engine's parser refuses.
    """
    values, unchecked = options.values()
    rows = [Row(v.key, v.value, v.origin, is_secret(v.key), v.is_common) for v in values]
    return rows, f"the engine's flags are as they were written, not checked: {unchecked}" if unchecked else ""


def show(arguments: Arguments[Any], engine: Sequence[Row], variables: Sequence[Variable], style: str) -> str:
    """Every value with its source, and every variable that the process will set and why."""
    if style == "text":
        return _as_text(arguments, engine, variables)
    data = as_data(arguments, engine, variables)
    return (
        json.dumps(data, indent=2, default=str)
        if style == "json"
        else yaml.safe_dump(data, sort_keys=False).rstrip()
    )


def dump(arguments: Arguments[Any], engine: Sequence[Row]) -> str:
    """A YAML file that gives the same settings again: what differs from the defaults.

    A secret is left out, and said to be.
    """
    rows = [row for row in setting_rows(arguments) if row.origin.kind != "default" and row.value is not None]
    lines = []
    engine = [row for row in engine if row.origin.kind != "derived"]
    for row in [*rows, *engine]:
        if row.is_secret:
            lines.append(visible(f"# {row.key}: hidden; it came from {row.origin}", keep=""))
        elif not row.is_common:
            lines.append(_entry(row.key, escape(row.value)))
    if common := {row.key: escape(row.value) for row in engine if row.is_common and not row.is_secret}:
        lines.append(_entry(COMMON, common))
    return "\n".join([*lines, ""])


def _entry(key: str, value: Any) -> str:
    """One key in YAML, readable where the characters allow it."""
    text = yaml.safe_dump({key: value}, default_flow_style=False, allow_unicode=True)
    if yaml.safe_load(text) != {key: value}:
        text = yaml.safe_dump({key: value}, default_flow_style=False)
    return text.rstrip("\n")


def setting_rows(arguments: Arguments[Any]) -> list[Row]:
    """The component's own settings."""
    return [
        Row(d.key, _plain(getattr(arguments.settings, name)), origin, hides(d, origin))
        for name, d in declarations(type(arguments.settings)).items()
        for origin in (arguments.origins[name],)
    ]


def hides(declared: Declaration, origin: Origin) -> bool:
    """Whether a value must not be shown: a default is in the documentation, so it may."""
    return declared.secret and origin.kind != "default"


def _as_text(arguments: Arguments[Any], engine: Sequence[Row], variables: Sequence[Variable]) -> str:
    lines = table(setting_rows(arguments))
    if engine and arguments.engine.engine:
        lines += ["", f"{arguments.engine.engine.name}:", *table(engine)]
    if variables:
        lines += ["", "environment that this process sets for the libraries in it:"]
        lines += [f"  {v.name}={_masked(v, type(arguments.settings))}   {v.why}" for v in variables]
    if foreign := _foreign(arguments):
        lines += ["", "environment that is set already and read by the runtime or the Kubernetes operator:"]
        lines += [f"  {name}={value}" for name, value in foreign.items()]
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> list[str]:
    """Rows as aligned `key = value   source` lines."""
    width = max((len(row.key) for row in rows), default=0)
    values = ["-" if row.shown is None else visible(str(row.shown), keep="") for row in rows]
    column = min(max((len(value) for value in values), default=0), 40)
    return [
        f"{row.key:<{width}} = {value:<{column}}   {row.origin}"
        for row, value in zip(rows, values, strict=True)
    ]


def as_data(
    arguments: Arguments[Any], engine: Sequence[Row], variables: Sequence[Variable]
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "settings": {row.key: row_data(row) for row in setting_rows(arguments)},
        "engine": {row.key: row_data(row) for row in engine},
        "environment": {
            v.name: {"value": _masked(v, type(arguments.settings)), "why": v.why} for v in variables
        },
        "foreign_environment": _foreign(arguments),
    }


def _foreign(arguments: Arguments[Any]) -> dict[str, str]:
    return foreign_variables(d.env for d in declarations(type(arguments.settings)).values())


def row_data(row: Row) -> dict[str, Any]:
    """One value for programs."""
    column = {"column": row.origin.column} if row.origin.column else {}
    return {"value": row.shown, "source": row.origin.kind, "where": row.origin.where, **column}


def _masked(variable: Variable, settings: type[Settings]) -> str:
    secret = {declared.key for declared in declarations(settings).values() if declared.secret}
    value = variable.value
    if variable.yields:
        value = environment.read(variable.name) or value
    return MASK if variable.setting in secret else value


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str, list)) else str(value)
