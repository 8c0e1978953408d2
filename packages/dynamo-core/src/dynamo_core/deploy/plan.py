"""From a graph to the exact processes that make it up."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamo_core import environment
from dynamo_core.args.config_files import as_flags
from dynamo_core.args.origins import Located
from dynamo_core.args.suggest import nearest
from dynamo_core.deploy.deployment import RESOURCES
from dynamo_core.deploy.describe import Description, check, describe
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
    drain_timeout: float = 0.0
    """Seconds that its streams get to end when it is stopped."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Settings that must not be seen in an argv, by environment variable."""

    def command(self) -> str:
        """What a person would type to start exactly this process; secrets come from their shell."""
        prefix = [f"{name}={shlex.quote(value)}" for name, value in self.env.items()]
        prefix += [f'{name}="${name}"' for name in self.secrets]
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
    descriptions: list[Description] = []
    for section in graph.sections:
        try:
            descriptions.append(ask(section.component, section.python))
            processes += _processes(graph, section, descriptions[-1], problems, ports)
        except UserError as error:
            problems.append(f"{section.name}: {error}")
    problems += _unknown_common(graph, descriptions)
    if problems:
        raise UserError("\n".join(problems))
    return Plan(graph.source, tuple(processes))


def _ports_given(graph: Graph) -> set[object]:
    """The ports that the user chose; they may be free now, and are not to be allotted twice."""
    everything = [graph.common, *(section.values for section in graph.sections)]
    values = [located.value for keys in everything for key, located in keys.items() if key.endswith("port")]
    return {int(str(value)) for value in values if str(value).isdecimal()}


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
    wrong = check(section.component, section.python, values) if known and values else []
    problems += [f"{section.name}: {problem}" for problem in wrong]
    if wrong:
        return []
    program = [section.component] if section.component.endswith(".py") else ["-m", section.component]
    hidden = {key for key in values if known.get(key, {}).get("secret")}
    secrets = {known[key]["env"]: str(values[key].value) for key in hidden}
    ready_key = str(description.deployment.get("ready_port", "")).replace("_", "-")
    shown = {key: located.value for key, located in values.items() if key not in hidden}
    if str(shown.get(ready_key)) in ("-1", "0"):
        del shown[ready_key]  # each replica is given a port that can be asked
    flags = [word for key, value in shown.items() for word in as_flags(key, value)]
    resources = _resources(section, description, problems)
    processes = []
    drain = float(_value("drain-timeout", values, section.env, description) or 0.0)
    replicas = _replicas(section, description, problems)
    if replicas > 1 and ready_key in shown:
        origin = values[ready_key].origin
        problems.append(
            f"{section.name}: {replicas} replicas cannot share {ready_key} {shown[ready_key]} (from {origin})"
        )
    for index in range(replicas):
        url, extra = _readiness(values, section.env, description, ports)
        argv = (section.python, *program, *flags, *extra)
        name = f"{section.name}/{index}"
        processes.append(Process(name, argv, section.env, resources, url, drain, secrets))
    return processes


def _unknown_common(graph: Graph, descriptions: Sequence[Description]) -> list[str]:
    known = {key for description in descriptions for key in description.settings}
    return [
        f"{located.origin}: unknown key {key!r}; {nearest(key, known)}".rstrip("; ")
        for key, located in graph.common.items()
        if known and key not in known
    ]


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


def _value(key: str, values: Mapping[str, Located], env: Mapping[str, str], description: Description) -> Any:
    """What a setting will be in the process; None if it does not have it.

    Raises `UserError` for a variable that should hold a number and does not.
    """
    if key in values:
        return values[key].value
    if key not in description.settings:
        return None
    name, default = description.settings[key]["env"], description.settings[key]["default"]
    text = env.get(name) or environment.read(name)
    if not text:
        return default
    try:
        return type(default)(text) if isinstance(default, (int, float)) else text
    except ValueError:
        raise UserError(f"{key}: {text!r} is not a number (from {name})") from None


def _readiness(
    values: Mapping[str, Located],
    env: Mapping[str, str],
    description: Description,
    ports: Iterator[int],
) -> tuple[str, list[str]]:
    """The URL that tells when a process is ready, and the flags that make it answer there."""
    port_key = str(description.deployment.get("ready_port", "")).replace("_", "-")
    if port_key not in description.settings:
        return "", []

    def value(key: str) -> Any:
        return _value(key, values, env, description)

    port, extra = int(value(port_key)), []
    if port < 1:
        port = next(ports)
        extra = [f"--{port_key}", str(port)]
    host = str(value(port_key.replace("-port", "-host")))
    scheme = "https" if "tls-cert-path" in values else "http"
    return f"{scheme}://{_address(host)}:{port}/health", extra


def _address(host: str) -> str:
    """Where to reach what listens on `host`."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    reached = anywhere.get(host, host)
    return f"[{reached}]" if ":" in reached else reached
