"""The one module that reads and writes the process environment.

Components take their settings as arguments. The environment is a source of settings (`read`), and
the only way to tell the Rust runtime and the engines what they can read nowhere else (`publish`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dynamo_core.errors import UserError


@dataclass(frozen=True)
class Variable:
    """One environment variable that a process sets for a library inside it, and why."""

    name: str
    value: str
    why: str
    setting: str = ""
    """The setting that this variable carries. Its value has already been weighed against the
    variable's old one, so that writing it is no conflict."""
    yields: bool = False
    """Whether what is already set stays: for defaults of ours that differ from a library's."""


OF_THE_TERMINAL = {
    "NO_COLOR": "no colours in help",
    "FORCE_COLOR": "colours in help also where no terminal is",
    "TERM": "no colours in help on a dumb terminal",
    "COLUMNS": "width of help",
    "TMPDIR": "where the default discovery folder is",
}
"""What is read besides settings, by us or by Python for us."""


def read(name: str) -> str | None:
    """The value of an environment variable, or None if it is not set."""
    return os.environ.get(name)


def snapshot() -> Mapping[str, str]:
    """A copy of the whole environment, for child processes that inherit it."""
    return dict(os.environ)


def extend(variables: Mapping[str, str]) -> None:
    """Set variables in a copy of this process that stands for a child with them."""
    os.environ.update(variables)


def become(variables: Mapping[str, str]) -> None:
    """Take over the whole environment of another process."""
    os.environ.clear()
    os.environ.update(variables)


def wants_colour(*, is_terminal: bool) -> bool:
    """Whether to colour what is printed: as a terminal allows, `NO_COLOR` or `FORCE_COLOR` say."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (is_terminal and os.environ.get("TERM") != "dumb")


def conflicts(variables: Iterable[Variable]) -> list[str]:
    """One problem for each variable that is set to something else, where no setting of ours has
    weighed the two: the value that somebody chose is never replaced in silence."""
    return [
        f"{variable.name} is set to {present!r}, but this component needs {variable.value!r} "
        f"({variable.why})\n  fix: unset {variable.name}"
        for variable in variables
        if not variable.yields and not variable.setting
        if (present := os.environ.get(variable.name)) not in (None, variable.value)
    ]


def publish(variables: Iterable[Variable]) -> None:
    """Set variables for the libraries in this process; call it before they are loaded.

    Raises `UserError` for conflicts, and then sets nothing.
    """
    variables = list(variables)
    if problems := conflicts(variables):
        raise UserError("\n".join(problems))
    for variable in variables:
        if not (variable.yields and variable.name in os.environ):
            os.environ[variable.name] = variable.value
