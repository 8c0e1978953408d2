"""From a graph to the exact processes that make it up."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamo_core.args.origins import Located
from dynamo_core.args.parser import as_flags
from dynamo_core.args.suggest import nearest
from dynamo_core.deploy.deployment import RESOURCES
from dynamo_core.deploy.describe import Description, describe
from dynamo_core.deploy.graph import Graph, Section
from dynamo_core.errors import UserError
from dynamo_core.ports import free_ports


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

    def command(self) -> str:
        """What a person would type to start exactly this process."""
        prefix = [f"{name}={shlex.quote(value)}" for name, value in self.env.items()]
        return " ".join([*prefix, shlex.join(self.argv)])


@dataclass(frozen=True)
class Plan:
    """Everything that will be started, in order. Data only; starting it is somebody else's work."""

    source: str
    processes: tuple[Process, ...]


def make_plan(
    graph: Graph,
    *,
    ask: Callable[[str, str], Description] = describe,
    ports: Iterator[int] | None = None,
) -> Plan:
    """Work out every process of a graph. Raises `UserError` with all the problems found.

    `ask` describes a component in an interpreter, `ports` gives free ones.
    """
    taken = _ports_given(graph)
    ports = (port for port in ports or free_ports() if port not in taken)
    problems: list[str] = []
    processes: list[Process] = []
    for section in graph.sections:
        try:
            description = ask(section.component, section.python)
        except UserError as error:
            problems.append(f"{section.name}: {error}")
            continue
        processes += _processes(graph, section, description, problems, ports)
    if problems:
        raise UserError("\n".join(problems))
    return Plan(graph.source, tuple(processes))


def _ports_given(graph: Graph) -> set[object]:
    """The ports that the user chose; they may be free now, and are not to be allotted twice."""
    everything = [graph.common, *(section.values for section in graph.sections)]
    return {located.value for values in everything for key, located in values.items() if key.endswith("port")}


def _processes(
    graph: Graph, section: Section, description: Description, problems: list[str], ports: Iterator[int]
) -> list[Process]:
    known = description.settings
    shared = {key: located for key, located in graph.common.items() if key in known}
    values = {**shared, **section.values}
    if known and not description.engine:
        for key in section.values.keys() - known.keys():
            origin = section.values[key].origin
            problems.append(
                f"{section.name}: {origin}: unknown key {key!r}; {nearest(key, known)}".rstrip("; ")
            )
    program = [section.component] if section.component.endswith(".py") else ["-m", section.component]
    flags = [word for key, located in values.items() for word in as_flags(key, located.value)]
    resources = _resources(section, description, problems)
    processes = []
    for index in range(_replicas(section, description, problems)):
        url, extra = _readiness(values, description, ports)
        argv = (section.python, *program, *flags, *extra)
        name = f"{section.name}/{index}"
        processes.append(Process(name, argv, section.env, resources, url))
    return processes


def _replicas(section: Section, description: Description, problems: list[str]) -> int:
    if section.replicas is None:
        return int(description.deployment.get("replicas", 1))
    value = section.replicas.value
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


def _readiness(
    values: Mapping[str, Located], description: Description, ports: Iterator[int]
) -> tuple[str, list[str]]:
    """The URL that tells when a process is ready, and the flags that make it answer there."""
    port_key = str(description.deployment.get("ready_port", "")).replace("_", "-")
    if port_key not in description.settings:
        return "", []

    def value(key: str) -> Any:
        return values[key].value if key in values else description.settings[key]["default"]

    port, extra = int(value(port_key)), []
    if port < 1:
        port = next(ports)
        extra = [f"--{port_key}", str(port)]
    host = str(value(port_key.replace("-port", "-host")))
    scheme = "https" if "tls-cert-path" in values else "http"
    return f"{scheme}://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/health", extra
