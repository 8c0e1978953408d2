"""The nearest match for a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST = 3


def matches(word: str, known: Iterable[str]) -> list[str]:
    """Up to three names that `word` may stand for, the likeliest first.

    Names that begin with the word come before those that resemble it: it may be an abbreviation.
    """
    names = sorted(set(known))
    begun = [name for name in names if len(word.strip("-")) > 2 and name.startswith(word)]
    begun.sort(key=len)
    alike = difflib.get_close_matches(word, names, n=MOST, cutoff=0.6)
    return list(dict.fromkeys([*begun[:MOST], *alike]))[:MOST]


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean --a, --b?`, or an empty string if nothing is close."""
    found = matches(word, known)
    return f"did you mean {', '.join(found)}?" if found else ""


def with_hint(problem: str, word: str, known: Iterable[str]) -> str:
    """A problem with an unknown word, and what may have been meant."""
    hint = nearest(word, known)
    return f"{problem}; {hint}" if hint else problem
