"""The nearest match for a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean --a, --b?`, or an empty string if nothing is close."""
    matches = difflib.get_close_matches(word, sorted(known), n=3, cutoff=0.6)
    return f"did you mean {', '.join(matches)}?" if matches else ""
