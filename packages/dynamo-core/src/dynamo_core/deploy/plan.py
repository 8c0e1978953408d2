"""From a graph to the exact processes that make it up."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from dynamo_core.args.engine_words import as_words
from dynamo_core.args.origins import Located
from dynamo_core.args.parser import Values
from dynamo_core.args.suggest import with_hint
from dynamo_core.deploy.asking import run
from dynamo_core.deploy.checks import check_graph, meeting_point, uses
from dynamo_core.deploy.container import Container, container_of, declared
from dynamo_core.deploy.deployment import RESOURCES
from dynamo_core.deploy.describe import Described, Description, describe
from dynamo_core.deploy.gpus import VISIBLE, Inventory, visible_gpus
from dynamo_core.deploy.graph import GraphConfig, Section
from dynamo_core.deploy.placement import Wish, gpus_of, place
from dynamo_core.deploy.process import Plan, Process
from dynamo_core.deploy.site import HERE, Site
from dynamo_core.errors import UserError
from dynamo_core.ports import ANYWHERE, first_of, free_ports, reached_at

Ask = Callable[[str, str, Values, Mapping[str, str]], Awaitable[Description]]
"""Component, interpreter, its values and its environment → what `describe` answers."""
PORTS_OF_RANKS = ("kv-transfer-port",)
"""Settings with the first of as many ports in a row as the engine has data-parallel ranks. Core does not know
how many these are; there is a GPU for each at least, so that none has another one's port."""
ADDRESS = "rpc-host"
"""The setting with the address at which others reach a component."""
ASKED_AT_ONCE = 4
"""Components; an engine's import takes a core and some hundred megabytes."""


def make_plan(
    graph: GraphConfig,
    *,
    ask: Ask = describe,
    ports: Iterator[int] | None = None,
    inventory: Callable[[], Inventory] = visible_gpus,
    site: Site = HERE,
) -> Plan:
    """Work out every process of a graph. Raises `UserError` with all the problems found.

    `ask` describes a component in an interpreter, `ports` gives free ones, `inventory` tells what
    GPUs there are, if some are wanted; neither is asked for a `site` elsewhere.
    """
    problems: list[str] = []
    graph = site.informed(graph)
    descriptions = describe_all(graph, problems, ask=ask, site=site)
    known = [section for section in graph.sections if section.name in descriptions]
    problems += check_graph({section.name: descriptions[section.name] for section in known})
    parts = [_Part.of(section, descriptions[section.name], problems, site) for section in known]
    if not site.has_own_network:
        _check_ports_given(parts, problems, site)
    warnings = [f"{name}: {warning}" for name, d in descriptions.items() for warning in d.warnings]
    gpus = _place(parts, problems, warnings, inventory) if site.is_here else {}
    counts = {} if site.is_here else _count_gpus(parts, problems, site)
    if problems:
        raise UserError("\n".join(problems))
    if ports is None:
        ports = count(site.first_port) if site.first_port else free_ports(ANYWHERE)
    shared = _free_ports(parts, ports)
    processes: list[Process] = []
    for part in parts:
        planned = part.processes(shared, gpus.get(part.name, []), site)
        processes += (replace(process, gpu_count=counts.get(part.name, 0)) for process in planned)
    return Plan(
        graph.source,
        tuple(processes),
        tuple(f"{name}: {d.unchecked}" for name, d in descriptions.items() if d.unchecked),
        tuple(warnings),
        tuple(dict.fromkeys(point for d in descriptions.values() if (point := meeting_point(d.settings)))),
    )


def describe_all(
    graph: GraphConfig, problems: list[str], *, ask: Ask = describe, site: Site = HERE
) -> dict[str, Description]:
    """Every component of a graph with its values, by section; asks them all at the same time."""
    found: dict[str, Description] = {}
    for section, answer in zip(graph.sections, run(_ask_all(graph, ask, site)), strict=True):
        problems += section.problems
        if isinstance(answer, UserError):
            problems.append(f"{section.name}: {answer}")
        else:
            found[section.name] = answer
            problems += [f"{section.name}: {problem}" for problem in answer.problems]
    problems += _unknown_common(graph, found.values())
    return found


async def _ask_all(graph: GraphConfig, ask: Ask, site: Site) -> list[Description | UserError]:
    turns = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(section: Section) -> Description | UserError:
        values = Values(graph.common, section.values, site.has_own_files)
        try:
            async with turns:
                return await ask(section.component, section.python, values, section.env)
        except UserError as error:
            return error

    return await asyncio.gather(*(one(section) for section in graph.sections))


def _unknown_common(graph: GraphConfig, descriptions: Collection[Description]) -> list[str]:
    settings = {key for description in descriptions for key in description.settings}
    known = {key for description in descriptions for key in description.known_common}
    failed = len(descriptions) < len(graph.sections) or any(d.problems or d.unchecked for d in descriptions)
    return [
        with_hint(f"{located.origin}: unknown key {key!r}", key, settings)
        for key, located in graph.common.items()
        # Without settings nobody can tell, and what a target tells is for whoever knows it.
        if settings and not failed and key not in known and located.origin.kind != "derived"
    ]


