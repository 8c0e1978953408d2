"""Every environment variable that components read or set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dynamo_core.args.parser import DynamoFlexibleArgumentParser
from dynamo_core.environment import Variable


@dataclass(frozen=True)
class UsedVariable:
    """One variable and what it is to whom."""

    name: str
    why: str
    is_read: bool
    is_set: bool
    components: tuple[str, ...]
    """By the names of their console scripts."""


def variables_of(parsers: Mapping[str, DynamoFlexibleArgumentParser[Any]]) -> list[UsedVariable]:
    """The variables of components, whose parsers are given by their names; sorted."""
    found: dict[str, UsedVariable] = {}
    for component, parser in parsers.items():
        read = {n.env: declared.help for declared in parser.declared.values() for n in declared.names}
        written = {variable.name: variable.why for variable in _written(parser)}
        for name in {**read, **written}:
            present = found.get(name)
            others = present.components if present else ()
            found[name] = UsedVariable(
                name=name,
                why=read.get(name) or written[name],
                is_read=name in read or bool(present and present.is_read),
                is_set=name in written or bool(present and present.is_set),
                components=(*others, component),
            )
    return [found[name] for name in sorted(found)]


def _written(parser: DynamoFlexibleArgumentParser[Any]) -> Iterator[Variable]:
    """What is set with the defaults, and with each choice or some text for each setting, as some depends
    on them."""
    defaults = {name: parser.default_of(declared) for name, declared in parser.declared.items()}
    variants = [(n, choice) for n, declared in parser.declared.items() for choice in declared.choices]
    variants += [(n, d.metavar) for n, d in parser.declared.items() if defaults[n] is None]
    for change in [{}, *({name: choice} for name, choice in variants)]:
        yield from parser.variables(parser.settings.model_construct(**{**defaults, **change}))
