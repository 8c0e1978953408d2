"""A component's command line: its own settings, what it asks for besides, and the engine's options."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamo_core.args.engine import EngineOption
from dynamo_core.args.given import Given
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.settings import Declaration, Name
from dynamo_core.args.suggest import with_hint

FORMATS = ("text", "json", "yaml")
OWN_FLAGS = ("-f", "--config", "--dump-config", "--show-config", "-h", "--help")
"""What every component understands besides its settings."""
_VALUE_IS_OPTIONAL = ("--show-config", "-h", "--help")
_NUMBER = re.compile(r"-(\d|\.\d)")


@dataclass
class CommandLine:
    """What was typed, before anything is validated."""

    given: Given = field(default_factory=Given)
    files: list[str] = field(default_factory=list)
    dump: str = ""
    show: str = ""
    help: str | None = None
    """The topic of `--help`; empty for all of it, None if no help was asked for."""


def is_flag(word: str) -> bool:
    """Whether a word is a flag; `-1` and `-.5` are values, and so is a lone dash."""
    return len(word) > 1 and word.startswith("-") and not _NUMBER.match(word)


def read_command_line(
    argv: Sequence[str], declared: Mapping[str, Declaration], *, has_engine: bool
) -> CommandLine:
    """Part a command line into settings, requests and engine options; nothing is abbreviated.

    Every problem is noted and reading goes on.
    """
    return _Reader(declared, has_engine).read(argv)


class _Reader:
    def __init__(self, declared: Mapping[str, Declaration], has_engine: bool) -> None:
        self.has_engine = has_engine
        self.settings: dict[str, tuple[Declaration, Name, bool]] = {}
        """By flag: the setting, the name that was used, and what a switch becomes by it."""
        for declaration in declared.values():
            for name in declaration.names:
                self.settings[name.flag] = (declaration, name, True)
                if declaration.is_switch:
                    self.settings[name.negated_flag] = (declaration, name, False)
        self.found = CommandLine()

    def read(self, argv: Sequence[str]) -> CommandLine:
        words = deque(argv)
        last = ""
        while words:
            word = words.popleft()
            flag, equals, text = word.partition("=")
            given = text if equals else None
            if flag in OWN_FLAGS:
                self._own(flag, given, words)
            elif flag in self.settings:
                self._setting(flag, given, words)
            elif is_flag(word):
                self._foreign(word, words)
            else:
                self.found.given.problems.append(self._unexpected(word, last))
            last = flag
        return self.found

    def _unexpected(self, word: str, last: str) -> str:
        if last in self.settings and self.settings[last][0].is_switch:
            return f"{last} takes no value, found {word!r}"
        if last in _VALUE_IS_OPTIONAL:
            return f"unexpected argument {word!r}; a value of {last} is given as {last}={word}"
        return f"unexpected argument {word!r}"

    def _own(self, flag: str, given: str | None, words: deque[str]) -> None:
        if flag not in _VALUE_IS_OPTIONAL:
            given = self._value(flag, given, words, "FILE")
            if not given:
                if given == "":
                    self.found.given.problems.append(f"{flag} needs a value: {flag} FILE")
                return
        if flag in ("-f", "--config"):
            self.found.files.append(str(given))
        elif flag == "--dump-config":
            self._once(flag, self.found.dump, str(given))
            self.found.dump = str(given)
        elif flag in ("-h", "--help"):
            self.found.help = given or ""
        elif given in (None, *FORMATS):
            self._once(flag, self.found.show, given or "text")
            self.found.show = given or "text"
        else:
            problem = f"--show-config: {given!r} is no format; there are {', '.join(FORMATS)}"
            self.found.given.problems.append(with_hint(problem, str(given), FORMATS))

    def _once(self, flag: str, present: str, given: str) -> None:
        if present and present != given:
            self.found.given.problems.append(
                f"{flag} is given twice, as {present!r} and as {given!r}; keep one of the two"
            )

    def _setting(self, flag: str, given: str | None, words: deque[str]) -> None:
        declared, name, switch = self.settings[flag]
        if name.removed_in:
            now = declared.flag if switch else declared.negated_flag
            self.found.given.warnings.append(declared.renamed(name, flag, now))
        value: Any = switch
        if not declared.is_switch:
            value = self._value(flag, given, words, declared.metavar)
            if value is None:
                self.found.given.incomplete.add(declared.key)
        elif given is not None:
            self.found.given.problems.append(
                f"{flag} takes no value, found {given!r}; give {declared.flag} or {declared.negated_flag}"
            )
        if value is None:
            return
        present = self.found.given.settings.get(declared.name)
        if present is not None and present.value != value:
            self.found.given.problems.append(_twice(declared, present, flag, value))
        self.found.given.settings[declared.name] = Located(value, Origin("flag", flag))

    def _value(self, flag: str, given: str | None, words: deque[str], metavar: str) -> str | None:
        if given is not None:
            return given
        if words and not is_flag(words[0]):
            return words.popleft()
        problem = f"{flag} needs a value: {flag} {metavar}"
        if words:
            problem += f"; found {words[0]!r}, and a value that begins with a dash is given as {flag}=VALUE"
        self.found.given.problems.append(problem)
        return None

    def _foreign(self, word: str, words: deque[str]) -> None:
        """A flag that is not ours, with the values that follow it."""
        flag = word.partition("=")[0]
        values = []
        while "=" not in word and words and not is_flag(words[0]):
            values.append(words.popleft())
        if self.has_engine:
            option = EngineOption(flag, Origin("flag", flag), words=(word, *values))
            self.found.given.engine_options.append(option)
        else:
            self.found.given.problems.append(unknown_flag(flag, self.settings))


def unknown_flag(flag: str, known: Sequence[str] | Mapping[str, object]) -> str:
    """The problem with a flag that nobody knows."""
    candidates = [name for name in known if flag.startswith("--no-") or not name.startswith("--no-")]
    problem = f"unknown flag {flag!r}"
    if len(flag) > 3 and any(name.startswith(flag) for name in candidates):
        problem += ", and flags are not abbreviated"
    return with_hint(problem, flag, candidates)


def _twice(declared: Declaration, present: Located, flag: str, value: Any) -> str:
    if declared.is_switch or present.origin.where != flag:
        return f"{present.origin} and {flag} contradict each other; keep one of the two"
    first, second = ("(hidden)", "(hidden)") if declared.secret else (repr(present.value), repr(value))
    return f"{flag} is given twice, as {first} and as {second}; keep one of the two"
