"""The files of `--config`: flat keys, or the section of a serve file that is this component's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynamo_core.args.expand import expand
from dynamo_core.args.files import Entry, read_file
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.suggest import nearest
from dynamo_core.errors import UserError

COMMON = "Common"
RESERVED = ("component", "python", "replicas", "resources", "env")
"""Keys of a section that `dynamo serve` reads; the component itself does not."""


@dataclass
class FileValues:
    """What files gave: settings by key, the rest as flags for the engine, and what is wrong with them."""

    settings: dict[str, Located] = field(default_factory=dict)
    engine_args: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_config_files(paths: Sequence[str], known: Sequence[str], *, module: str, engine: str) -> FileValues:
    """Read files in order; a later one wins.

    `known` are the component's keys. In a serve file, the section whose `component` is `module`
    counts. `Common` counts for what the component knows, and less than its own keys.
    """
    values = FileValues()
    for path in paths:
        try:
            tree = read_file(Path(path))
            common = _common(path, tree)
            own = _own_section(path, tree, module)
        except UserError as error:
            values.problems.append(str(error))
            continue
        shared = {key: entry for key, entry in common.items() if key in known and key not in own}
        for key, entry in [*shared.items(), *own.items()]:
            _take(values, key, entry, path, known, engine)
    return values


def _common(path: str, tree: dict[str, Entry]) -> dict[str, Entry]:
    entry = tree.pop(COMMON, Entry({}, 0, {}))
    if not isinstance(entry.value, Mapping):
        raise UserError(f"{path}:{entry.line}: {COMMON} must be a section of keys, found {entry.value!r}")
    return entry.children


def _own_section(path: str, tree: Mapping[str, Entry], module: str) -> dict[str, Entry]:
    sections = {name: entry.children for name, entry in tree.items() if "component" in entry.children}
    if not sections:
        return dict(tree)
    mine = [name for name, keys in sections.items() if _is_of(module, str(keys["component"].value))]
    if len(mine) != 1:
        which = f"{len(mine)} sections, {' and '.join(mine)}," if mine else "no section"
        raise UserError(
            f"{path}: it has {which} for {module}",
            fix="give a file with the keys of one component, or start the graph with dynamo serve",
        )
    return {key: entry for key, entry in sections[mine[0]].items() if key not in RESERVED}


def _is_of(module: str, component: str) -> bool:
    """`dynamo_frontend` runs `dynamo_frontend.frontend`; a path is compared by its name."""
    if component.endswith(".py"):
        return Path(component).stem == module.rpartition(".")[2]
    return module == component or module.startswith(f"{component}.")


def _take(values: FileValues, key: str, entry: Entry, path: str, known: Sequence[str], engine: str) -> None:
    where = f"{path}:{entry.line}"
    try:
        value, used = expand(entry.value)
    except UserError as error:
        values.problems.append(f"{where}: {key}: {error}")
        return
    if used:
        where += f" with ${{{'}, ${'.join(used)}}}"
    if key in known:
        values.settings[key] = Located(value, Origin("file", where))
    elif engine:
        values.engine_args += as_flags(key, value)
    else:
        values.problems.append(f"{where}: unknown key {key!r}; {nearest(key, known)}".rstrip("; "))


def as_flags(key: str, value: Any) -> list[str]:
    """One file key as command-line words: switches, repeated values and JSON as parsers expect them."""
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{key}" if value else f"--no-{key}"]
    if isinstance(value, Mapping):
        return [f"--{key}", json.dumps(value)]
    if isinstance(value, (list, tuple)):
        return [f"--{key}", *(_word(item) for item in value)]
    text = str(value)
    return [f"--{key}={text}"] if text.startswith("-") else [f"--{key}", text]


def _word(item: Any) -> str:
    return json.dumps(item) if isinstance(item, (Mapping, list)) else str(item)
