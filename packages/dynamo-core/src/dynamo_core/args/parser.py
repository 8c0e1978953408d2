"""One parser for a component, however it is started."""

from __future__ import annotations

import logging
import re
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from dynamo_core import environment, logs
from dynamo_core.args.command_line import OWN_FLAGS, CommandLine, read_command_line
from dynamo_core.args.config_files import RESERVED, read_config_files, take
from dynamo_core.args.engine import Derived, Engine, EngineOption, EngineValue, is_secret
from dynamo_core.args.engine_options import EngineOptions
from dynamo_core.args.engine_parser import EngineParser
from dynamo_core.args.foreign import unknown_variables
from dynamo_core.args.given import Given
from dynamo_core.args.groups import ModelSettings, RuntimeSettings, StatusSettings
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.settings import Declaration, Settings, declarations
from dynamo_core.args.suggest import with_hint
from dynamo_core.deploy.deployment import BaseDeployment
from dynamo_core.environment import Variable
from dynamo_core.errors import UserError
from dynamo_core.models import check_model
from dynamo_core.printing import complain, each_problem, emit

S = TypeVar("S", bound=Settings)
logger = logging.getLogger(__name__)
OWN_KEYS: dict[str, Any] = {flag.removeprefix("--"): None for flag in OWN_FLAGS if flag.startswith("--")}


@dataclass(frozen=True)
class Arguments(Generic[S]):
    """What a command line, its files and the environment come to."""

    settings: S
    engine: EngineOptions
    """What this component does not know, for the engine's own parser."""
    origins: Mapping[str, Origin]
    """Where each setting's value came from."""
    warnings: Sequence[str] = ()
    """What works today and will not for ever."""

    def changed(self) -> list[str]:
        """The keys of what differs from the defaults."""
        own = [
            declared.key
            for name, declared in declarations(type(self.settings)).items()
            if getattr(self.settings, name) != declared.default
        ]
        return own + list(dict.fromkeys(option.key for option in self.engine.given))


@dataclass(frozen=True)
class Values:
    """Values that a planner has read for a component, by file key."""

    common: Mapping[str, Located] = field(default_factory=dict)
    """For every component of a graph; this one takes what it knows."""
    own: Mapping[str, Located] = field(default_factory=dict)
    has_own_files: bool = False
    """Whether the component will run where the files of this machine are not."""


