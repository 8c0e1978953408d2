"""One parser for a component, however it is started."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from pydantic import ValidationError

from dynamo_core import environment
from dynamo_core.args.files import Entry, read_yaml
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.settings import Declaration, Settings, declarations
from dynamo_core.args.suggest import nearest
from dynamo_core.deploy.deployment import BaseDeployment
from dynamo_core.errors import UserError

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Arguments(Generic[S]):
    """A parsed command line."""

    settings: S
    engine_args: list[str]
    """Flags that this component does not know, for the engine's own parser, in order of precedence:
    those of files first, then those of the command line."""
    origins: Mapping[str, Origin]
    """Where each setting's value came from."""

    def show(self) -> str:
        """Every value with its source, one a line."""
        found = declarations(type(self.settings))
        width = max(len(d.key) for d in found.values())
        lines = []
        for name, declared in found.items():
            value = "********" if declared.secret else _plain(getattr(self.settings, name))
            lines.append(f"{declared.key:<{width}} = {value}   {self.origins[name]}")
        if self.engine_args:
            lines.append(f"{'engine flags':<{width}} = {' '.join(self.engine_args)}")
        return "\n".join(lines)


class DynamoFlexibleArgumentParser(argparse.ArgumentParser, Generic[S]):
    """Reads a component's settings: flag > environment > file > deployment class > default.

    Flags follow from the declarations of `settings`. With `engine`, flags and file keys that are
    not among them go to that engine's own parser; without, they are errors. Parsing imports no
    engine, and neither does `--help`.
    """

    def __init__(
        self,
        settings: type[S],
        deployment: type[BaseDeployment] | None = None,
        *,
        engine: str = "",
        description: str = "",
    ) -> None:
        super().__init__(
            prog=_prog(),
            description=description,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            epilog=f"Any other flag goes to {engine}." if engine else "",
        )
        self.settings = settings
        self.deployment = deployment
        self.engine = engine
        self.declared = declarations(settings)
        self.add_argument(
            "-f",
            "--config",
            action="append",
            metavar="FILE",
            help="YAML file with the same names as the flags.",
        )
        self.add_argument(
            "--show-config", action="store_true", help="Print every value with its source and exit."
        )
        groups: dict[str, Any] = {}
        for declaration in self.declared.values():
            group = groups.get(declaration.group) or self.add_argument_group(declaration.group)
            groups[declaration.group] = group
            self._add(group, declaration)

    def parse(self, argv: Sequence[str] | None = None) -> Arguments[S]:
        """Parse a command line; exits with 2 and one message that lists every problem found."""
        try:
            arguments, show = self.resolve(sys.argv[1:] if argv is None else argv)
        except UserError as error:
            self.exit(error.exit_code, f"{self.prog}: error: {error}\n")
        if show:
            print(arguments.show())
            self.exit(0)
        return arguments

    def resolve(self, argv: Sequence[str]) -> tuple[Arguments[S], bool]:
        """Parse a command line; also whether `--show-config` was asked for. Raises `UserError`."""
        given, rest = self.parse_known_args(list(argv))
        flags: dict[str, Any] = vars(given)
        show = bool(flags.pop("show_config", False))
        problems: list[str] = []
        files, engine_keys = self._read_files(flags.pop("config", []), problems)
        if rest and not self.engine:
            problems += self._unknown_flags(rest)
        found = {name: self._lookup(d, flags, files) for name, d in self.declared.items()}
        settings = self._validate(found, problems)
        if problems or settings is None:
            raise UserError("\n".join(problems))
        origins = {name: located.origin for name, located in found.items() if located}
        return Arguments(settings, engine_keys + rest, origins), show

    def describe(self) -> dict[str, Any]:
        """What a planner must know of this component, as plain data."""
        return {
            "deployment": self.deployment.describe() if self.deployment else None,
            "engine": self.engine,
            "settings": {
                d.key: {"switch": d.is_switch, "default": d.default} for d in self.declared.values()
            },
        }

    def error(self, message: str) -> NoReturn:
        raise UserError(message, fix=f"see {self.prog} --help")

    def _add(self, group: Any, declared: Declaration) -> None:
        given = self._deployed(declared)
        default = (
            "required"
            if declared.required and given is None
            else f"default {_plain(given or declared.default)}"
        )
        options: dict[str, Any] = {
            "dest": declared.name,
            "help": f"{declared.help} [{default}; {declared.env}]".replace("%", "%%"),
        }
        if declared.is_switch:
            group.add_argument(declared.flag, action=argparse.BooleanOptionalAction, **options)
        else:
            metavar = declared.metavar or "|".join(declared.choices) or declared.name.upper().split("_")[-1]
            group.add_argument(declared.flag, metavar=metavar, **options)

    def _lookup(
        self, declared: Declaration, flags: Mapping[str, Any], files: Mapping[str, Located]
    ) -> Located | None:
        if declared.name in flags:
            return Located(flags[declared.name], Origin("flag", declared.flag))
        if variable := environment.read(declared.env):
            return Located(variable, Origin("environment", declared.env))
        if declared.name in files:
            return files[declared.name]
        if self.deployment and (value := self._deployed(declared)) is not None:
            return Located(value, Origin("deployment", f"class {self.deployment.__qualname__}"))
        return None if declared.required else Located(declared.default, Origin("default"))

    def _deployed(self, declared: Declaration) -> Any:
        return self.deployment.default_of(declared.name) if self.deployment else None

    def _read_files(self, paths: Sequence[str], problems: list[str]) -> tuple[dict[str, Located], list[str]]:
        """Settings by name, and the keys for the engine as flags; a later file wins."""
        found: dict[str, Located] = {}
        engine_args: list[str] = []
        keys = {d.key: d.name for d in self.declared.values()}
        for path in paths:
            try:
                entries = read_yaml(Path(path))
            except UserError as error:
                problems.append(str(error))
                continue
            common = entries.pop("Common", Entry(None, 0, {})).children
            for key, entry in [*common.items(), *entries.items()]:
                origin = Origin("file", f"{path}:{entry.line}")
                if key in keys:
                    found[keys[key]] = Located(entry.value, origin)
                elif key in common:
                    continue
                elif self.engine:
                    engine_args += as_flags(key, entry.value)
                else:
                    problems.append(f"{origin}: unknown key {key!r}; {nearest(key, keys)}".rstrip("; "))
        return found, engine_args

    def _unknown_flags(self, rest: Sequence[str]) -> list[str]:
        known = [d.flag for d in self.declared.values()]
        problems = []
        for word in rest:
            flag = word.split("=")[0]
            kind = "unknown flag" if word.startswith("-") else "unexpected argument"
            problems.append(f"{kind} {flag!r}; {nearest(flag, known)}".rstrip("; "))
        return problems

    def _validate(self, found: Mapping[str, Located | None], problems: list[str]) -> S | None:
        try:
            return self.settings(**{name: located.value for name, located in found.items() if located})
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                name = str(detail["loc"][0])
                problems.append(_problem(self.declared[name], found[name], detail["msg"]))
            return None


def as_flags(key: str, value: Any) -> list[str]:
    """One file key as command-line words: switches, repeated values and JSON as parsers expect them."""
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{key}" if value else f"--no-{key}"]
    if isinstance(value, Mapping):
        return [f"--{key}", json.dumps(value)]
    if isinstance(value, (list, tuple)):
        return [f"--{key}", *(str(item) for item in value)]
    return [f"--{key}", str(value)]


def _problem(declared: Declaration, located: Located | None, message: str) -> str:
    if located is None:
        return f"{declared.flag} is required: give the flag, or set {declared.env}"
    value = "(hidden)" if declared.secret else repr(located.value)
    text = f"{declared.key}: {message[0].lower()}{message[1:]}; found {value} (from {located.origin})"
    hint = nearest(str(located.value), declared.choices)
    return f"{text}; {hint}" if hint else text


def _plain(value: Any) -> str:
    return "-" if value is None else str(value)


def _prog() -> str:
    """What was typed: the console script, or `python -m module`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or not sys.argv[0].endswith(".py"):
        return Path(sys.argv[0]).name
    name = spec.name.removesuffix(".__main__")
    return f"python -m {name}"
