"""What a plan is made of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from dynamo_core.args.foreign import is_secret_variable
from dynamo_core.args.origins import Located
from dynamo_core.deploy.container import Container
from dynamo_core.deploy.deployment import Role
from dynamo_core.deploy.restarts import When


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
    gpus: tuple[str, ...] = ()
    """The devices that it was given, as in its `--gpus`."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """The ports that it listens on by the keys of their settings."""
    port_counts: Mapping[str, int] = field(default_factory=dict)
    """How many ports in a row begin there, by the same keys, where it is more than one."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """The addresses that it listens on, by the same keys."""
    ready_url: str = ""
    """Answers 200 once the process does its work; empty if it cannot tell."""
    address: str = ""
    """Where clients reach it; empty if they do not. It is stopped before those behind it."""
    foreground: bool = False
    """Whether it talks to the person at the terminal; the graph ends with it."""
    drain_timeout: float = 0.0
    """Seconds that its streams get to end when it is stopped."""
    start_timeout: float | None = None
    """Seconds until it must be ready; as for the whole graph if None."""
    restart: When | None = None
    """When it is started again after it has ended; as for the whole graph if None."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Settings that must not be seen in an argv, by environment variable."""
    replicas: int = 1
    """How many there are, alike to the last word; more than one only where each has a network of its own."""
    gpu_count: int = 0
    """How many devices it needs, where it is not for us to choose them."""
    ready_key: str = ""
    """The one of `ports` that tells whether it is ready."""
    container: Container = field(default_factory=Container)
    """What only a cluster is told."""
    role: Role = ""
    """What it is among the others, as its deployment class says."""
    settings: Mapping[str, Located] = field(default_factory=dict, repr=False, compare=False)
    """The values of its settings with their sources, by file key; without secrets."""

    @property
    def section(self) -> str:
        return self.name.partition("/")[0]

    @property
    def port_ranges(self) -> dict[str, str]:
        """Its ports as they are shown: `8000`, or `20500-20501`."""
        last = {key: port + self.port_counts.get(key, 1) - 1 for key, port in self.ports.items()}
        return {
            key: str(port) if last[key] == port else f"{port}-{last[key]}" for key, port in self.ports.items()
        }

    def command(self) -> str:
        """What a person would type to start exactly this process; secrets come from their shell."""
        hidden = {*self.secrets, *(name for name in self.env if is_secret_variable(name))}
        prefix = [f"{name}={shlex.quote(value)}" for name, value in self.env.items() if name not in hidden]
        prefix += [f'{name}="${name}"' for name in sorted(hidden)]
        return " ".join([*prefix, shlex.join(self.argv)])

    def data(self) -> dict[str, object]:
        """As JSON for programs, without secrets."""
        hidden = {*self.secrets, *(name for name in self.env if is_secret_variable(name))}
        return {
            "name": self.name,
            "argv": list(self.argv),
            "env": {name: value for name, value in self.env.items() if name not in hidden},
            "secrets": sorted(hidden),
            "gpus": list(self.gpus),
            "ports": dict(self.ports),
            "port_counts": dict(self.port_counts),
            "resources": dict(self.resources),
            "ready_url": self.ready_url,
            "drain_timeout": self.drain_timeout,
            "start_timeout": self.start_timeout,
            "restart": self.restart,
        }


@dataclass(frozen=True)
class Plan:
    """Everything that will be started, in order. Data only; starting it is somebody else's work."""

    source: str
    processes: tuple[Process, ...]
    unchecked: tuple[str, ...] = ()
    """Why engine options could not be checked, one per section."""
    warnings: tuple[str, ...] = ()
    """What works, and that the user should know of."""
    meeting_points: tuple[tuple[str, str], ...] = ()
    """Where components of the graph are found by others, and the namespaces there."""

    def data(self) -> dict[str, object]:
        """As JSON for programs, without secrets."""
        return {"source": self.source, "processes": [process.data() for process in self.processes]}