class DynamoFlexibleArgumentParser(Generic[S]):
    """Reads a component's settings: flag > environment > file > deployment class > default.

    Flags follow from the declarations of `settings`. With `engine`, flags and file keys that are
    not among them are that engine's; without, they are errors. An engine is imported for them only
    where its own parser is needed, and never for plain `--help`. `derive` tells which of its options
    follow from the settings; those lose against all others. `variables` tells what environment
    the settings make the process set; what the Rust runtime needs if it is left out. `facts` tells
    a planner what differs from the deployment class's word. `check` raises `UserError` for values
    that can be known to be wrong before anything starts, a model that is not there if it is left out;
    a problem that begins with a flag is told with the source of its value.
    """

    def __init__(
        self,
        settings: type[S],
        deployment: type[BaseDeployment] | None = None,
        *,
        engine: Engine | None = None,
        derive: Callable[[S], Iterable[Derived]] | None = None,
        description: str = "",
        variables: Callable[[S], Sequence[Variable]] | None = None,
        facts: Callable[[S], Mapping[str, Any]] | None = None,
        check: Callable[[S], None] | None = None,
    ) -> None:
        self.settings = settings
        self.deployment = deployment
        self.engine = engine
        self.derive = derive
        self.description = description
        self.variables = variables or _usual_variables
        self.facts = facts
        self.check = check or _usual_check
        self.declared = declarations(settings)
        self.prog = _prog()
        _check_names(self.declared.values())
        if deployment:
            deployment.check_attributes(self.declared, has_engine=engine is not None)

    def parse(self, argv: Sequence[str] | None = None) -> Arguments[S]:
        """Parse a command line, for a component that starts now.

        Does what it asks for besides and exits: 0 for `--help`, `--show-config` and
        `--dump-config`, 2 after one message with every problem found. Otherwise configures the
        process's logs and says how many values differ from the default.
        """
        line = self._read(sys.argv[1:] if argv is None else argv)
        try:
            if line.help is not None:
                from dynamo_core.args.help import help_for

                emit(help_for(self, line.help))
                raise SystemExit(0)
            arguments = self._arguments(line)
            if line.show or line.dump:
                self._show(arguments, line)
                raise SystemExit(0)
        except KeyboardInterrupt:  # an engine's import takes seconds
            raise SystemExit(130) from None
        except UserError as error:
            complain(self.prog, str(error))
            raise SystemExit(error.exit_code) from None
        self._announce(arguments)
        self._check(arguments)
        return arguments

    def problems(self, arguments: Arguments[S]) -> list[str]:
        """What `check` finds, each with the source of the setting that it names."""
        try:
            self.check(arguments.settings)
        except UserError as error:
            return [self._with_source(problem, arguments) for problem in each_problem(str(error))]
        return []

    def resolve(self, argv: Sequence[str]) -> Arguments[S]:
        """Parse a command line and nothing else. Raises `UserError` with every problem found."""
        return self._arguments(self._read(argv))

    def resolve_values(self, values: Values) -> Arguments[S]:
        """The same for values that a planner has read. Raises `UserError`."""
        typed, files = Given(), Given()
        for given, is_typed in ((files, False), (typed, True)):
            common, own = (
                {key: v for key, v in part.items() if (v.origin.kind == "flag") is is_typed}
                for part in (values.common, values.own)
            )
            take(given, common, own, self.declared, has_engine=self.engine is not None)
        return self._resolve(typed, files)

    def _check(self, arguments: Arguments[S]) -> None:
        if found := self.problems(arguments):
            complain(self.prog, "\n".join(found))
            raise SystemExit(UserError.exit_code)

    def _with_source(self, problem: str, arguments: Arguments[S]) -> str:
        named = re.match(r"--([\w-]+)", problem)
        origins = {self.declared[name].key: origin for name, origin in arguments.origins.items()}
        if named is None or named[1] not in origins:
            return problem
        first, newline, rest = problem.partition("\n")
        return f"{first} (from {origins[named[1]]}){newline}{rest}"

    def _read(self, argv: Sequence[str]) -> CommandLine:
        return read_command_line(argv, self.declared, has_engine=self.engine is not None)

    def _arguments(self, line: CommandLine) -> Arguments[S]:
        has_engine = self.engine is not None
        files = read_config_files(line.files, self.declared, module=self.module, has_engine=has_engine)
        return self._resolve(line.given, files)

    def _resolve(self, typed: Given, files: Given) -> Arguments[S]:
        problems = [*typed.problems, *files.problems]
        warnings = [*typed.warnings, *files.warnings]
        problems += unknown_variables(self.declared.values())
        found = {
            n: self._lookup(d, typed.settings, files.settings, warnings) for n, d in self.declared.items()
        }
        incomplete = typed.incomplete | files.incomplete
        unsure = {name for name, declared in self.declared.items() if declared.key in incomplete}
        if files.is_unread:
            unsure |= {name for name, located in found.items() if located is None}
        settings = self._validate({n: v for n, v in found.items() if n not in unsure}, problems)
        if settings is not None:
            problems += self._conflicts(settings)
        derived = self._derived_options(settings) if settings is not None else []
        options = (*derived, *self._deployed_options(), *files.engine_options, *typed.engine_options)
        ours = OWN_KEYS | {d.key: getattr(settings, d.name, None) for d in self.declared.values()}
        engine = EngineOptions(self.engine, options, ours)
        if problems or settings is None:
            raise UserError("\n".join(problems + _engine_problems(engine)))
        origins = {name: located.origin for name, located in found.items() if located}
        return Arguments(settings, engine, origins, warnings)

    def _conflicts(self, settings: S) -> list[str]:
        try:
            return environment.conflicts(self.variables(settings))
        except UserError as error:
            return [str(error)]

    def words(self, arguments: Arguments[S], engine: Sequence[EngineValue]) -> list[str]:
        """The command line that gives the same, in this environment: without defaults and secrets."""
        words: list[str] = []
        for declared in self.declared.values():
            value = getattr(arguments.settings, declared.name)
            is_set = any(environment.read(name.env) for name in declared.names)
            if declared.secret or value is None or (value == self.default_of(declared) and not is_set):
                continue
            if declared.is_switch:
                words.append(declared.flag if value else declared.negated_flag)
            else:
                text = str(value)
                words += [f"{declared.flag}={text}"] if text.startswith("-") else [declared.flag, text]
        given = [value for value in engine if not is_secret(value.key) and value.origin.kind != "derived"]
        return words + [word for value in given for word in value.words]

    def knows(self, keys: Iterable[str]) -> set[str]:
        """Which of these file keys are settings, or options of the engine. Raises `UserError`."""
        found = {key for key in keys if key in self.keys - OWN_KEYS.keys()}
        others = set(keys) - found
        if others and self.engine and self.engine.read_at_start:
            return set(keys)
        if others and self.engine:
            parser = EngineParser(self.engine, self.keys)
            found |= {key for key in others if parser.action_of(f"--{key}")}
        return found

    @property
    def keys(self) -> set[str]:
        """All names that are the component's own."""
        return {name.key for declared in self.declared.values() for name in declared.names} | OWN_KEYS.keys()

    @property
    def module(self) -> str:
        """The component's module, also when it runs as the main program."""
        name = self.deployment.__module__ if self.deployment else "__main__"
        main = sys.modules["__main__"]
        if name != "__main__":
            return name
        spec = getattr(main, "__spec__", None)
        return spec.name.removesuffix(".__main__") if spec else Path(getattr(main, "__file__", "")).stem

    def default_of(self, declared: Declaration) -> Any:
        """The value of a setting that nobody gives: the deployment class's, or the declared one."""
        deployed = self._deployed(declared)
        return declared.default if deployed is None else deployed

    def _deployed(self, declared: Declaration) -> Any:
        return self.deployment.default_of(declared.name) if self.deployment else None

    def _derived_options(self, settings: S) -> list[EngineOption]:
        return [
            EngineOption(f"--{item.key}", Origin("derived", f"derived from {item.why}"), value=item.value)
            for item in (self.derive(settings) if self.derive else ())
        ]

    def _deployed_options(self) -> list[EngineOption]:
        if self.deployment is None:
            return []
        origin = Origin("deployment", f"class {self.deployment.__qualname__}")
        options = self.deployment.engine_options.items()
        return [EngineOption(f"--{key}", origin, value=value) for key, value in options]

    def _lookup(
        self,
        declared: Declaration,
        flags: Mapping[str, Located],
        files: Mapping[str, Located],
        warnings: list[str],
    ) -> Located | None:
        if declared.name in flags:
            return flags[declared.name]
        for name in declared.names:
            if variable := environment.read(name.env):
                if name.removed_in:
                    warnings.append(declared.renamed(name, name.env, declared.env))
                return Located(variable, Origin("environment", name.env))
        if declared.name in files:
            return files[declared.name]
        if self.deployment and (value := self._deployed(declared)) is not None:
            return Located(value, Origin("deployment", f"class {self.deployment.__qualname__}"))
        return None if declared.required else Located(declared.default, Origin("default"))

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

    def _show(self, arguments: Arguments[S], line: CommandLine) -> None:
        from dynamo_core.args.show import dump, engine_rows, show

        values, note = engine_rows(arguments.engine)
        for text in [*arguments.warnings, *([note] if note else [])]:
            print(f"{self.prog}: warning: {text}", file=sys.stderr)
        if line.dump == "-":
            emit(dump(arguments, values).rstrip("\n"))
        elif line.dump:
            _write(Path(line.dump), dump(arguments, values))
        if line.show:
            emit(show(arguments, values, self.variables(arguments.settings), line.show))

    def _announce(self, arguments: Arguments[S]) -> None:
        if isinstance(arguments.settings, StatusSettings):
            logs.configure(arguments.settings.log_level, arguments.settings.log_format)
        for warning in arguments.warnings:
            logger.warning("%s", warning)
        count = len(arguments.changed())
        subject = "1 value differs" if count == 1 else f"{count} values differ"
        logger.info("%s from the default; --show-config shows them", subject)


