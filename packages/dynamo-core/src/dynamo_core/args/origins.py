"""Where a value came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["flag", "environment", "file", "deployment", "derived", "default"]


@dataclass(frozen=True)
class Origin:
    """The source of one value; `where` is what a person would search for."""

    kind: Kind
    where: str = ""
    """The flag, the variable's name, `agg.yaml:14`, the deployment class, or what it is derived from."""
    column: int = field(default=0, compare=False)
    """Of a key in a file, from 1; 0 where there is none."""

    def __str__(self) -> str:
        return self.where or self.kind


@dataclass(frozen=True)
class Located:
    """A value as it was found, before validation, with its origin."""

    value: object
    origin: Origin
