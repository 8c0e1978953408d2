"""What a component says of itself, asked in the interpreter that runs it.

    python -m dynamo_core.deploy.describe dynamo_frontend

prints one JSON object. A component answers through its module's `parser()`; importing the module
imports no engine. A module without `parser` is started as it is, with the flags it is given.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamo_core.args.origins import Located, Origin
from dynamo_core.errors import UserError

TIMEOUT = 60.0
"""Seconds; an import from a cold disk can take many."""


@dataclass(frozen=True)
class Description:
    """A component as a planner sees it."""

    settings: Mapping[str, Mapping[str, Any]]
    """By file key: default, environment variable, and whether it is a secret."""
    engine: str
    deployment: Mapping[str, Any]


def describe(component: str, python: str) -> Description:
    """Ask `python` for the component; `component` is a module, or a path to a file.

    Raises `UserError` if it cannot be imported there.
    """
    answer = _loads(_ask(python, component), component, python)
    return Description(answer["settings"], answer["engine"], answer["deployment"] or {})


def check(component: str, python: str, values: Mapping[str, Located]) -> list[str]:
    """Ask the component's own parser in `python` what is wrong with values by file key."""
    given = {key: [located.value, str(located.origin)] for key, located in values.items()}
    words = ("--check", json.dumps(given, default=str))
    answer: list[str] = _loads(_ask(python, component, *words), component, python)
    return answer


def _loads(text: str, component: str, python: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise UserError(
            f"{python} did not describe {component}: it printed {text[:80]!r}",
            fix="check that python: names a Python interpreter that has dynamo-core",
        ) from None


def _ask(python: str, component: str, *words: str) -> str:
    command = [python, "-m", "dynamo_core.deploy.describe", component, *words]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False
        )
    except OSError as error:
        raise UserError(f"cannot run {python}: {error.strerror}", fix="check the section's python:") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"importing {component} took longer than {TIMEOUT:g} s") from None
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"cannot import {component} in {python}: {reason}",
            fix="install the package that has it there, or name another interpreter with python:",
        )
    return result.stdout


def load(component: str) -> Any:
    """Import a component's module the way `python -m` or `python FILE` would find it."""
    if component.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(component).stem, component)
        if spec is None or spec.loader is None:
            raise ImportError(f"no module at {component}")
        sys.path.insert(0, str(Path(component).parent))
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    found = importlib.util.find_spec(component)
    is_package = found is not None and found.submodule_search_locations is not None
    return importlib.import_module(f"{component}.__main__" if is_package else component)


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):  # a module may print while it is imported
        module = load(sys.argv[1])
        parser = module.parser() if hasattr(module, "parser") else None
    if sys.argv[2:3] == ["--check"]:
        given = json.loads(sys.argv[3])
        values = {key: Located(value, Origin("file", where)) for key, (value, where) in given.items()}
        answer: Any = parser.problems_with(values) if parser else []
    else:
        answer = parser.describe() if parser else {"settings": {}, "engine": "", "deployment": None}
    json.dump(answer, sys.stdout, default=str)


if __name__ == "__main__":
    main()
