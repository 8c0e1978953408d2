"""The Rust runtime's parsers of tool calls and reasoning."""

from __future__ import annotations

from dynamo_core.args.groups import ParserSettings
from dynamo_core.args.suggest import with_hint
from dynamo_core.errors import UserError


def check_parsers(settings: ParserSettings) -> None:
    """Raise `UserError` for parsers that the Rust runtime does not have. Frontends would find out only when
    the first request comes."""
    from dynamo import _core

    asked = {
        "tool-call-parser": (settings.tool_call_parser, _core.get_tool_parser_names),
        "reasoning-parser": (settings.reasoning_parser, _core.get_reasoning_parser_names),
    }
    problems = []
    for key, (name, names) in asked.items():
        if name is not None and name not in (known := sorted(names())):
            problem = f"{key}: the Rust runtime has no parser {name!r}"
            problems.append(f"{with_hint(problem, name, known)}\n  fix: give one of {', '.join(known)}")
    if problems:
        raise UserError("\n".join(problems))
