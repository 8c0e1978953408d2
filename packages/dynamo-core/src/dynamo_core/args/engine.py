"""An engine's own options: read by its real parser, each with its origin.

Core lists none of them. A component names its engine once:

    def build_parser() -> argparse.ArgumentParser:
        with engine_import("vllm", package="dynamo-vllm"):
            from vllm.engine.arg_utils import AsyncEngineArgs
            …
        return AsyncEngineArgs.add_cli_args(…)

    VLLM = Engine("vLLM", build_parser, shared={"model": "--model"})

and hands it to its `DynamoFlexibleArgumentParser`. What that does not know itself is collected as
`EngineOptions`, and read by the engine's parser when the engine is imported anyway: at start, for
`--help=engine`, or because something is wrong and everything wrong is told at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from dynamo_core.args.origins import Origin
from dynamo_core.args.suggest import with_hint
from dynamo_core.errors import UserError

_SECRET = re.compile(r"(^|-)(api-key|password|secret|hf-token|auth-token)$")


@dataclass(frozen=True)
class Engine:
    """An engine whose options a component takes besides its own settings."""

    name: str
    build_parser: Callable[[], argparse.ArgumentParser]
    """Imports the engine. Raises `UserError` if it is not installed."""
    shared: Mapping[str, str | None] = field(default_factory=dict)
    """Keys that we and the engine both know: the engine's flag that gets our value, or None where
    ours replaces it. Any other common name is an error when the parser is built."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """The engine's flags that the component sets itself, each with what decides it."""


@dataclass(frozen=True)
class EngineOption:
    """One option as it was written: as words on a command line, or as a value in a file."""

    flag: str
    origin: Origin
    words: tuple[str, ...] = ()
    """From a command line: the flag and its values, or `--flag=value`."""
    value: Any = None
    """From a file or a deployment class."""
    is_common: bool = False
    """Whether it stands under `Common`, where it is for those engines that know it."""

    @property
    def key(self) -> str:
        return self.flag.removeprefix("--")

    @property
    def given(self) -> Any:
        """The value without the engine's help: no word is a switch, several are a list."""
        if not self.words:
            return self.value
        _, equals, text = self.words[0].partition("=")
        values = [text] if equals else list(self.words[1:])
        return values[0] if len(values) == 1 else values or True


@dataclass(frozen=True)
class EngineValue:
    """One option as the engine's parser understands it."""

    key: str
    """The option's first long name, without dashes."""
    dest: str
    value: Any
    """Plain data, as it would stand in a file."""
    words: tuple[str, ...]
    origin: Origin

    @property
    def is_part(self) -> bool:
        """Whether it is one part of a larger value: `--compilation-config.level`."""
        return "." in self.key