@dataclass(frozen=True)
class _Port:
    """A setting that holds a port; below 1 it is one that nobody has chosen."""

    key: str
    number: int
    described: Described
    count: int = 1
    """How many in a row it needs, if it is for us to choose."""


@dataclass(frozen=True)
class _Part:
    """One section, ready to be multiplied by its replicas."""

    section: Section
    description: Description
    replicas: int
    resources: Mapping[str, int | str]
    words: Sequence[str]
    ports: Sequence[_Port]
    secrets: Mapping[str, str] = field(repr=False)
    container: Container

    @classmethod
    def of(cls, section: Section, description: Description, problems: list[str], site: Site) -> _Part:
        """Adds to `problems` what is wrong with the section's own keys."""
        written = [w for key, v in section.values.items() for w in as_words(f"--{key}", v.value)]
        problems += [
            f"{section.name}: {described.origin}: {key} is a secret, and flags are seen in the process list\n"
            "  fix: leave it out, and set the engine's own variable for it under env:, "
            "as HF_TOKEN: ${HF_TOKEN}"
            for key, described in description.engine_options.items()
            if described.is_secret
        ]
        return cls(
            section,
            description,
            _replicas(section, description, problems),
            _resources(section, description, problems),
            description.words if description.settings else written,
            _ports(description),
            _secrets(description, site),
            container_of(container_keys(section, description), problems, section.name),
        )

    @property
    def name(self) -> str:
        return self.section.name

    @property
    def is_foreground(self) -> bool:
        return bool(self.description.deployment.get("foreground"))

    @property
    def ready_key(self) -> str:
        """The setting with the port that tells when the component is ready; empty if none does."""
        key = str(self.description.deployment.get("ready_port", "")).replace("_", "-")
        return key if key in self.description.settings and not self.is_foreground else ""

    def processes(
        self, free: Iterator[int], gpus: Sequence[tuple[str, ...]], site: Site
    ) -> Iterator[Process]:
        """A process for each replica, or one for all of them if nothing tells them apart; ports that nobody
        has chosen are taken from `free`, where they share a network."""
        program = self.section.component
        start = (self.section.python, *([program] if program.endswith(".py") else ["-m", program]))
        is_one = site.is_alike and bool(self.replicas)
        for index in range(1 if is_one else self.replicas):
            if site.has_own_network:
                free = _free_ports([self], count(site.first_port))
            words, ports = list(self.words), {}
            for port in self.ports:
                ports[port.key] = port.number if port.number > 0 else first_of(port.count, free)
                if port.number < 1:
                    words = [*_without(words, port.key), f"--{port.key}", str(ports[port.key])]
            devices = gpus[index] if index < len(gpus) else ()
            if devices:
                words = _without(words, "gpus")
                words += [] if site.has_own_devices else ["--gpus", ",".join(devices)]
            if site.addresses is not None and self._is_default(ADDRESS):
                words = [*_without(words, ADDRESS), f"--{ADDRESS}", next(site.addresses)]
            ready_url = self._url(self.ready_key, ports)
            is_for_clients = self.ready_key not in ("", "status-port")
            yield Process(
                name=self.name if is_one else f"{self.name}/{index}",
                argv=(*start, *words),
                env=self.section.env,
                resources=self.resources,
                gpus=devices,
                ports=ports,
                port_counts={p.key: p.count for p in self.ports if p.count > 1 and p.number < 1},
                hosts={key: self._host(key) for key in ports},
                ready_url=f"{ready_url}/health" if ready_url else "",
                address=ready_url if is_for_clients else "",
                foreground=self.is_foreground,
                drain_timeout=float(self._value("drain-timeout", 0.0)),
                start_timeout=self.section.start_timeout,
                restart=self.section.restart,
                secrets=self.secrets,
                replicas=self.replicas if is_one else 1,
                ready_key=self.ready_key,
                container=self.container,
                role=self.description.deployment.get("role", ""),
                settings={
                    key: Located(each.value, each.origin)
                    for key, each in self.description.settings.items()
                    if not each.is_secret
                },
            )

    def _is_default(self, key: str) -> bool:
        described = self.description.settings.get(key)
        return described is not None and described.origin.kind == "default"

    def _url(self, key: str, ports: Mapping[str, int]) -> str:
        if key not in ports:
            return ""
        host = reached_at(self._host(key))
        is_tls = key == "http-port" and self._value("tls-cert-path", None) is not None
        scheme = "https" if is_tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{ports[key]}"

    def _host(self, key: str) -> str:
        given = self._value(key.replace("-port", "-host"), None)
        return str(given or self._value("rpc-host", "127.0.0.1"))

    def _value(self, key: str, default: Any) -> Any:
        described = self.description.settings.get(key)
        return default if described is None else described.value


def _secrets(description: Description, site: Site) -> dict[str, str]:
    """What must not stand in an argv, by variable. What the environment has is there already, unless a site
    has another one."""
    kinds = {"file", "flag", "deployment"} | ({"environment"} if site.has_own_environment else set())
    return {
        described.env: str(described.value)
        for key, described in description.settings.items()
        if described.is_secret and described.origin.kind in kinds and uses(description.settings, key)
    }


