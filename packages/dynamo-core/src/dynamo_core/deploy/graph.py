"""A serve file: one graph of components.

    Common:                       # goes to every component that declares the setting
      model: Qwen/Qwen3-0.6B
    Frontend:
      component: dynamo_frontend  # what `python -m` runs; a path to a .py file works as well
      http-port: 8000
    Worker:
      component: dynamo_vllm.worker
      python: .venv/bin/python    # optional: the interpreter that has this engine
      replicas: 2
      resources: {gpu: 1}         # of each replica
      env: {HF_HOME: /models}
      max-model-len: 4096         # the engine's own flags, same names

Paths of components and interpreters are relative to the file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dynamo_core.args.config_files import COMMON, RESERVED, check_sections, kind_of, located
from dynamo_core.args.files import NO_VALUE, Entry, read_yaml
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.suggest import nearest
from dynamo_core.errors import UserError

_SWITCHES = {"true": True, "false": False}
_OVERRIDE = re.compile(r"--(?P<section>[A-Za-z][\w-]*)\.(?P<key>[\w.-]+)(=(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Section:
    """One component of the graph and what the user wrote about it."""

    name: str
    component: str
    """A module, or the absolute path of a file."""
    python: str
    values: Mapping[str, Located]
    """Settings and engine flags by file key."""
    replicas: Located | None
    resources: Located | None
    env: Mapping[str, str]


@dataclass(frozen=True)
class Graph:
    """The sections of a serve file and what is common to them."""

    source: str
    common: Mapping[str, Located]
    sections: tuple[Section, ...]


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part `--Section.key value` words from the others; a switch has no value."""
    others: list[str] = []
    overrides: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        match = _OVERRIDE.fullmatch(word)
        (overrides if match else others).append(word)
        if match and match["value"] is None and queue and _is_value(queue[0]):
            overrides.append(queue.pop(0))
    return others, overrides


def _is_value(word: str) -> bool:
    """Neither another flag nor the graph's own file, which may follow a switch."""
    path = Path(word)
    try:
        return not word.startswith("--") and not (path.suffix in (".yaml", ".yml") and path.is_file())
    except (OSError, ValueError):  # too long for a path, or none
        return not word.startswith("--")


def read_graph(path: Path, overrides: Sequence[str] = ()) -> Graph:
    """Read a serve file; `overrides` are words such as `--Worker.replicas=2`, or that in two.

    Raises `UserError` with all the problems found.
    """
    problems: list[str] = []
    read = read_yaml(path)
    if read.get(COMMON, Entry({}, 0, {})).value is None:
        del read[COMMON]
    check_sections(str(path), read)
    tree = {name: located(str(path), entry.children, problems) for name, entry in read.items()}
    problems += _override(tree, overrides)
    common = tree.pop(COMMON, {})
    sections = []
    for name, values in tree.items():
        try:
            sections.append(_section(path, name, values))
        except UserError as error:
            problems.append(str(error))
    if not sections and not problems:
        problems.append(f"{path}: the file names no component")
    if problems:
        raise UserError("\n".join(problems))
    return Graph(str(path), common, tuple(sections))


def _override(tree: dict[str, dict[str, Located]], words: Sequence[str]) -> list[str]:
    """Apply `--Section.key value` words to the tree; returns what is wrong with them."""
    problems = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        match = _OVERRIDE.fullmatch(word)
        if match is None:
            problems.append(f"unexpected argument {word!r}; overrides look like --Worker.replicas=2")
            continue
        section, key, text = match["section"], match["key"], match["value"]
        if text is None:
            text = queue.pop(0) if queue and not queue[0].startswith("--") else "true"
        if section != COMMON and section not in tree:
            problems.append(f"{word}: no section {section!r}; {nearest(section, tree)}".rstrip("; "))
            continue
        origin = Origin("flag", f"--{section}.{key}")
        try:
            structured = key in RESERVED or text.startswith(("[", "{"))
            value = yaml.safe_load(text) if structured else _SWITCHES.get(text, text)
            present = tree.setdefault(section, {}).get(key)
            if present and present.origin == origin and present.value != value:
                problems.append(f"{origin} is given twice with different values; keep one of the two")
            tree[section][key] = Located(value, origin)
        except (yaml.YAMLError, *NO_VALUE, RecursionError):
            problems.append(f"{origin}: the value begins like a list or section, but is no valid YAML")
    return problems


def _section(path: Path, name: str, values: dict[str, Located]) -> Section:
    reserved = {key: values.pop(key) for key in RESERVED if key in values}
    if "component" not in reserved:
        raise UserError(
            f"{path}: section {name} has no component:", fix="name the module, as for `python -m`"
        )
    component = reserved["component"].value
    if not isinstance(component, str) or not component.strip() or "\0" in component:
        raise UserError(
            f"{reserved['component'].origin}: component: {component!r} is no name of a module",
            fix="name the module, as for `python -m`, or the path of a .py file",
        )
    python = reserved.get("python")
    return Section(
        name=name,
        component=str((path.parent / component).resolve()) if component.endswith(".py") else component,
        python=str(_beside(path, python.value)) if python else sys.executable,
        values=values,
        replicas=reserved.get("replicas"),
        resources=reserved.get("resources"),
        env=_environment(reserved.get("env")),
    )


def _beside(path: Path, other: Any) -> Path:
    """A path of the file, absolute but with links kept: an interpreter is found by its link."""
    return (path.parent / str(other)).absolute()


def _environment(located: Located | None) -> dict[str, str]:
    if located is None:
        return {}
    if not isinstance(located.value, dict):
        raise UserError(
            f"{located.origin}: env must be a mapping of names to values, found {kind_of(located.value)}"
        )
    for name, value in located.value.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or value is None or isinstance(value, (dict, list)):
            raise UserError(
                f"{located.origin}: env: {name} with {kind_of(value)} is no name and value of a variable"
            )
    return {str(name): str(value) for name, value in located.value.items()}
