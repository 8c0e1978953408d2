"""`${VAR}` and `${VAR:-default}` in the values of files; `$${VAR}` is the text `${VAR}` itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from dynamo_core import environment
from dynamo_core.errors import UserError

_REFERENCE = re.compile(r"(?P<escape>\$)?\$\{(?P<name>[A-Za-z_]\w*)(:-(?P<default>[^}]*))?\}")


def expand(value: Any) -> tuple[Any, list[str]]:
    """A file's value with references to the environment replaced, and the names that were used.

    Raises `UserError` for a variable that is not set and has no default.
    """
    used: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["escape"]:
            return match[0][1:]
        found = environment.read(match["name"])
        if found is None and match["default"] is None:
            raise UserError(
                f"${{{match['name']}}} is not set",
                fix=f"set it, or give a default: ${{{match['name']}:-value}}",
            )
        used.append(match["name"])
        return match["default"] if found is None else found

    return _in_texts(value, lambda text: _REFERENCE.sub(replace, text)), used


def escape(value: Any) -> Any:
    """The value that `expand` turns into this one."""
    return _in_texts(value, lambda text: _REFERENCE.sub(lambda match: "$" + match[0], text))


def _in_texts(item: Any, change: Callable[[str], str]) -> Any:
    if isinstance(item, str):
        return change(item)
    if isinstance(item, list):
        return [_in_texts(entry, change) for entry in item]
    if isinstance(item, dict):
        return {key: _in_texts(entry, change) for key, entry in item.items()}
    return item
