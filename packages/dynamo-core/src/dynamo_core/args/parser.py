"""One parser for a component, however it is started."""

from __future__ import annotations

import argparse
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from pydantic import ValidationError

from dynamo_core import environment
from dynamo_core.args.config_files import FileValues, read_config_files
from dynamo_core.args.foreign import unknown_variables
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.settings import Declaration, Settings, declarations
from dynamo_core.args.show import FORMATS, dump, show
from dynamo_core.args.suggest import nearest
from dynamo_core.deploy.deployment import BaseDeployment
from dynamo_core.environment import Variable
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


@dataclass(frozen=True)
class Request:
    """What a command line asks for besides starting the component."""

    show: str = ""
    """The format of `--show-config`."""
    dump: str = ""
    """The file of `--dump-config`."""


class DynamoFlexibleArgumentParser(argparse.ArgumentParser, Generic[S]):
    """Reads a component's settings: flag > environment > file > deployment class > default.

    Flags follow from the declarations of `settings`. With `engine`, flags and file keys that are
    not among them go to that engine's own parser; without, they are errors. Parsing imports no
    engine, and neither does `--help`. `variables` tells what environment the settings make the
    process set, for `--show-config`.
    """

    def __init__(
        self,
        settings: type[S],
        deployment: type[BaseDeployment] | None = None,
        *,
        engine: str = "",
        description: str = "",
        variables: Callable[[S], Sequence[Variable]] | None = None,
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
        self.variables = variables
        self.declared = declarations(settings)
        self._repeated: list[str] = []
        self._add_own_flags()
        groups: dict[str, Any] = {}
        for declaration in self.declared.values():
            group = groups.get(declaration.group) or self.add_argument_group(declaration.group)
            groups[declaration.group] = group
            self._add(group, declaration)

    def parse(self, argv: Sequence[str] | None = None) -> Arguments[S]:
        """Parse a command line; exits with 2 and one message that lists every problem found."""
        try:
            arguments, request = self.resolve(sys.argv[1:] if argv is None else argv)
            if request.dump:
                _write(Path(request.dump), dump(arguments))
        except UserError as error:
            self.exit(error.exit_code, f"{self.prog}: error: {error}\n")
        if request.show:
            print(show(arguments, self._variables(arguments.settings), request.show))
        if request.show or request.dump:
            self.exit(0)
        return arguments

    def resolve(self, argv: Sequence[str]) -> tuple[Arguments[S], Request]:
        """Parse a command line; also what it asks for besides. Raises `UserError`."""
        self._repeated = []
        given, rest = self.parse_known_args(list(argv))
        flags: dict[str, Any] = vars(given)
        request = Request(flags.pop("show_config", ""), flags.pop("dump_config", ""))
        files = read_config_files(
            flags.pop("config", []),
            [d.key for d in self.declared.values()],
            module=self._module(),
            engine=self.engine,
        )
        problems = [*self._repeated, *files.problems]
        if rest and not self.engine:
            problems += self._unknown_flags(rest)
        problems += unknown_variables(d.env for d in self.declared.values())
        found = {name: self._lookup(d, flags, files) for name, d in self.declared.items()}
        settings = self._validate(found, problems)
        if problems or settings is None:
            raise UserError("\n".join(problems))
        origins = {name: located.origin for name, located in found.items() if located}
        return Arguments(settings, files.engine_args + rest, origins), request

    def describe(self) -> dict[str, Any]:
        """What a planner must know of this component, as plain data."""
        return {
            "deployment": self.deployment.describe() if self.deployment else None,
            "engine": self.engine,
            "settings": {
                d.key: {"default": self._default(d), "env": d.env, "secret": d.secret}
                for d in self.declared.values()
            },
        }

    def problems_with(self, values: Mapping[str, Located]) -> list[str]:
        """What is wrong with values by file key, before they become flags of a process."""
        found = {d.name: values[d.key] for d in self.declared.values() if d.key in values}
        problems: list[str] = []
        self._validate(found, problems)
        return problems

    def error(self, message: str) -> NoReturn:
        raise UserError(message, fix=f"see {self.prog} --help")

    def _add_own_flags(self) -> None:
        self.add_argument(
            "-f",
            "--config",
            action="append",
            metavar="FILE",
            help="YAML or TOML file with the same names as the flags; of several, a later one wins.",
        )
        self.add_argument(
            "--show-config",
            nargs="?",
            const="text",
            choices=FORMATS,
            help="Print every value with its source and exit.",
        )
        self.add_argument(
            "--dump-config", metavar="FILE", help="Write a file that gives the same settings, and exit."
        )

    def _add(self, group: Any, declared: Declaration) -> None:
        default = self._default(declared)
        told = "required" if declared.required and default is None else f"default {_plain(default)}"
        options: dict[str, Any] = {
            "dest": declared.name,
            "help": f"{declared.help} [{told}; {declared.env}]".replace("%", "%%"),
        }
        if declared.is_switch:
            group.add_argument(declared.flag, action=argparse.BooleanOptionalAction, **options)
        else:
            metavar = declared.metavar or "|".join(declared.choices) or declared.name.upper().split("_")[-1]
            group.add_argument(declared.flag, metavar=metavar, action=_StoreOnce, **options)

    def repeated(self, flag: str, first: str, second: str) -> None:
        """A flag was given twice with different values."""
        self._repeated.append(f"{flag} is given twice, as {first!r} and as {second!r}; keep one of the two")

    def _lookup(self, declared: Declaration, flags: Mapping[str, Any], files: FileValues) -> Located | None:
        if declared.name in flags:
            return Located(flags[declared.name], Origin("flag", declared.flag))
        if variable := environment.read(declared.env):
            return Located(variable, Origin("environment", declared.env))
        if declared.key in files.settings:
            return files.settings[declared.key]
        if self.deployment and (value := self._deployed(declared)) is not None:
            return Located(value, Origin("deployment", f"class {self.deployment.__qualname__}"))
        return None if declared.required else Located(declared.default, Origin("default"))

    def _default(self, declared: Declaration) -> Any:
        deployed = self._deployed(declared)
        return declared.default if deployed is None else deployed

    def _deployed(self, declared: Declaration) -> Any:
        return self.deployment.default_of(declared.name) if self.deployment else None

    def _module(self) -> str:
        """The component's module, also when it runs as the main program."""
        name = self.deployment.__module__ if self.deployment else "__main__"
        main = sys.modules["__main__"]
        if name != "__main__":
            return name
        spec = getattr(main, "__spec__", None)
        return spec.name.removesuffix(".__main__") if spec else Path(getattr(main, "__file__", "")).stem

    def _variables(self, settings: S) -> Sequence[Variable]:
        return self.variables(settings) if self.variables else ()

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
            return self.settings(
                **{name: _input(self.declared[name], located) for name, located in found.items() if located}
            )
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                name = str(detail["loc"][0])
                if name in found:
                    problems.append(_problem(self.declared[name], found[name], detail["msg"]))
            return None


class _StoreOnce(argparse.Action):
    """Stores a value; a second one that differs is a mistake, whichever was meant."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        present = getattr(namespace, self.dest, values)
        if present != values and isinstance(parser, DynamoFlexibleArgumentParser):
            parser.repeated(str(option_string), str(present), str(values))
        setattr(namespace, self.dest, values)


def _input(declared: Declaration, located: Located) -> Any:
    """A truth value is no number, although Python would take it for one."""
    is_number = declared.annotation in (int, float, int | None, float | None)
    return str(located.value).lower() if isinstance(located.value, bool) and is_number else located.value


def _problem(declared: Declaration, located: Located | None, message: str) -> str:
    if located is None:
        return f"{declared.flag} is required: give the flag, or set {declared.env}"
    value = "(hidden)" if declared.secret else reprlib.repr(located.value)
    text = f"{declared.key}: {message[0].lower()}{message[1:]}; found {value} (from {located.origin})"
    hint = nearest(str(located.value), declared.choices)
    return f"{text}; {hint}" if hint else text


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--dump-config: cannot write {path}: {error.strerror}") from None


def _plain(value: Any) -> str:
    return "-" if value is None else str(value)


def _prog() -> str:
    """What was typed: the console script, or `python -m module`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or not sys.argv[0].endswith(".py"):
        return Path(sys.argv[0]).name
    name = spec.name.removesuffix(".__main__")
    return f"python -m {name}"
