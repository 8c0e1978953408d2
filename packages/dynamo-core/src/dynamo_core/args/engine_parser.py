"""An engine's own parser, asked about one option at a time."""

from __future__ import annotations

import argparse
import contextlib
import re
import reprlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from dynamo_core.args.engine import Engine, EngineOption, EngineValue, is_secret
from dynamo_core.args.engine_words import (
    is_switch,
    joined,
    key_of,
    metavar_of,
    value_of,
    value_of_part,
    words_for,
)
from dynamo_core.args.suggest import with_hint
from dynamo_core.errors import UserError


class _Refused(Exception):
    """The engine's parser ends the process after a mistake; here it must not."""


_REFUSALS = (_Refused, ValueError, AssertionError, LookupError, RecursionError)
"""What engines' parsers raise for a value; argparse itself passes on all but the first two."""


_KINDS = {"int": "expected a whole number", "float": "expected a number"}


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
        if gone := {*self.forwarded, *engine.kept} - self.flags.keys():
            raise TypeError(
                f"{engine.name} has no {', '.join(sorted(gone))}, which is declared as shared or kept"
            )
        for action in self.parser._actions:
            action.required = False

    @property
    def actions(self) -> list[argparse.Action]:
        """The options that are the user's: neither shared with us nor kept."""
        ours = {self.flags[flag].dest for flag in (*self.forwarded, *self.engine.kept)}
        ours |= {self.flags[f"--{key}"].dest for key in self.engine.shared if f"--{key}" in self.flags}
        return [action for action in self.parser._actions if action.dest not in ours]

    @property
    def known(self) -> list[str]:
        """The flags to suggest, ours among them; `--no-` forms follow from the others."""
        flags = [f for a in self.actions for f in a.option_strings if not f.startswith("--no-")]
        return [*flags, *(f"--{key}" for key in self.ours)]

    def action_of(self, flag: str) -> argparse.Action | None:
        """The option that a flag stands for: `--a_b`, `--a-b.part` and `-O3` are seen as the engine does."""
        return self._named(flag) or self._by_parsing([flag])

    def read(self, option: EngineOption) -> EngineValue | None:
        """What an option means, or None if it says nothing. Raises `UserError` with the problem."""
        action = self._named(option.flag)
        if action is None and "=" not in option.flag:
            action = self._by_parsing(option.words or [option.flag])
        if action is None:
            if option.is_common:
                return None
            raise UserError(self._unknown(option))
        self._check_whose(option, action)
        words = self._words(option, action)
        if not words:
            return None
        key = key_of(action) + option.flag[len(option.base) :] if option.is_part else key_of(action)
        # An engine may take a part together with its other parts only: see `problem_with_parts`.
        value = value_of_part(option) if option.is_part else self._value(words, option, action)
        return EngineValue(key, action.dest, value, words, option.origin)

    def problem_with_parts(self, parts: Sequence[EngineValue]) -> str:
        """What is wrong with the parts of one option together; empty if nothing is."""
        try:
            self.parse([word for part in parts for word in part.words])
        except UserError as error:
            return f"{error} (from {', '.join(str(part.origin) for part in parts)})"
        return ""

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """All of it at once, without the switches that are off by themselves. Raises `UserError`."""
        words = [word for word in words if word in self.flags or not self._negated(word)]
        try:
            return self._parse(words)
        except _REFUSALS as error:
            raise UserError(f"{self.engine.name}: {_in_one_line(str(error))}") from None

    def _parse(self, words: Sequence[str], namespace: argparse.Namespace | None = None) -> argparse.Namespace:
        with contextlib.redirect_stdout(sys.stderr):
            return self.parser.parse_args(list(words), namespace)

    def _named(self, flag: str) -> argparse.Action | None:
        base = flag.partition(".")[0]
        dashed = base[:2] + base[2:].replace("_", "-")
        return self.flags.get(base) or self.flags.get(dashed) or self._negated(base)

    def _negated(self, flag: str) -> argparse.Action | None:
        """The switch that `--no-…` turns off, where the engine has no flag for that: it is off by itself."""
        action = self.flags.get(f"--{flag.removeprefix('--no-')}") if flag.startswith("--no-") else None
        return action if action and is_switch(action) else None

    def _by_parsing(self, words: Sequence[str]) -> argparse.Action | None:
        """A form that only the engine's parser knows, such as `-O3`."""
        unset = object()
        dests = {action.dest: unset for action in self.parser._actions}
        try:
            namespace = self._parse(words, argparse.Namespace(**dests))
        except (*_REFUSALS, TypeError, AttributeError):  # some actions look at what they replace
            return None
        changed = [action for action in self.parser._actions if getattr(namespace, action.dest) is not unset]
        return changed[0] if changed else None

    def _check_whose(self, option: EngineOption, action: argparse.Action) -> None:
        """Raise `UserError` for an option that is not the user's to give."""
        if option.origin.kind == "derived":
            return
        for flag, key in self.forwarded.items():
            if action.dest == self.flags[flag].dest:
                raise UserError(f"{self._whose(option, flag)} is set by --{key}; give that")
        for key, forwarded in self.engine.shared.items():
            if forwarded is None and f"--{key}" in action.option_strings:
                raise UserError(f"{option.origin}: {key} is ours alone; {self.engine.name} does not get it")
        for flag, why in self.engine.kept.items():
            if flag in action.option_strings:
                raise UserError(f"{self._whose(option, flag)} cannot be given: {why}")

    def _whose(self, option: EngineOption, flag: str) -> str:
        """What the user wrote, and the engine's flag behind it where that is another."""
        name = f"{self.engine.name}'s {flag}"
        return name if option.origin.where == flag else f"{option.origin}: {name}"

    def _words(self, option: EngineOption, action: argparse.Action) -> tuple[str, ...]:
        words = option.words
        has_value = len(words) > 1 or "=" in "".join(words)
        if has_value and is_switch(action):
            raise UserError(f"{option.flag} takes no value, found {_told(option)}")
        takes_value = option.is_part or (option.flag in action.option_strings and action.nargs in (None, "+"))
        if words and not has_value and takes_value:
            raise UserError(f"{option.flag} needs a value: {option.flag} {metavar_of(action)}")
        if not words:
            return self._words_of_list(option, action) or words_for(option, action)
        takes_one = action.nargs is None and len(words) == 2
        return joined(*words) if takes_one and not option.is_part else words

    def _words_of_list(self, option: EngineOption, action: argparse.Action) -> tuple[str, ...]:
        """A list for an option of one word: JSON, or joined by commas, whichever the engine reads as it."""
        if not isinstance(option.value, list) or action.nargs is not None or option.is_part:
            return ()
        words = words_for(option, action)
        for form in (words, (words[0], ",".join(str(item) for item in option.value))):
            with contextlib.suppress(*_REFUSALS):
                if getattr(self._parse(form), action.dest) == option.value:
                    return form
        return ()

    def _value(self, words: Sequence[str], option: EngineOption, action: argparse.Action) -> Any:
        if words[0] not in self.flags and self._negated(words[0]):
            return False
        try:
            namespace = self._parse(words)
        except _REFUSALS as error:
            if str(error).startswith(f"unrecognized arguments: {option.flag}"):
                raise UserError(self._unknown(option)) from None
            raise UserError(_problem(str(error), option, action)) from None
        return value_of(getattr(namespace, action.dest, None), option, action)

    def _unknown(self, option: EngineOption) -> str:
        suffix = f", also for {self.engine.name}"
        if option.origin.kind == "flag":
            return with_hint(f"unknown flag {option.flag!r}{suffix}", option.base, self.known)
        keys = [key for flag in self.known if (key := flag.removeprefix("--")) != option.key]
        problem = f"{option.origin}: unknown key {option.key!r}{suffix}"
        return with_hint(problem, option.base.removeprefix("--"), keys)


def _refuse(message: str) -> NoReturn:
    raise _Refused(message)


def _problem(message: str, option: EngineOption, action: argparse.Action) -> str:
    """The engine's complaint about one option, in our form."""
    name, given = key_of(action), option.given
    text = _in_one_line(re.sub(r"^argument [^:]*: ", "", message))
    if match := re.match(r"invalid (\w+) value: ", text):
        text = _KINDS.get(match[1], "the value cannot be read")
    choices = [str(choice) for choice in action.choices or ()]
    if choices and not isinstance(given, (list, dict)) and str(given) not in choices:
        text = f"input should be one of {', '.join(choices)}"
    if is_secret(name):
        text = text.split(": ")[0]
    return with_hint(f"{name}: {text}; found {_told(option)} (from {option.origin})", str(given), choices)


def _told(option: EngineOption) -> str:
    """The value in a message."""
    return "(hidden)" if is_secret(option.key) else reprlib.repr(option.given)


def _in_one_line(message: str) -> str:
    """Without what pydantic adds for programs."""
    kept = re.sub(r"\[type=.*?\]$|^\s*For further information.*$", "", message, flags=re.MULTILINE)
    return " ".join(kept.split())
