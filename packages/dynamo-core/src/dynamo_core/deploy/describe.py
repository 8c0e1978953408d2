"""A component with the values of its section, asked in the interpreter that runs it.

    echo '{"own": {"http-port": [9000, "file", "agg.yaml:4"]}}' |
      python -m dynamo_core.deploy.describe dynamo_frontend

prints one JSON object: the component's settings with value and source, its engine's options, the
command line that gives the same, and every problem. A component answers through its module's
`parser()`. Importing the module imports no engine; its options do, as only it can check them. A
module without `parser` is started as it is, with the flags it is given.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynamo_core.args.engine import Engine, EngineValue, is_secret
from dynamo_core.args.groups import KvEventSettings
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.parser import Arguments, DynamoFlexibleArgumentParser, Values
from dynamo_core.args.show import hides
from dynamo_core.deploy.asking import TIMEOUT, Outcome, ask_copy, ask_process, run
from dynamo_core.elsewhere import in_an_image
from dynamo_core.errors import UserError
from dynamo_core.printing import each_problem


@dataclass(frozen=True)
class Described:
    """One value of a component, as its own parser understands it."""

    value: Any
    origin: Origin
    is_secret: bool = False
    env: str = ""
    """The variable that a setting is read from; engine options have none."""
    default: Any = None


@dataclass(frozen=True)
class Description:
    """A component with its values, as a planner sees it."""

    settings: Mapping[str, Described] = field(default_factory=dict)
    """Every setting by file key; empty for a module without `parser`."""
    engine: str = ""
    engine_options: Mapping[str, Described] = field(default_factory=dict)
    """The engine options that were given, by file key."""
    words: tuple[str, ...] = ()
    """The command line that gives all of that, without secrets."""
    gpus: int | None = None
    """How many GPUs each replica takes by the engine options that were given; None if they do not tell."""
    gpus_where: str = ""
    """Those options with their sources."""
    deployment: Mapping[str, Any] = field(default_factory=dict)
    """What `BaseDeployment.describe` tells, corrected by the facts that follow from the values."""
    known_common: frozenset[str] = frozenset()
    """Which of the common keys the component or its engine knows."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What works today and will not for ever."""
    unchecked: str = ""
    """Why the engine options could not be checked, and are as they were written."""


async def describe(component: str, python: str, values: Values, env: Mapping[str, str]) -> Description:
    """Ask `python` for a component; `component` is a module, or a path to a file.

    `env` is added to the environment that it is asked in, as it will be when it is started. Raises
    `UserError` if it cannot be imported there.
    """
    return _unpack(_loads(await _ask(python, component, _question(values), env), component, python))


async def describe_quickly(
    component: str, python: str, values: Values, env: Mapping[str, str]
) -> Description:
    """The same for a process with one thread, which need not start an interpreter if it is this one."""
    if python != sys.executable:
        return await describe(component, python, values, env)
    question = _question(values)
    call = functools.partial(_answer_to, component, question)
    outcome = await _in_time(component, ask_copy(lambda: call().encode(), env))
    return _unpack(_loads(_text(outcome, component, python), component, python))


def schema_of(component: str, python: str) -> dict[str, Any]:
    """The JSON schema of a component's keys in a file; empty for a module without `parser`.

    Raises `UserError` if the component or its engine is not installed in `python`.
    """
    answer = _loads(run(_ask(python, component, '{"schema": true}', {})), component, python)
    if "problem" in answer:
        raise UserError(answer["problem"])
    found: dict[str, Any] = answer["schema"]
    return found


def _pack(values: Mapping[str, Located]) -> dict[str, Any]:
    return {key: [v.value, v.origin.kind, v.origin.where, v.origin.column] for key, v in values.items()}


def _unpack(answer: Mapping[str, Any]) -> Description:
    return Description(
        settings=_unpack_values(answer["settings"]),
        engine=answer["engine"],
        engine_options=_unpack_values(answer["engine_options"]),
        words=tuple(answer["words"]),
        gpus=answer["gpus"],
        gpus_where=answer["gpus_where"],
        deployment=answer["deployment"],
        known_common=frozenset(answer["known_common"]),
        problems=tuple(answer["problems"]),
        warnings=tuple(answer["warnings"]),
        unchecked=answer["unchecked"],
    )


def _unpack_values(values: Mapping[str, Any]) -> dict[str, Described]:
    return {key: Described(**{**value, "origin": Origin(*value["origin"])}) for key, value in values.items()}


