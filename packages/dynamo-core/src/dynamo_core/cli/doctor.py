"""`dynamo doctor`: what would go wrong later on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dynamo_core import environment
from dynamo_core.cli.meeting import DISCOVERY, PLANES, add_flags, read_settings
from dynamo_core.cli.parser import CommandParser
from dynamo_core.doctor import Finding, diagnose
from dynamo_core.printing import emit, visible

COLOURS = {"ok": "32", "warning": "33", "error": "31"}


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo doctor",
        "Check this machine and what is installed for what would go wrong later. Exit code 1 if there is an "
        "error; warnings are none.",
    )
    add_flags(parser, DISCOVERY + PLANES)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    options = vars(build_parser().parse_args(argv))
    findings: list[Finding] = []
    is_coloured = environment.wants_colour(is_terminal=sys.stdout.isatty())
    for finding in examine(options):
        findings.append(finding)
        if not options["json"]:
            emit(as_text(finding, is_coloured=is_coloured))
    counts = {level: sum(finding.level == level for finding in findings) for level in COLOURS}
    if options["json"]:
        emit(json.dumps({"counts": counts, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        emit(summary(findings))
    return 1 if counts["error"] else 0


def examine(options: Mapping[str, Any]) -> Iterator[Finding]:
    """All findings. Settings that a component would refuse are one, and the defaults are looked at."""
    settings, problems = read_settings(options)
    yield from (Finding("error", "settings", problem) for problem in problems)
    yield from diagnose(settings)


def as_text(finding: Finding, *, is_coloured: bool) -> str:
    """One line, and one for the fix."""
    level = f"{finding.level:<8}"
    if is_coloured:
        level = f"\x1b[{COLOURS[finding.level]}m{level}\x1b[0m"
    text = visible(f"{finding.subject:<20} {finding.text}", keep="")
    return f"{level} {text}" + (f"\n{'':9}fix: {visible(finding.fix, keep='')}" if finding.fix else "")


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    counts = [(level, sum(finding.level == level for finding in findings)) for level in ("error", "warning")]
    told = ", ".join(f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts if count)
    return f"\n{told or 'Nothing found.'}"
