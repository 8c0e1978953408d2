"""The flags of commands that look at where components meet, without being one.

They are those of `RuntimeSettings`, with the same variables. A component refuses to start with a
variable that nothing reads; a command that is there to find such things must not.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dynamo_core import environment
from dynamo_core.args.groups import RuntimeSettings
from dynamo_core.args.settings import declarations
from dynamo_core.args.suggest import with_hint
from dynamo_core.errors import UserError

DISCOVERY = ("discovery_backend", "discovery_path", "etcd_endpoints")
PLANES = ("request_plane", "event_plane", "nats_server")


def add_flags(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """Add the flags of these settings."""
    declared = declarations(RuntimeSettings)
    for name in names:
        setting = declared[name]
        text = f"{setting.help} [{setting.env}; default {setting.default}]".replace("%", "%%")
        parser.add_argument(setting.flag, metavar=setting.metavar, help=text, choices=setting.choices or None)


def settings_of(options: Mapping[str, Any]) -> RuntimeSettings:
    """The settings by flag, variable and default. Raises `UserError` with every problem found."""
    settings, problems = read_settings(options)
    if problems:
        raise UserError("\n".join(problems))
    return settings


def read_settings(options: Mapping[str, Any]) -> tuple[RuntimeSettings, list[str]]:
    """The same with the problems, and the default for each setting that has one."""
    declared = declarations(RuntimeSettings)
    given = {name: options.get(name) for name in declared}
    values: dict[str, Any] = {n: given[n] or environment.read(d.env) or None for n, d in declared.items()}
    values = {name: value for name, value in values.items() if value is not None}
    try:
        return RuntimeSettings(**values), []
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False, include_context=False):
            setting = declared[str(detail["loc"][0])]
            found = str(values.pop(setting.name))
            origin = setting.flag if given[setting.name] else setting.env
            shown = "(hidden)" if setting.secret else repr(found)
            text = f"{setting.key}: {detail['msg']}; found {shown} (from {origin})"
            problems.append(with_hint(text, found, setting.choices))
        return RuntimeSettings(**values), problems
