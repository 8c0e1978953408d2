"""What one source gave: a command line, or files."""

from __future__ import annotations

from dataclasses import dataclass, field

from dynamo_core.args.engine import EngineOption
from dynamo_core.args.origins import Located


@dataclass
class Given:
    """Values before they are weighed and validated, and what is wrong with how they were given."""

    settings: dict[str, Located] = field(default_factory=dict)
    """By the name of the setting."""
    engine_options: list[EngineOption] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    incomplete: set[str] = field(default_factory=set)
    """Keys that were given, but whose value could not be made out."""
    is_unread: bool = False
    """Whether a file could not be read at all, so that nobody knows what it gives."""
