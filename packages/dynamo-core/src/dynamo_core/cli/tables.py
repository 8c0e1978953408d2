"""Tables as commands print them: columns for people and for pipes, never cut off or wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from dynamo_core.printing import visible


def columns(rows: Sequence[Any]) -> str:
    """Rows of one dataclass, aligned below the names of its fields; empty if there are none."""
    if not rows:
        return ""
    names = [field.name for field in fields(rows[0])]
    cells = [[name.upper().replace("_", " ") for name in names]]
    cells += [[visible(str(getattr(row, name)), keep="") for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("   ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def duration(seconds: float | None) -> str:
    """`42s`, `3m`, `5h`, `2d`; a dash for what is not known."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"