class EngineParser:
    """An engine's own parser, asked about one option at a time."""

    def __init__(self, engine: Engine, ours: Iterable[str]) -> None:
        """Build it. `ours` are the keys that the component has itself.

        Raises `UserError` if the engine is not installed, `TypeError` if a name is known to both
        and not declared as shared.
        """
        self.engine = engine
        self.ours = tuple(ours)
        with contextlib.redirect_stdout(sys.stderr):
            self.parser = engine.build_parser()
        self.parser.error = _refuse  # type: ignore[method-assign]
        self.flags: Mapping[str, argparse.Action] = self.parser._option_string_actions
        both = {key for key in self.ours if f"--{key}" in self.flags} - engine.shared.keys()
        if both:
            raise TypeError(
                f"{engine.name} has options of the same names as ours: {', '.join(sorted(both))}; "
                "declare them as shared, or rename ours"
            )
        self.forwarded = {flag: key for key, flag in engine.shared.items() if flag}
        for action in self.parser._actions:
            action.required = False

    @property
    def actions(self) -> list[argparse.Action]:
        """The options that are the user's: neither shared with us nor kept."""
        ours = {self.flags[flag].dest for flag in (*self.forwarded, *self.engine.kept) if flag in self.flags}
        ours |= {self.flags[f"--{key}"].dest for key in self.engine.shared if f"--{key}" in self.flags}
        return [action for action in self.parser._actions if action.dest not in ours]

    @property
    def known(self) -> list[str]:
        """The flags to suggest, ours among them; `--no-` forms follow from the others."""
        flags = [f for a in self.actions for f in a.option_strings if not f.startswith("--no-")]
        return [*flags, *(f"--{key}" for key in self.ours)]

    def action_of(self, flag: str) -> argparse.Action | None:
        """The option that a flag stands for: `--a_b`, `--a-b.part` and `-O3` are seen as the engine does."""
        base = flag.split(".")[0]
        dashed = base[:2] + base[2:].replace("_", "-")
        return self.flags.get(base) or self.flags.get(dashed) or self._by_parsing(flag)

    def read(self, option: EngineOption) -> EngineValue | None:
        """What an option means, or None if it says nothing. Raises `UserError` with the problem."""
        action = self.action_of(option.flag)
        if action is None:
            if option.is_common:
                return None
            raise UserError(self._unknown(option))
        name = key_of(action)
        for flag, key in self.forwarded.items():
            if action.dest == self.flags[flag].dest:
                raise UserError(f"{option.origin}: {self.engine.name}'s {flag} is set by --{key}; give that")
        for flag, why in self.engine.kept.items():
            if flag in action.option_strings:
                raise UserError(f"{option.origin}: {self.engine.name}'s {flag} cannot be given: {why}")
        if is_switch(action) and len(option.words) > 1:
            raise UserError(f"{option.flag} takes no value, found {' '.join(option.words[1:])!r}")
        words = option.words or _words(option, action)
        if not words:
            return None
        value = self._parse(words, name, option, action)
        parts = option.flag.partition(".")
        return EngineValue("".join([name, *parts[1:]]), action.dest, value, words, option.origin)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """All of it at once. Raises `UserError`."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return self.parser.parse_args(list(words))
        except (_Refused, ValueError) as error:
            raise UserError(f"{self.engine.name}: {error}") from None

    def _parse(self, words: Sequence[str], name: str, option: EngineOption, action: argparse.Action) -> Any:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                namespace = self.parser.parse_args(list(words), argparse.Namespace())
        except (_Refused, ValueError) as error:
            raise UserError(_problem(str(error), name, option, action)) from None
        return _plain(getattr(namespace, action.dest, None), option)

    def _by_parsing(self, flag: str) -> argparse.Action | None:
        """A form that only the engine's parser knows, such as `-O3`."""
        unset = object()
        dests = {action.dest: unset for action in self.parser._actions}
        try:
            namespace = self.parser.parse_args([flag], argparse.Namespace(**dests))
        except (_Refused, ValueError, TypeError, AttributeError):
            return None
        changed = [action for action in self.parser._actions if getattr(namespace, action.dest) is not unset]
        return changed[0] if changed else None

    def _unknown(self, option: EngineOption) -> str:
        if option.origin.kind == "flag":
            return with_hint(
                f"unknown flag {option.flag!r}, also for {self.engine.name}", option.flag, self.known
            )
        keys = [flag.removeprefix("--") for flag in self.known]
        problem = f"{option.origin}: unknown key {option.key!r}, also for {self.engine.name}"
        return with_hint(problem, option.key, keys)


def is_secret(key: str) -> bool:
    """Whether an engine's option holds a secret; engines do not say so, their names do."""
    return bool(_SECRET.search(key))


class _Refused(Exception):
    """The engine's parser ends the process after a mistake; here it must not."""


def _refuse(message: str) -> NoReturn:
    raise _Refused(message)


def key_of(action: argparse.Action) -> str:
    """An option's first long name, without dashes."""
    return next(
        (f for f in action.option_strings if f.startswith("--")), action.option_strings[0]
    ).removeprefix("--")


def is_switch(action: argparse.Action) -> bool:
    """Whether an option takes no value."""
    return action.nargs == 0


def _words(option: EngineOption, action: argparse.Action) -> tuple[str, ...]:
    """The value of a file as the words that this option expects."""
    flag = option.flag if option.flag in action.option_strings else f"--{key_of(action)}"
    flag = "".join([flag, *option.flag.partition(".")[1:]]) if "." in option.flag else flag
    value = option.value
    if value is None:
        return ()
    if is_switch(action) and "." not in flag:
        return _switch_words(option, action, flag)
    if isinstance(value, (list, tuple)) and action.nargs in ("+", "*"):
        return (flag, *(_word(item) for item in value))
    text = _word(value)
    return (f"{flag}={text}",) if text.startswith("-") else (flag, text)


def _switch_words(option: EngineOption, action: argparse.Action, flag: str) -> tuple[str, ...]:
    value = {"true": True, "false": False}.get(str(option.value).lower())
    if value is None:
        raise UserError(
            f"{option.key}: expected true or false; found {option.value!r} (from {option.origin})"
        )
    if value:
        return (flag,)
    name = flag.removeprefix("--")
    opposite = f"--{name.removeprefix('no-')}" if name.startswith("no-") else f"--no-{name}"
    return (opposite,) if opposite in action.option_strings else ()