def _check_names(declared: Iterable[Declaration]) -> None:
    """Raise `TypeError` for a name that means something else already, or two things."""
    taken = {*OWN_KEYS, *RESERVED, *BaseDeployment.own_attributes()} - {"component", "namespace"}
    seen: dict[str, str] = {}
    for setting in declared:
        if setting.key in taken or setting.name in taken:
            raise TypeError(
                f"a setting cannot be called {setting.name}: every component has that word already"
            )
        for name in setting.names:
            flags = [name.flag, *([name.negated_flag] if setting.is_switch else [])]
            for word in (*flags, name.env):
                if seen.setdefault(word, setting.name) != setting.name:
                    raise TypeError(f"{word} belongs to the settings {seen[word]} and {setting.name}")


def _usual_variables(settings: Settings) -> Sequence[Variable]:
    from dynamo_core.runtime.variables import runtime_variables

    return runtime_variables(settings) if isinstance(settings, RuntimeSettings) else ()


def _usual_check(settings: Settings) -> None:
    if isinstance(settings, ModelSettings):
        check_model(settings.model)


def _engine_problems(options: EngineOptions) -> list[str]:
    """What the engine's parser has to say as well, when something else is wrong already."""
    if not options.given or (options.engine is not None and options.engine.read_at_start):
        return []
    try:
        return options.read()[1]
    except UserError as error:
        return [f"the flags for {options.engine and options.engine.name} were not checked: {error}"]


def _input(declared: Declaration, located: Located) -> Any:
    """A truth value is no number, although Python would take it for one."""
    is_number = declared.annotation in (int, float, int | None, float | None)
    return str(located.value).lower() if isinstance(located.value, bool) and is_number else located.value


def _problem(declared: Declaration, located: Located | None, message: str) -> str:
    if located is None:
        return f"{declared.flag} is required: give the flag, or set {declared.env}"
    message = message.removeprefix("Value error, ")  # pydantic's, before the words of a validator
    value = "(hidden)" if declared.secret else reprlib.repr(located.value)
    text = f"{declared.key}: {message[0].lower()}{message[1:]}; found {value} (from {located.origin})"
    is_word = not isinstance(located.value, (list, dict, str)) and declared.type_names == ("str",)
    if located.origin.kind == "file" and is_word:
        return f"{text}; in a file, put text that looks like something else in quotes"
    return with_hint(text, str(located.value).lower(), declared.choices)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except ValueError as error:
        raise UserError(f"--dump-config: cannot write {str(path)!r}: {error}") from None
    except OSError as error:
        raise UserError(f"--dump-config: cannot write {path}: {error.strerror}") from None


def _prog() -> str:
    """What was typed: the console script, or `python -m module`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or not sys.argv[0].endswith(".py"):
        return Path(sys.argv[0]).name
    name = spec.name.removesuffix(".__main__")
    return f"python -m {name}"