def container_keys(section: Section, description: Description) -> dict[str, Located]:
    """Every key of a section's `container:` with its source."""
    own = declared(description.deployment.get("container", {}), f"class Deployment of {section.component}")
    return {**own, **section.container}


def _free_ports(parts: Sequence[_Part], ports: Iterator[int]) -> Iterator[int]:
    """Those that nobody has chosen."""
    taken = {port.number for part in parts for port in part.ports if port.number > 0}
    return (port for port in ports if port not in taken)


def _ports(description: Description) -> list[_Port]:
    """The ports that a component listens on; one that is switched off counts if readiness needs it."""
    ready = str(description.deployment.get("ready_port", "")).replace("_", "-")
    is_foreground = bool(description.deployment.get("foreground"))
    found = []
    for key, described in description.settings.items():
        if not key.endswith("port") or not isinstance(described.value, int):
            continue
        is_used = not is_foreground if key == ready else described.value >= 0
        if is_used:
            count = (description.gpus or 1) if key in PORTS_OF_RANKS else 1
            found.append(_Port(key, described.value, described, count))
    return found


def _check_ports_given(parts: Sequence[_Part], problems: list[str], site: Site) -> None:
    """A port that was chosen is for one process of those that share a network."""
    holders: dict[int, str] = {}
    for part in parts:
        for port in part.ports:
            if port.number < 1 or part.replicas < 1:
                continue
            me = f"{part.name}.{port.key} (from {port.described.origin})"
            if part.replicas > 1 and not site.is_alike:
                problems.append(
                    f"{part.name}: {part.replicas} replicas cannot share {port.key} {port.number} "
                    f"(from {port.described.origin})\n"
                    "  fix: one replica, or no port: each is then given a free one"
                )
            elif port.number in holders:
                problems.append(f"{me} and {holders[port.number]} are the same port, {port.number}")
            holders.setdefault(port.number, me)


def _place(
    parts: Sequence[_Part], problems: list[str], warnings: list[str], inventory: Callable[[], Inventory]
) -> dict[str, list[tuple[str, ...]]]:
    """The devices of each replica by section; `warnings` gets those that a running graph has as well."""
    wishes = [wish for part in parts if part.replicas and (wish := _wish(part, problems))]
    if not wishes:
        return {}
    try:
        there = inventory()
    except UserError as error:
        problems.append(str(error))
        return {}
    places = place(wishes, there, problems)
    holders = {gpu.name: gpu.holder for gpu in there.gpus if gpu.holder}
    for section, replicas in places.items():
        for gpu in itertools.chain(*replicas):
            if gpu in holders:
                warnings.append(f"{section}: GPU {gpu} is shared with {holders[gpu]}")
    return places


def _count_gpus(parts: Sequence[_Part], problems: list[str], site: Site) -> dict[str, int]:
    """How many devices each replica takes, by section, where a scheduler chooses them."""
    found = {}
    for part in parts:
        if part.replicas and (wish := _wish(part, problems)):
            found[part.name] = wish.count
            if wish.gpus is not None:
                problems.append(
                    f"{part.name}: {wish.gpus_where}: gpus is {wish.gpus!r}, but {site.origin} chooses the "
                    "devices itself\n  fix: leave gpus out and say how many, as resources: {gpu: 1}"
                )
    return found


def _wish(part: _Part, problems: list[str]) -> Wish | None:
    """What a section asks for; None if that is nothing."""
    section, description = part.section, part.description
    written = section.resources
    is_written = written is not None and isinstance(written.value, dict) and "gpu" in written.value
    where = str(written.origin) if written and is_written else f"class Deployment of {section.component}"
    declared = part.resources.get("gpu", 0)
    if isinstance(declared, bool) or not isinstance(declared, int) or declared < 0:
        problems.append(f"{part.name}: gpu must be a whole number, found {declared!r} (from {where})")
        return None
    derived = (description.gpus, description.gpus_where)
    count, where = gpus_of(part.name, declared, where, *derived, problems)
    named = description.settings.get("gpus")
    if named is None:
        if count and is_written:
            problems.append(f"{part.name}: it is to have {count} GPUs (from {where}), but has no --gpus")
        return None
    if not count and named.value is None:
        return None
    if VISIBLE in section.env:
        problems.append(
            f"{part.name}: env has {VISIBLE} {section.env[VISIBLE]!r} (from {section.env_origin}), but its "
            "GPUs are chosen from all that are visible here, and given as --gpus\n"
            "  fix: name them with gpus:, or set resources: {gpu: 0} for an engine without a GPU"
        )
    return Wish(part.name, part.replicas, count, where, named.value, str(named.origin))


def _without(words: Sequence[str], key: str) -> list[str]:
    """A command line without a flag that is given anew."""
    kept: list[str] = []
    skip = False
    for word in words:
        if not skip and not word.startswith(f"--{key}=") and word != f"--{key}":
            kept.append(word)
        skip = word == f"--{key}"
    return kept


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
