"""The files of `--config`: flat keys, or the section of a serve file that is this component's."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dynamo_core.args.engine import EngineOption
from dynamo_core.args.expand import expand
from dynamo_core.args.files import Entry, read_file
from dynamo_core.args.given import Given
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.settings import Declaration, Name
from dynamo_core.args.suggest import with_hint
from dynamo_core.errors import UserError

COMMON = "Common"
CONTAINER = "container"
"""A key of a section or of Common that only targets of `dynamo render` read."""
RESERVED = (
    "component",
    "name",
    "python",
    "replicas",
    "resources",
    "restart",
    "start-timeout",
    "env",
    CONTAINER,
)
"""Keys of a section that the commands for whole graphs read; the component itself reads the name only."""
DISCOVERY_NAME = "component"
"""The setting that `name` of a section gives, as `component` is the module there."""


def read_config_files(
    paths: Sequence[str], declared: Mapping[str, Declaration], *, module: str, has_engine: bool
) -> Given:
    """Read files in order; a later one wins.

    In a serve file, the section whose `component` is `module` counts. `Common` counts for what the
    component or its engine knows, and less than its own keys.
    """
    values = Given()
    for path in paths:
        try:
            common, own = _sections(path, module)
        except UserError as error:
            values.problems.append(str(error))
            values.is_unread = True
        else:
            located_common = located(path, common, values.problems, values.incomplete)
            located_own = located(path, own, values.problems, values.incomplete)
            take(values, located_common, located_own, declared, has_engine=has_engine)
    return values


def take(
    values: Given,
    common: Mapping[str, Located],
    own: Mapping[str, Located],
    declared: Mapping[str, Declaration],
    *,
    has_engine: bool,
) -> None:
    """Add the keys of one file to `values`, the common ones first."""
    known = {name.key: (setting, name) for setting in declared.values() for name in setting.names}
    for keys, is_common in ((common, True), (own, False)):
        for key, found in keys.items():
            if is_common and key in own:
                continue
            if key in known:
                _take_setting(values, *known[key], found, keys)
            elif has_engine:
                flag = key if key.startswith("-") else f"--{key}"
                option = EngineOption(flag, found.origin, value=found.value, is_common=is_common)
                values.engine_options.append(option)
            elif not is_common:
                values.problems.append(
                    with_hint(f"{found.origin}: unknown key {key!r}", key, [*known, COMMON])
                )


def _take_setting(
    values: Given, setting: Declaration, name: Name, found: Located, own: Mapping[str, Located]
) -> None:
    if name.removed_in:
        values.warnings.append(setting.renamed(name, f"{found.origin}: {name.key}", setting.key))
        if setting.key in own:
            values.problems.append(
                f"{found.origin}: {name.key} is the former name of {setting.key}, which "
                f"{own[setting.key].origin} gives as well; keep one of the two"
            )
    values.settings[setting.name] = found


def _sections(path: str, module: str) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The `Common` keys of a file and the component's own. Raises `UserError`."""
    tree = read_file(Path(path))
    entry = tree.pop(COMMON, Entry({}, 0, {}))
    if entry.value is not None and not isinstance(entry.value, Mapping):
        raise UserError(
            f"{path}:{entry.line}: {COMMON} must be a section of keys, found {kind_of(entry.value)}"
        )
    common = {key: value for key, value in entry.children.items() if key != CONTAINER}
    return common, _own_section(path, tree, module)


def located(
    path: str, entries: Mapping[str, Entry], problems: list[str], incomplete: set[str] | None = None
) -> dict[str, Located]:
    """The keys of one section with their lines, references to the environment replaced.

    Keys whose references lead nowhere are problems, and added to `incomplete`.
    """
    found = {}
    for key, entry in entries.items():
        where = f"{path}:{entry.line}"
        try:
            value, used = expand(entry.value)
        except UserError as error:
            problems.append(f"{where}: {key}: {error}")
            if incomplete is not None:
                incomplete.add(key)
            continue
        if value is None:
            continue  # a key without a value says nothing
        if used:
            where += f" with ${{{'}, ${'.join(used)}}}"
        found[key] = Located(value, Origin("file", where, entry.column))
    return found


def _own_section(path: str, tree: Mapping[str, Entry], module: str) -> dict[str, Entry]:
    sections = {name: entry.children for name, entry in tree.items() if "component" in entry.children}
    if not sections:
        return dict(tree)
    check_sections(path, tree)
    for name in tree.keys() - sections.keys():
        raise UserError(
            f"{path}:{tree[name].line}: section {name} has no component:",
            fix="name the module, as for `python -m`",
        )
    mine = [
        name for name, keys in sections.items() if _is_of(module, expand(keys["component"].value)[0], path)
    ]
    if len(mine) != 1:
        which = f"{len(mine)} sections, {' and '.join(mine)}," if mine else "no section"
        raise UserError(
            f"{path}: it has {which} for {module}",
            fix="give a file with the keys of one component, or start the graph with dynamo serve",
        )
    section = sections[mine[0]]
    named = {DISCOVERY_NAME: section["name"]} if "name" in section else {}
    return {key: entry for key, entry in section.items() if key not in RESERVED} | named


def check_sections(path: str, tree: Mapping[str, Entry]) -> None:
    """Raise `UserError` for a key of a serve file that is no section."""
    for name, entry in tree.items():
        if not isinstance(entry.value, dict):
            raise UserError(
                f"{path}:{entry.line}: {name} must be a section with keys of its own, "
                f"found {kind_of(entry.value)}",
                fix=f"write settings for all components under {COMMON}:",
            )


def kind_of(value: object) -> str:
    """What a value is, where the value itself may be a secret."""
    kinds = {dict: "a section", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return kinds.get(type(value), "a number" if isinstance(value, (int, float)) else "a value")


def _is_of(module: str, component: object, file: str) -> bool:
    """`dynamo_frontend` runs `dynamo_frontend.frontend`; a path is relative to the file that names it."""
    name = str(component)
    if name.endswith(".py"):
        loaded = sys.modules.get(module) or sys.modules["__main__"]
        mine = getattr(loaded, "__file__", None)
        return mine is not None and (Path(file).parent / name).resolve() == Path(mine).resolve()
    return module == name or module.startswith(f"{name}.")
