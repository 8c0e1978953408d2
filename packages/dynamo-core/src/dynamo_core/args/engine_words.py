"""Values of files as the words that an engine's option expects, and back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from dynamo_core.args.engine import EngineOption
from dynamo_core.errors import UserError


def key_of(action: argparse.Action) -> str:
    """An option's first long name, without dashes."""
    long = [flag for flag in action.option_strings if flag.startswith("--")]
    return (long or action.option_strings)[0].removeprefix("--")


def metavar_of(action: argparse.Action) -> str:
    """What stands for an option's value."""
    if action.choices:
        return "|".join(str(choice) for choice in action.choices)
    name = action.metavar if isinstance(action.metavar, str) else key_of(action).split("-")[-1].upper()
    return f"{name} …" if action.nargs in ("+", "*") else name


def is_switch(action: argparse.Action) -> bool:
    """Whether an option takes no value."""
    return action.nargs == 0


def words_for(option: EngineOption, action: argparse.Action) -> tuple[str, ...]:
    """The value of a file as words; none for a value that says nothing. Raises `UserError`."""
    is_known = option.base in action.option_strings or (is_switch(action) and option.base.startswith("--no-"))
    base = option.base if is_known else f"--{key_of(action)}"
    flag = base + option.flag[len(option.base) :]
    value = option.value
    if value is None:
        return ()
    if option.is_part:
        return joined(flag, _word_of_part(value))
    if is_switch(action):
        return _switch(option, flag)
    if isinstance(value, bool) and _takes_text(action):
        raise UserError(
            f"{option.key}: expected text; found {value!r} (from {option.origin}); "
            "in a file, put text that looks like something else in quotes"
        )
    if isinstance(value, bool) and action.nargs == "?":
        return (flag,) if value else ()
    if isinstance(value, (list, tuple)) and action.nargs in ("+", "*"):
        return (flag, *(word_of(item) for item in value))
    return joined(flag, word_of(value))


def joined(flag: str, text: str) -> tuple[str, ...]:
    """A flag and its value; in one word where the value would be taken for a flag."""
    return (f"{flag}={text}",) if text.startswith("-") else (flag, text)


def as_words(flag: str, value: Any) -> tuple[str, ...]:
    """A value of a file as words, where there is no parser to ask how it wants them."""
    if "." in flag:
        return () if value is None else joined(flag, _word_of_part(value))
    if isinstance(value, bool):
        return (flag if value else f"--no-{flag.removeprefix('--')}",)
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (list, dict)) for item in value):
        return (flag, *(str(item) for item in value))
    return () if value is None else joined(flag, word_of(value))


def word_of(value: Any) -> str:
    """One value as one word: JSON for what is no text or number."""
    is_json = value is None or isinstance(value, (Mapping, list, tuple, bool))
    return json.dumps(value, default=str) if is_json else str(value)


def value_of_part(option: EngineOption) -> Any:
    """The value of a part as it would stand in a file: engines read its words as JSON if they can."""
    return _json(option.given) if option.words and isinstance(option.given, str) else option.given


def value_of(parsed: Any, option: EngineOption, action: argparse.Action) -> Any:
    """The parsed value where it is plain data, else the value as it was written."""
    if isinstance(parsed, (bool, int, float)):
        return parsed
    is_list = action.nargs in ("+", "*") and isinstance(parsed, (list, tuple))
    if is_list and all(isinstance(item, (int, float)) for item in parsed):
        return list(parsed)
    return option.given  # text may have been unquoted, or read as something else


def _switch(option: EngineOption, flag: str) -> tuple[str, ...]:
    value = {"true": True, "false": False}.get(str(option.value).lower())
    if value is None:
        raise UserError(
            f"{option.key}: expected true or false; found {option.value!r} (from {option.origin})"
        )
    if value:
        return (flag,)
    name = flag.removeprefix("--")
    return (f"--{name.removeprefix('no-')}" if name.startswith("no-") else f"--no-{name}",)


def _takes_text(action: argparse.Action) -> bool:
    """Whether YAML has changed what was meant: `no` and `off` are false there."""
    return action.type in (None, str) and not action.choices and action.nargs is None


def _word_of_part(value: Any) -> str:
    """Text that would be read as JSON is quoted; other text is as on a command line, `4k` among it."""
    return json.dumps(value) if isinstance(value, str) and _json(value) is not value else word_of(value)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
