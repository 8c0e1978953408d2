"""`${VAR}` and `${VAR:-default}` in the values of files."""

from __future__ import annotations

import re
from typing import Any

from dynamo_core import environment
from dynamo_core.errors import UserError

_REFERENCE = re.compile(r"\$\{(?P<name>[A-Za-z_]\w*)(:-(?P<default>[^}]*))?\}")


def expand(value: Any) -> tuple[Any, list[str]]:
    """A file's value with references to the environment replaced, and the names that were used.

    Raises `UserError` for a variable that is not set and has no default.
    """
    used: list[str] = []

    def replace(match: re.Match[str]) -> str:
        found = environment.read(match["name"])
        if found is None and match["default"] is None:
            raise UserError(
                f"${{{match['name']}}} is not set",
                fix=f"set it, or give a default: ${{{match['name']}:-value}}",
            )
        used.append(match["name"])
        return match["default"] if found is None else found

    def walk(item: Any) -> Any:
        if isinstance(item, str):
            return _REFERENCE.sub(replace, item)
        if isinstance(item, list):
            return [walk(entry) for entry in item]
        if isinstance(item, dict):
            return {key: walk(entry) for key, entry in item.items()}
        return item

    return walk(value), used
