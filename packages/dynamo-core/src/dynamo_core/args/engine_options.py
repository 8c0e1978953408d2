"""All engine options of a command line, its files and its deployment class."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamo_core.args.engine import Engine, EngineOption, EngineValue, is_secret
from dynamo_core.args.engine_parser import EngineParser
from dynamo_core.args.engine_words import as_words
from dynamo_core.args.foreign import is_of_another_component
from dynamo_core.errors import UserError


@dataclass(frozen=True)
class EngineOptions:
    """The engine options of one command line, its files and its class, lowest precedence first."""

    engine: Engine | None = None
    options: tuple[EngineOption, ...] = ()
    ours: Mapping[str, Any] = field(default_factory=dict)
    """The component's own values by key, for the names that are shared."""

    @property
    def given(self) -> list[EngineOption]:
        """Those that somebody wrote."""
        return [option for option in self.options if option.origin.kind != "derived"]

    def parser(self) -> EngineParser:
        """The engine's parser. Raises `UserError` if the engine is not installed."""
        if self.engine is None:
            raise TypeError("this component has no engine")
        return EngineParser(self.engine, self.ours)

    def read(self, parser: EngineParser | None = None) -> tuple[list[EngineValue], list[str]]:
        """The values that count, and every problem."""
        parser = parser or self.parser()
        problems: list[str] = []
        winners: dict[str, EngineValue] = {}
        for option in self.options:
            try:
                value = parser.read(option)
            except UserError as error:
                problems.append(str(error))
                continue
            if value is None:
                continue
            present = winners.pop(value.key, None)
            if present and _contradict(present, value):
                problems.append(_twice(present, value))
            winners[value.key] = value
        if not parser.engine.merges_parts:
            winners = _without_derived_parts(winners)
            problems += _wholes_and_parts(winners.values())
        for parts in _parts_by_option(winners.values()):
            if problem := parser.problem_with_parts(parts):
                problems.append(problem)
        return list(winners.values()), problems

    def values(self) -> tuple[list[EngineValue], str]:
        """The values that count. Without the engine they are as they were written, and the text says why.

        Raises `UserError` with every problem.
        """
        options = (o for o in self.options if not (o.is_common and is_of_another_component(o.key)))
        written = {value.key: value for value in map(_as_written, options)}
        if self.engine is not None and not self.engine.merges_parts:
            written = _without_derived_parts(written)
        if not self.given or (self.engine is not None and self.engine.read_at_start):
            return list(written.values()), ""  # what is derived is right: no engine need be imported
        try:
            parser = self.parser()
        except UserError as error:
            return list(written.values()), str(error)
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
        return parser.parse([*self.forwarded(parser), *(word for value in values for word in value.words)])

    def forwarded(self, parser: EngineParser) -> list[str]:
        """Our values for the shared names, as words for the engine."""
        return [
            flag if value is True else f"{flag}={value}"
            for flag, key in parser.forwarded.items()
            if (value := self.ours.get(key)) is not None and value is not False
        ]


def _without_derived_parts(values: dict[str, EngineValue]) -> dict[str, EngineValue]:
    """Parts that are derived give way to the whole that somebody gives."""
    wholes = {value.dest for value in values.values() if not value.is_part}
    return {
        key: value
        for key, value in values.items()
        if not (value.is_part and value.origin.kind == "derived" and value.dest in wholes)
    }


def _contradict(first: EngineValue, second: EngineValue) -> bool:
    """Whether a command line says two things; of files and classes the later one wins."""
    return first.origin.kind == second.origin.kind == "flag" and first.value != second.value


def _twice(first: EngineValue, second: EngineValue) -> str:
    if first.origin != second.origin:
        return f"{first.origin} and {second.origin} contradict each other; keep one of the two"
    told = ["(hidden)" if is_secret(value.key) else repr(value.value) for value in (first, second)]
    return f"--{first.key} is given twice, as {told[0]} and as {told[1]}; keep one of the two"


def _as_written(option: EngineOption) -> EngineValue:
    words = option.words or as_words(option.flag, option.value)
    base = option.base.removeprefix("--")
    key = base.replace("_", "-") + option.flag[len(option.base) :]  # engines take both
    dest = key.partition(".")[0]
    return EngineValue(key, dest, option.given, words, option.origin, option.is_common)


def _parts_by_option(values: Iterable[EngineValue]) -> list[list[EngineValue]]:
    found: dict[str, list[EngineValue]] = {}
    for value in values:
        if value.is_part:
            found.setdefault(value.dest, []).append(value)
    return list(found.values())


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
