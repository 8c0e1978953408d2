"""The words for when a process that has ended is started again."""

from __future__ import annotations

from typing import Literal, get_args

When = Literal["never", "on-failure", "always"]
WHENS: tuple[str, ...] = get_args(When)
