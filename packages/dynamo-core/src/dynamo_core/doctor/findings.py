"""What a check finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from dynamo_core.args.groups import RuntimeSettings
from dynamo_core.errors import UserError

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the report. An error keeps components from running, a warning does not yet."""

    level: Level
    subject: str
    text: str
    fix: str = ""


Check = Callable[[RuntimeSettings], Iterable[Finding]]
"""Looks at one thing for the components that these settings would start. May raise anything."""


def refused(level: Level, subject: str, error: UserError) -> Finding:
    """What a component would refuse to start with, and the same next step."""
    text, _, fix = str(error).partition("\n  fix: ")
    return Finding(level, subject, text, fix)
