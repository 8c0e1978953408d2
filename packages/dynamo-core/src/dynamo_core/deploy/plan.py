"""From a graph to the exact processes that make it up."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dynamo_core.args.engine_words import as_words
from dynamo_core.args.foreign import is_secret_variable
from dynamo_core.args.parser import Values
from dynamo_core.args.suggest import with_hint
from dynamo_core.deploy.deployment import RESOURCES
from dynamo_core.deploy.describe import Description, describe
from dynamo_core.deploy.graph import Graph, Section
from dynamo_core.errors import UserError
from dynamo_core.ports import free_ports

Ask = Callable[[str, str, Values, Mapping[str, str]], Awaitable[Description]]
"""Component, interpreter, its values and its environment → what `describe` answers."""
ASKED_AT_ONCE = 4
"""Components; an engine's import takes a core and some hundred megabytes."""


@dataclass(frozen=True)
class Process:
    """One process of a plan."""

    name: str
    """`Worker/0`: section and replica."""
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """What the user wrote under `env:`, nothing else."""
    resources: Mapping[str, int | str] = field(default_factory=dict)
    """What the process needs, under the names of `BaseDeployment.resources`."""
    ready_url: str = ""
    """Answers 200 once the process does its work; empty if it cannot tell."""
    drain_timeout: float = 0.0
    """Seconds that its streams get to end when it is stopped."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Settings that must not be seen in an argv, by environment variable."""

    def command(self) -> str:
        """What a person would type to start exactly this process; secrets come from their shell."""
        hidden = {*self.secrets, *(name for name in self.env if is_secret_variable(name))}
        prefix = [f"{name}={shlex.quote(value)}" for name, value in self.env.items() if name not in hidden]
        prefix += [f'{name}="${name}"' for name in sorted(hidden)]
        return " ".join([*prefix, shlex.join(self.argv)])


@dataclass(frozen=True)
class Plan:
    """Everything that will be started, in order. Data only; starting it is somebody else's work."""

    source: str
    processes: tuple[Process, ...]
    unchecked: tuple[str, ...] = ()
    """Why engine options could not be checked, one per section."""
    warnings: tuple[str, ...] = ()
    """What works today and will not for ever."""


def make_plan(
    graph: Graph,
    *,
    ask: Ask = describe,
    ports: Iterator[int] | None = None,
) -> Plan:
    """Work out every process of a graph. Raises `UserError` with all the problems found.

    `ask` describes a component in an interpreter, `ports` gives free ones.
    """
    taken = _ports_given(graph)
    ports = (port for port in ports or free_ports() if port not in taken)
    problems: list[str] = []
    processes: list[Process] = []
    descriptions = describe_all(graph, problems, ask=ask)
    for section in graph.sections:
        if section.name in descriptions:
            processes += _processes(section, descriptions[section.name], problems, ports)
    if problems:
        raise UserError("\n".join(problems))
    unchecked = [f"{name}: {d.unchecked}" for name, d in descriptions.items() if d.unchecked]
    warnings = [f"{name}: {warning}" for name, d in descriptions.items() for warning in d.warnings]
    return Plan(graph.source, tuple(processes), tuple(unchecked), tuple(warnings))


def describe_all(graph: Graph, problems: list[str], *, ask: Ask = describe) -> dict[str, Description]:
    """Every component of a graph with its values, by section; asks them all at the same time."""
    found: dict[str, Description] = {}
    for section, answer in zip(graph.sections, asyncio.run(_ask_all(graph, ask)), strict=True):
        if isinstance(answer, UserError):
            problems.append(f"{section.name}: {answer}")
        else:
            found[section.name] = answer
            problems += [f"{section.name}: {problem}" for problem in answer.problems]
    problems += _unknown_common(graph, found.values())
    return found


async def _ask_all(graph: Graph, ask: Ask) -> list[Description | UserError]:
    turns = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(section: Section) -> Description | UserError:
        values = Values(graph.common, section.values)
        try:
            async with turns:
                return await ask(section.component, section.python, values, section.env)
        except UserError as error:
            return error

    return await asyncio.gather(*(one(section) for section in graph.sections))


def _ports_given(graph: Graph) -> set[object]:
    """The ports that the user chose; they may be free now, and are not to be allotted twice."""
    everything = [graph.common, *(section.values for section in graph.sections)]
    values = [located.value for keys in everything for key, located in keys.items() if key.endswith("port")]
    return {int(str(value)) for value in values if str(value).isdecimal()}


