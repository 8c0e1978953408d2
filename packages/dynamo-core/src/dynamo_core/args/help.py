"""`--help`, `--help=TOPIC` and `--help=SETTING`, wrapped and coloured for the terminal.

Everything comes from the declarations. Only `--help=engine`, and a name that is none of ours,
import the engine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dynamo_core import environment
from dynamo_core.args.engine_parser import EngineParser
from dynamo_core.args.engine_words import is_switch, metavar_of
from dynamo_core.args.settings import Declaration
from dynamo_core.args.suggest import with_hint
from dynamo_core.errors import UserError

if TYPE_CHECKING:
    from dynamo_core.args.parser import DynamoFlexibleArgumentParser

ENGINE = "engine"
WIDEST = 100
INDENT = " " * 6
OWN = (
    (
        "-f, --config FILE",
        "YAML or TOML file with the same names as the flags; of several, a later one wins.",
    ),
    ("--show-config[=text|json|yaml]", "Print every value with its source and exit."),
    ("--dump-config FILE", "Write a file that gives the same settings, and exit; - prints it."),
    ("-h, --help[=TOPIC|SETTING]", "Print help, all of it or that of a topic or a setting, and exit."),
)


def help_for(parser: DynamoFlexibleArgumentParser[Any], topic: str) -> str:
    """The text of `--help=topic`, or of `--help` if it is empty. Raises `UserError`."""
    page = _Page()
    if not topic:
        _everything(page, parser)
    elif topic == ENGINE and parser.engine:
        _engine(page, parser, parser.engine.name)
    elif topic.lower() in (topics := topics_of(parser)):
        _group(page, *topics[topic.lower()], parser)
    elif found := [d for d in parser.declared.values() if topic.removeprefix("--") in (d.key, d.name, d.env)]:
        _setting(page, found[0], parser)
    else:
        _engine_option(page, parser, topic)
    return page.text()


def topics_of(parser: DynamoFlexibleArgumentParser[Any]) -> dict[str, tuple[str, list[Declaration]]]:
    """The groups of settings by the first word of their title."""
    groups: dict[str, tuple[str, list[Declaration]]] = {}
    for declared in parser.declared.values():
        word = declared.group.split()[0].strip(":").lower()
        groups.setdefault(word, (declared.group, []))[1].append(declared)
    return groups


class _Page:
    """Lines that are wrapped to the terminal, with colours if it has them."""

    def __init__(self) -> None:
        self.width = min(shutil.get_terminal_size().columns, WIDEST)
        self.has_colour = environment.wants_colour(is_terminal=sys.stdout.isatty())
        self.lines: list[str] = []

    def text(self) -> str:
        return "\n".join(self.lines).strip("\n")

    def title(self, text: str) -> None:
        self.lines += ["", self._coloured(text, "1;34")]

    def entry(self, flag: str, help: str, facts: str) -> None:
        self.lines.append("  " + self._coloured(flag, "1;32"))
        self.paragraph(help, INDENT)
        for line in self._wrapped(facts, INDENT):
            self.lines.append(INDENT + self._coloured(line.removeprefix(INDENT), "2"))

    def paragraph(self, text: str, indent: str = "") -> None:
        self.lines += self._wrapped(text, indent)

    def _wrapped(self, text: str, indent: str) -> list[str]:
        width = max(self.width, len(indent) + 20)
        return textwrap.wrap(
            " ".join(text.split()),
            width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
        )

    def _coloured(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.has_colour else text


def _everything(page: _Page, parser: DynamoFlexibleArgumentParser[Any]) -> None:
    engine = f" [{parser.engine.name} FLAGS]" if parser.engine else ""
    page.paragraph(f"usage: {parser.prog} [-f FILE] [FLAGS]{engine}")
    page.lines.append("")
    page.paragraph(parser.description)
    for title, settings in topics_of(parser).values():
        _group(page, title, settings, parser)
    page.title("What every component understands")
    for flag, text in OWN:
        page.entry(flag, text, "")
    page.lines.append("")
    topics = [*topics_of(parser), *([ENGINE] if parser.engine else [])]
    page.paragraph(f"Topics: {', '.join(topics)}. Any setting is a topic as well: --help=log-level.")
    if parser.engine:
        page.paragraph(
            f"Any other flag is {parser.engine.name}'s; --help=engine lists them, --help=NAME tells of one."
        )


def _group(
    page: _Page, title: str, settings: Iterable[Declaration], parser: DynamoFlexibleArgumentParser[Any]
) -> None:
    page.title(title)
    for declared in settings:
        page.entry(_usage(declared), declared.help, _facts(declared, parser))


def _usage(declared: Declaration) -> str:
    if declared.is_switch:
        return f"{declared.flag}, {declared.negated_flag}"
    return f"{declared.flag} {declared.metavar}"


def _facts(declared: Declaration, parser: DynamoFlexibleArgumentParser[Any]) -> str:
    default = parser.default_of(declared)
    is_required = declared.required and default is None
    known = "no default" if default is None else f"default {plain(default)}"
    facts = ["required" if is_required else known, declared.env]
    return f"[{'; '.join(facts)}]"


def _setting(page: _Page, declared: Declaration, parser: DynamoFlexibleArgumentParser[Any]) -> None:
    default = parser.default_of(declared)
    page.entry(_usage(declared), declared.help, "")
    page.lines.append("")
    facts = [
        ("topic", declared.group),
        (
            "default",
            "none" + (": it is required" if declared.required else "") if default is None else plain(default),
        ),
        ("allowed", allowed(declared)),
        ("flag", _usage(declared)),
        ("variable", declared.env),
        ("file key", f"{declared.key}: {'…' if default is None else plain(default)}"),
        *(("deprecated", f"{n.flag} and {n.env}, until {n.removed_in}") for n in declared.former),
        *([("secret", "masked wherever it is shown")] if declared.secret else []),
    ]
    for name, text in facts:
        page.paragraph(f"{name}: {text}", "  ")


def allowed(declared: Declaration) -> str:
    """What a setting may be, in words."""
    if declared.choices:
        return ", ".join(declared.choices)
    names = {
        "str": "text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "Path": "a path",
    }
    kinds = [names.get(kind, kind) for kind in declared.type_names]
    return ", ".join([*(kinds or ["text"]), *declared.limits])


def plain(value: Any) -> str:
    """A default as a person reads it."""
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _engine(page: _Page, parser: DynamoFlexibleArgumentParser[Any], name: str) -> None:
    engine = _engine_parser(parser)
    users = engine.actions
    page.paragraph(
        f"{name}'s own flags, as {parser.prog} takes them: on the command line, or as keys of a file."
    )
    for group in engine.parser._action_groups:
        actions = [action for action in group._group_actions if action in users]
        if actions:
            page.title(str(group.title))
        for action in actions:
            _action(page, engine.parser, action)


def _engine_option(page: _Page, parser: DynamoFlexibleArgumentParser[Any], topic: str) -> None:
    known = [*topics_of(parser), *(d.key for d in parser.declared.values())]
    problem = f"--help: there is no topic or setting {topic!r}"
    if parser.engine is None:
        raise UserError(with_hint(problem, topic, known))
    engine = _engine_parser(parser)
    action = engine.action_of("--" + topic.removeprefix("--"))
    if action is None:
        known += [flag.removeprefix("--") for flag in engine.known]
        raise UserError(with_hint(f"{problem}, also of {parser.engine.name}", topic, known))
    _action(page, engine.parser, action)


def _engine_parser(parser: DynamoFlexibleArgumentParser[Any]) -> EngineParser:
    if parser.engine is None:
        raise TypeError("a component without an engine has no engine flags")
    return EngineParser(parser.engine, parser.keys)


def _action(page: _Page, parser: argparse.ArgumentParser, action: argparse.Action) -> None:
    value = "" if is_switch(action) else f" {metavar_of(action)}"
    default = "" if action.default in (None, argparse.SUPPRESS) else f"[default {plain(action.default)}]"
    page.entry(", ".join(action.option_strings) + value, action_help(parser, action), default)


def action_help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """An option's help as the engine wrote it."""
    if action.help in (None, argparse.SUPPRESS):
        return ""
    try:
        return argparse.HelpFormatter(parser.prog)._expand_help(action)
    except (ValueError, TypeError, KeyError):
        return str(action.help)