def _loads(text: str, component: str, python: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise UserError(
            f"{python} did not describe {component}: it printed {text[:80]!r}",
            fix="check that python: names a Python interpreter that has dynamo-core",
        ) from None


def _question(values: Values) -> str:
    question = {
        "common": _pack(values.common),
        "own": _pack(values.own),
        "has_own_files": values.has_own_files,
    }
    return json.dumps(question, default=str)


async def _ask(python: str, component: str, question: str, env: Mapping[str, str]) -> str:
    command = (python, "-m", "dynamo_core.deploy.describe", component)
    try:
        outcome = await _in_time(component, ask_process(command, question.encode(), env))
    except OSError as error:
        raise UserError(f"cannot run {python}: {error.strerror}", fix="check the section's python:") from None
    return _text(outcome, component, python)


async def _in_time(component: str, asking: Coroutine[Any, Any, Outcome]) -> Outcome:
    try:
        return await asking
    except TimeoutError:
        raise UserError(f"importing {component} took longer than {TIMEOUT:g} s") from None


def _text(outcome: Outcome, component: str, python: str) -> str:
    if outcome.code != 0:
        reason = (outcome.err.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"cannot import {component} in {python}: {reason}",
            fix="install the package that has it there, or name another interpreter with python:",
        )
    return outcome.out.decode(errors="replace")


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


def describe_here(component: str, values: Values) -> Description:
    """The same in this interpreter, once the component can be imported."""
    answer = json.loads(json.dumps(_answer(component, values), default=str))
    return _unpack(answer)


def _answer(component: str, values: Values) -> dict[str, Any]:
    module = load(component)
    parser: DynamoFlexibleArgumentParser[Any] | None = module.parser() if hasattr(module, "parser") else None
    found: dict[str, Any] = {
        "settings": {},
        "engine": "",
        "engine_options": {},
        "words": [],
        "gpus": None,
        "gpus_where": "",
        "deployment": {},
        "known_common": [],
        "problems": [],
        "warnings": [],
        "unchecked": "",
    }
    if parser is None:
        return found
    found["engine"] = parser.engine.name if parser.engine else ""
    found["deployment"] = parser.deployment.describe() if parser.deployment else {}
    try:
        arguments = parser.resolve_values(values)
        options, found["unchecked"] = arguments.engine.values()
        if not found["unchecked"]:
            found["known_common"] = sorted(parser.knows(values.common))
    except UserError as error:
        found["problems"] = each_problem(str(error))
        return found
    with in_an_image(values.has_own_files):
        found["problems"] = parser.problems(arguments)
    found["warnings"] = list(arguments.warnings)
    found["settings"] = _settings(parser, arguments)
    found["engine_options"] = {
        value.key: {
            "value": value.value,
            "origin": _packed(value.origin),
            "is_secret": is_secret(value.key),
        }
        for value in options
    }
    found["words"] = parser.words(arguments, options)
    if not found["unchecked"]:
        found["gpus"], found["gpus_where"] = _gpus(parser.engine, options)
    given = {value.key: value.value for value in options}
    found["deployment"]["block_size"] = given.get(parser.engine.block_size) if parser.engine else None
    if isinstance(arguments.settings, KvEventSettings):
        found["deployment"]["kv_events"] = bool(arguments.settings.why_kv_events)
    if parser.facts:
        found["deployment"] |= parser.facts(arguments.settings)
    return found


def _gpus(engine: Engine | None, options: Sequence[EngineValue]) -> tuple[int | None, str]:
    """How many GPUs the options come to, and in words those that tell of any."""
    if engine is None or engine.gpus is None:
        return None, ""
    telling = [option for option in options if engine.gpus({option.key: option.value}) is not None]
    where = ", ".join(f"{option.key} {option.value} ({option.origin})" for option in telling)
    return engine.gpus({option.key: option.value for option in options}), where


def _packed(origin: Origin) -> list[Any]:
    return [origin.kind, origin.where, origin.column]


def _settings(parser: DynamoFlexibleArgumentParser[Any], arguments: Arguments[Any]) -> dict[str, Any]:
    return {
        declared.key: {
            "value": getattr(arguments.settings, name),
            "origin": _packed(arguments.origins[name]),
            "is_secret": hides(declared, arguments.origins[name]),
            "env": declared.env,
            "default": parser.default_of(declared),
        }
        for name, declared in parser.declared.items()
    }


def _schema(component: str) -> dict[str, Any]:
    from dynamo_core.args.schema import file_schema

    module = load(component)
    try:
        return {"schema": file_schema(module.parser()) if hasattr(module, "parser") else {}}
    except UserError as error:
        return {"problem": str(error)}


def _answer_to(component: str, text: str) -> str:
    """The answer to one question, as JSON."""
    question = json.loads(text or "{}")
    if question.get("schema"):
        return json.dumps(_schema(component), default=str)
    common, own = (
        {key: Located(value, Origin(*origin)) for key, (value, *origin) in part.items()}
        for part in (question.get("common", {}), question.get("own", {}))
    )
    values = Values(common, own, bool(question.get("has_own_files")))
    return json.dumps(_answer(component, values), default=str)


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):  # a module may print while it is imported
        answer = _answer_to(sys.argv[1], sys.stdin.read())
    sys.stdout.write(answer)


if __name__ == "__main__":
    main()
