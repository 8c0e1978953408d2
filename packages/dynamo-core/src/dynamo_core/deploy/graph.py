"""A serve file: one graph of components.

    Common:                       # goes to every component that declares the setting
      model: Qwen/Qwen3-0.6B
    Frontend:
      component: dynamo_frontend  # what `python -m` runs; a path to a .py file works as well
      http-port: 8000
    Worker:
      component: dynamo_vllm.worker
      python: .venv/bin/python    # optional: the interpreter that has this engine
      name: vllm-large            # optional: the name it is found under, where two have the same component
      replicas: 2
      restart: on-failure         # optional: never, on-failure or always
      start-timeout: 900          # optional: seconds until it must be ready
      resources: {gpu: 1}         # of each replica
      env: {HF_HOME: /models}
      container: {image: …}       # optional: what only targets of `dynamo render` read; see docs/targets.md
      max-model-len: 4096         # the engine's own flags, same names

Paths of components and interpreters are relative to the file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import yaml

from dynamo_core.args.config_files import (
    COMMON,
    CONTAINER,
    DISCOVERY_NAME,
    RESERVED,
    check_sections,
    kind_of,
    located,
)
from dynamo_core.args.files import NO_VALUE, Entry, read_yaml
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.suggest import nearest
from dynamo_core.deploy.container import Keys, keys_of
from dynamo_core.deploy.objects import REFERENCE, Tree, load_graph
from dynamo_core.deploy.restarts import WHENS, When
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
    env_origin: Origin | None = None
    restart: When | None = None
    """When a process that has ended is started again; as for the whole graph if None."""
    start_timeout: float | None = None
    """Seconds until it must be ready; as for the whole graph if None."""
    container: Mapping[str, Located] = field(default_factory=dict)
    """What only a cluster is told, by field of `Container`; that of Common included."""
    problems: tuple[str, ...] = ()
    """What is wrong with these keys; told together with what the component itself refuses."""


@dataclass(frozen=True)
class GraphConfig:
    """A graph with everything that was written about it."""

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


def read_graph(source: Path | str, overrides: Sequence[str] = (), files: Sequence[Path] = ()) -> GraphConfig:
    """Read a serve file, or the object that `module:name` refers to, and what overrides it.

    Keys of `files`, serve files too, replace those before them; `overrides` are words such as
    `--Worker.replicas=2`, or that in two, and count most. Raises `UserError` with all the problems found.
    """
    problems: list[str] = []
    base = Path()
    if isinstance(source, str) and REFERENCE.fullmatch(source) and not Path(source).exists():
        tree = load_graph(source).tree(source)
    else:
        base = Path(source).parent
        tree = _read_file(Path(source), problems)
    for file in files:
        _merge(tree, _read_file(file, problems))
    problems += _override(tree, overrides)
    return configure(str(source), base, tree, problems)


def configure(source: str, base: Path, tree: Tree, problems: list[str]) -> GraphConfig:
    """A tree of sections as a graph; paths in it are relative to `base`. Raises `UserError`."""
    common = tree.pop(COMMON, {})
    container = _container(common, problems, COMMON)
    sections = []
    for name, values in tree.items():
        try:
            sections.append(_section(source, base, name, values, container))
        except UserError as error:
            problems.append(str(error))
    if not sections and not problems:
        problems.append(f"{source}: the file names no component")
    if problems:
        raise UserError("\n".join([*problems, *(p for section in sections for p in section.problems)]))
    return GraphConfig(source, common, tuple(sections))


def _read_file(path: Path, problems: list[str]) -> Tree:
    read = read_yaml(path)
    if read.get(COMMON, Entry({}, 0, {})).value is None:
        read.pop(COMMON, None)
    check_sections(str(path), read)
    tree = {name: located(str(path), entry.children, problems) for name, entry in read.items()}
    for values in tree.values():
        for key in ("component", "python"):  # another file's paths are relative to that file
            if key in values and _is_relative_path(key, values[key].value):
                absolute = (path.parent / str(values[key].value)).absolute()
                values[key] = Located(str(absolute), values[key].origin)
    return tree


def _is_relative_path(key: str, value: object) -> bool:
    return isinstance(value, str) and (key == "python" or value.endswith(".py")) and "\0" not in value


def _merge(tree: Tree, other: Tree) -> None:
    for name, values in other.items():
        tree.setdefault(name, {}).update(values)


def _override(tree: Tree, words: Sequence[str]) -> list[str]:
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
            structured = key.partition(".")[0] in RESERVED or text.startswith(("[", "{"))
            value = yaml.safe_load(text) if structured else _SWITCHES.get(text, text)
            present = tree.setdefault(section, {}).get(key)
            if present and present.origin == origin and present.value != value:
                problems.append(f"{origin} is given twice with different values; keep one of the two")
            tree[section][key] = Located(value, origin)
        except (yaml.YAMLError, *NO_VALUE, RecursionError):
            problems.append(f"{origin}: the value begins like a list or section, but is no valid YAML")
    return problems


def _container(values: dict[str, Located], problems: list[str], where: str) -> dict[str, Located]:
    """Take `container:` and `container.KEY` out of the values."""
    found: dict[str, Located] = {}
    if CONTAINER in values:
        found = keys_of(values.pop(CONTAINER), problems, where)
    prefix = f"{CONTAINER}."
    for key in [key for key in values if key.startswith(prefix)]:
        found[key.removeprefix(prefix).replace("-", "_")] = values.pop(key)
    return found


def _section(source: str, base: Path, name: str, values: dict[str, Located], common: Keys) -> Section:
    problems: list[str] = []
    container = {**common, **_container(values, problems, name)}
    reserved = {key: values.pop(key) for key in RESERVED if key in values}
    if "component" not in reserved:
        where = next((located.origin for located in values.values()), source)
        raise UserError(
            f"{source if source in str(where) else where}: section {name} has no component:",
            fix="name the module, as for `python -m`",
        )
    component = reserved["component"].value
    if not isinstance(component, str) or not component.strip() or "\0" in component:
        raise UserError(
            f"{reserved['component'].origin}: component: {component!r} is no name of a module",
            fix="name the module, as for `python -m`, or the path of a .py file",
        )
    python = reserved.get("python")
    env = reserved.get("env")
    if "name" in reserved:
        values[DISCOVERY_NAME] = reserved["name"]
    return Section(
        name=name,
        component=str((base / component).resolve()) if component.endswith(".py") else component,
        python=str((base / str(python.value)).absolute()) if python else sys.executable,
        values=values,
        replicas=reserved.get("replicas"),
        resources=reserved.get("resources"),
        restart=_restart(reserved.get("restart"), problems),
        start_timeout=_start_timeout(reserved.get("start-timeout"), problems),
        env=_environment(env, problems),
        env_origin=env.origin if env else None,
        container=container,
        problems=tuple(problems),
    )


def _restart(located: Located | None, problems: list[str]) -> When | None:
    if located is None:
        return None
    if located.value not in WHENS:
        problems.append(
            f"{located.origin}: restart must be one of {', '.join(WHENS)}, found {located.value!r}"
        )
        return None
    return cast(When, located.value)


def _start_timeout(located: Located | None, problems: list[str]) -> float | None:
    if located is None:
        return None
    try:
        value = float(str(located.value))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        problems.append(
            f"{located.origin}: start-timeout must be a number of seconds above 0, found {located.value!r}"
        )
    return value


def _environment(located: Located | None, problems: list[str]) -> dict[str, str]:
    if located is None:
        return {}
    if not isinstance(located.value, dict):
        problems.append(
            f"{located.origin}: env must be a mapping of names to values, found {kind_of(located.value)}"
        )
        return {}
    found = {}
    for name, value in located.value.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or value is None or isinstance(value, (dict, list)):
            problems.append(
                f"{located.origin}: env: {name} with {kind_of(value)} is no name and value of a variable"
            )
        else:
            found[str(name)] = str(value)
    return found