def _word(item: Any) -> str:
    return json.dumps(item) if isinstance(item, (Mapping, list, tuple, bool)) else str(item)


def _plain(value: Any, option: EngineOption) -> Any:
    """The parsed value where it is plain data, else the value as it was written."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, (int, float, str)) for item in value):
        return list(value)
    return option.given


def _problem(message: str, name: str, option: EngineOption, action: argparse.Action) -> str:
    """The engine's complaint about one option, in our form."""
    text = re.sub(r"^argument [^:]*: ", "", message)
    text = re.sub(r"\[type=.*?\]$|^\s*For further information.*$", "", text, flags=re.MULTILINE)
    text = " ".join(text.split())
    given = option.given
    choices = [str(choice) for choice in action.choices or ()]
    if choices and not isinstance(given, (list, dict)) and str(given) not in choices:
        text = f"input should be one of {', '.join(choices)}"
    found = "(hidden)" if is_secret(name) else repr(given)
    return with_hint(f"{name}: {text}; found {found} (from {option.origin})", str(given), choices)


@dataclass(frozen=True)
class EngineOptions:
    """The engine options of one command line, its files and its class, lowest precedence first."""

    engine: Engine | None = None
    options: tuple[EngineOption, ...] = ()
    ours: Mapping[str, Any] = field(default_factory=dict)
    """The component's own values by key, for the names that are shared."""

    def __bool__(self) -> bool:
        return bool(self.options)

    def parser(self) -> EngineParser:
        """The engine's parser. Raises `UserError` if the engine is not installed."""
        if self.engine is None:
            raise TypeError("this component has no engine")
        return EngineParser(self.engine, self.ours)

    def read(self, parser: EngineParser | None = None) -> tuple[list[EngineValue], list[str]]:
        """The values that count, and every problem."""
        parser = parser or self.parser()
        problems: list[str] = []
        found: list[EngineValue] = []
        for option in self.options:
            try:
                value = parser.read(option)
            except UserError as error:
                problems.append(str(error))
            else:
                found += [value] if value else []
        winners: dict[str, EngineValue] = {}
        for value in found:
            present = winners.get(value.key)
            if (
                present
                and present.origin.kind == value.origin.kind == "flag"
                and present.value != value.value
            ):
                problems.append(
                    f"--{value.key} is given twice, as {present.value!r} and as {value.value!r}; "
                    "keep one of the two"
                )
            winners.pop(value.key, None)
            winners[value.key] = value
        problems += _wholes_and_parts(winners.values())
        return list(winners.values()), problems

    def values(self) -> tuple[list[EngineValue], str]:
        """The values that count. Without the engine they are as they were written, and the text says why.

        Raises `UserError` with every problem.
        """
        if not self.options:
            return [], ""
        try:
            parser = self.parser()
        except UserError as error:
            return [_as_written(option) for option in self.options], str(error)
        values, problems = self.read(parser)
        if problems:
            raise UserError("\n".join(problems))
        return values, ""

    def namespace(self) -> argparse.Namespace:
        """What the engine's parser makes of it, with our values for the shared names.

        Raises `UserError` with every problem.
        """
        parser = self.parser()
        values, problems = self.read(parser)
        if problems:
            raise UserError("\n".join(problems))
        words = [
            f"{flag}={self.ours[key]}"
            for flag, key in parser.forwarded.items()
            if self.ours.get(key) is not None
        ]
        return parser.parse([*words, *(word for value in values for word in value.words)])


def as_words(flag: str, value: Any) -> tuple[str, ...]:
    """A value of a file as words, where there is no parser to ask how it wants them."""
    if isinstance(value, bool):
        return (flag if value else f"--no-{flag.removeprefix('--')}",)
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (list, dict)) for item in value):
        return (flag, *(str(item) for item in value))
    if value is None:
        return ()
    text = _word(value)
    return (f"{flag}={text}",) if text.startswith("-") else (flag, text)


def _as_written(option: EngineOption) -> EngineValue:
    words = option.words or as_words(option.flag, option.value)
    return EngineValue(option.key, option.key, option.given, words, option.origin)


def _wholes_and_parts(values: Iterable[EngineValue]) -> list[str]:
    """An option given whole and in part: an engine would let one of the two win."""
    values = list(values)
    wholes = {value.dest: value for value in values if not value.is_part}
    return [
        f"{part.key} (from {part.origin}) is a part of what {wholes[part.dest].origin} gives whole; "
        "keep one of the two"
        for part in values
        if part.is_part and part.dest in wholes
    ]