def _processes(
    section: Section, description: Description, problems: list[str], ports: Iterator[int]
) -> list[Process]:
    settings = description.settings
    program = [section.component] if section.component.endswith(".py") else ["-m", section.component]
    words = (
        list(description.words)
        if settings
        else [word for key, located in section.values.items() for word in as_words(f"--{key}", located.value)]
    )
    secrets = {
        described.env: str(described.value)
        for described in settings.values()
        if described.is_secret and described.origin.kind in ("file", "flag")
    }
    problems += [
        f"{section.name}: {described.origin}: {key} is a secret, and flags are seen in the process list\n"
        "  fix: leave it out, and set the engine's own variable for it under env:, as HF_TOKEN: ${HF_TOKEN}"
        for key, described in description.engine_options.items()
        if described.is_secret
    ]
    resources = _resources(section, description, problems)
    replicas = _replicas(section, description, problems)
    ready = _Readiness.of(description)
    if ready and ready.port > 0 and replicas > 1:
        origin = settings[ready.port_key].origin
        problems.append(
            f"{section.name}: {replicas} replicas cannot share {ready.port_key} {ready.port} (from {origin})"
        )
    drain = float(settings["drain-timeout"].value) if "drain-timeout" in settings else 0.0
    processes = []
    for index in range(replicas):
        mine, flags = ready, words
        if ready and ready.port < 1:  # each replica is given a port that can be asked
            mine = replace(ready, port=next(ports))
            flags = [*_without(words, ready.port_key), f"--{ready.port_key}", str(mine.port)]
        argv = (section.python, *program, *flags)
        url = mine.url if mine else ""
        processes.append(
            Process(f"{section.name}/{index}", argv, section.env, resources, url, drain, secrets)
        )
    return processes


def _without(words: Sequence[str], key: str) -> list[str]:
    """A command line without a flag that is given anew."""
    kept: list[str] = []
    skip = False
    for word in words:
        if not skip and not word.startswith(f"--{key}=") and word != f"--{key}":
            kept.append(word)
        skip = word == f"--{key}"
    return kept


def _unknown_common(graph: Graph, descriptions: Collection[Description]) -> list[str]:
    settings = {key for description in descriptions for key in description.settings}
    known = {key for description in descriptions for key in description.known_common}
    failed = len(descriptions) < len(graph.sections) or any(d.problems or d.unchecked for d in descriptions)
    return [
        with_hint(f"{located.origin}: unknown key {key!r}", key, settings)
        for key, located in graph.common.items()
        if settings and not failed and key not in known  # without settings nobody can tell
    ]


def _replicas(section: Section, description: Description, problems: list[str]) -> int:
    if section.replicas is None:
        return int(description.deployment.get("replicas", 1))
    value = section.replicas.value
    if isinstance(value, str) and value.isdecimal():
        value = int(value)  # from ${…}
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        problems.append(
            f"{section.name}: replicas must be a whole number, found {value!r} "
            f"(from {section.replicas.origin})"
        )
        return 0
    return value


def _resources(section: Section, description: Description, problems: list[str]) -> Mapping[str, int | str]:
    declared: dict[str, int | str] = dict(description.deployment.get("resources", {}))
    if section.resources is None:
        return declared
    value, origin = section.resources.value, section.resources.origin
    if not isinstance(value, dict):
        problems.append(f"{section.name}: resources must be a mapping, found {value!r} (from {origin})")
        return declared
    for key in value.keys() - set(RESOURCES):
        problems.append(
            f"{section.name}: {origin}: unknown resource {key!r}; known are {', '.join(RESOURCES)}"
        )
    return declared | value


@dataclass(frozen=True)
class _Readiness:
    """Where a process tells that it is ready."""

    scheme: str
    host: str
    port: int
    port_key: str

    @classmethod
    def of(cls, description: Description) -> _Readiness | None:
        """From the settings of a component; None if it cannot tell."""
        key = str(description.deployment.get("ready_port", "")).replace("_", "-")
        settings = description.settings
        if key not in settings:
            return None
        is_tls = "tls-cert-path" in settings and settings["tls-cert-path"].value is not None
        listens = settings.get(key.replace("-port", "-host"))
        host = str(listens.value) if listens else "127.0.0.1"
        return cls("https" if is_tls else "http", host, int(settings[key].value), key)

    @property
    def url(self) -> str:
        """Answers 200 once the process is ready."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        reached = anywhere.get(self.host, self.host)
        return f"{self.scheme}://{f'[{reached}]' if ':' in reached else reached}:{self.port}/health"
