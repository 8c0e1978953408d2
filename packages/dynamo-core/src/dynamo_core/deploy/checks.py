"""Whether the components of a graph fit together, before any of them is started."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from dynamo_core.deploy.describe import Described, Description

MEETING = (
    "discovery-backend",
    "discovery-path",
    "etcd-endpoints",
    "request-plane",
    "event-plane",
    "nats-server",
)
"""Settings in which all components of a graph must agree, where they are in use."""
GLOBAL_NAMESPACE = "dynamo"
"""The Rust runtime takes it for the one whose frontends serve the models of all namespaces."""

Parts = Mapping[str, Description]
"""The components of a graph by section."""


def check_graph(parts: Parts) -> list[str]:
    """Every way in which components do not fit together; each names both sides and where they come from."""
    able = {name: part for name, part in parts.items() if part.settings}
    checks = (_meeting, _namespaces, _pairs, _models, _endpoints, _kv_routing, _routers)
    return [problem for check in checks for problem in check(able)]


def meeting_point(settings: Mapping[str, Described]) -> tuple[str, str] | None:
    """Where a component is found and its namespace; None if it cannot be found by others."""
    if "discovery-backend" not in settings or "namespace" not in settings:
        return None
    backend = str(settings["discovery-backend"].value)
    place = {"file": "discovery-path", "etcd": "etcd-endpoints"}.get(backend)
    where = re.sub(r"//[^/@,]*@", "//", str(settings[place].value)) if place else ""  # without a password
    return f"{backend} {where}".strip(), str(settings["namespace"].value)


def _meeting(parts: Parts) -> Iterator[str]:
    for key in MEETING:
        users = {name: p.settings[key] for name, p in parts.items() if uses(p.settings, key)}
        for (one, mine), (other, theirs) in pairwise(users.items()):
            if mine.value != theirs.value:
                yield (
                    f"{one} and {other} would never meet: {key} is {_shown(mine)} for {one}, "
                    f"{_shown(theirs)} for {other}\n  fix: give {key} once, under Common"
                )


def uses(settings: Mapping[str, Described], key: str) -> bool:
    """Whether a component reads the setting at all, given its others."""
    if key not in settings:
        return False
    backend, planes = ("discovery-backend",), ("request-plane", "event-plane")
    needed = {
        "discovery-path": (backend, "file"),
        "etcd-endpoints": (backend, "etcd"),
        "nats-server": (planes, "nats"),
    }
    if key not in needed:
        return True
    deciding, value = needed[key]
    return any(name in settings and settings[name].value == value for name in deciding)


def _namespaces(parts: Parts) -> Iterator[str]:
    spaces = {name: p.settings["namespace"] for name, p in parts.items() if "namespace" in p.settings}
    workers = {name for name in spaces if parts[name].deployment.get("role") in ("worker", "decode")}
    for name in spaces:
        if parts[name].deployment.get("role") != "frontend" or spaces[name].value == GLOBAL_NAMESPACE:
            continue
        if workers and not any(spaces[worker].value == spaces[name].value for worker in workers):
            others = ", ".join(f"{worker} in {_shown(spaces[worker])}" for worker in sorted(workers))
            yield (
                f"{name} serves the models of namespace {_shown(spaces[name])}, but no worker of this "
                f"graph is there: {others}\n  fix: give namespace once, under Common"
            )


def _pairs(parts: Parts) -> Iterator[str]:
    for name, part in parts.items():
        role = part.deployment.get("role")
        if role not in ("prefill", "decode"):
            continue
        wanted = "prefill" if role == "decode" else "decode"
        found = {
            other: p
            for other, p in parts.items()
            if p.deployment.get("role") == wanted and _served(p) == _served(part)
        }
        if not found:
            yield (
                f"{name} is the {role} half of a pair and has no {wanted} for {_served(part)}\n"
                f"  fix: add a section with the {wanted} component of the same engine and model"
            )
        looked_for = part.settings.get("prefill-component")
        if looked_for is None or not found:
            continue
        names = {other: p.settings["component"] for other, p in found.items() if "component" in p.settings}
        if all(there.value != looked_for.value for there in names.values()):
            there = ", ".join(f"{other} is {_shown(component)}" for other, component in names.items())
            yield (
                f"{name} would wait for ever for prefill-component {_shown(looked_for)}, but {there}\n"
                f"  fix: give {name} the name of its prefill component as prefill-component"
            )


def _served(part: Description) -> object:
    """The name that clients ask for."""
    name = part.settings.get("served-model-name")
    model = part.settings.get("model")
    return name.value if name and name.value else model.value if model else None


def _models(parts: Parts) -> Iterator[str]:
    """One name means one tokenizer and one block size; a router cannot tell the workers apart."""
    groups: dict[object, list[tuple[str, Description]]] = {}
    for name, part in parts.items():
        if part.deployment.get("role") in ("worker", "prefill", "decode") and "model" in part.settings:
            groups.setdefault((_namespace(part), _served(part)), []).append((name, part))
    for group in groups.values():
        for (one, a), (other, b) in pairwise(group):
            mine, theirs = a.settings["model"], b.settings["model"]
            if mine.value != theirs.value:
                yield (
                    f"{one} and {other} both serve {_served(a)}, from different models: {_shown(mine)} and "
                    f"{_shown(theirs)}\n  fix: give one of them another served-model-name"
                )
            sizes = [p.deployment.get("block_size") for p in (a, b)]
            if None not in sizes and sizes[0] != sizes[1]:
                yield (
                    f"{one} and {other} both serve {_served(a)}, with KV blocks of {sizes[0]} and {sizes[1]} "
                    "tokens; a router counts in one size\n  fix: give both the same block size"
                )


def _namespace(part: Description) -> object:
    described = part.settings.get("namespace")
    return described.value if described else None


def _endpoints(parts: Parts) -> Iterator[str]:
    """Requests for a model go to any instance of its endpoint, so one endpoint is one model."""
    seen: dict[object, tuple[str, Description]] = {}
    for name, part in parts.items():
        if not {"namespace", "component", "endpoint", "model"} <= part.settings.keys():
            continue
        path = ".".join(str(part.settings[key].value) for key in ("namespace", "component", "endpoint"))
        first, other = seen.setdefault(path, (name, part))
        if _served(other) != _served(part):
            yield (
                f"{first} and {name} serve different models, {_served(other)} and {_served(part)}, under one "
                f"address, {path}; requests for one would reach the other\n"
                f"  fix: give one of them another name, as in {name}: {{name: {name.lower()}}}"
            )


def _kv_routing(parts: Parts) -> Iterator[str]:
    for name, part in parts.items():
        mode, listens = part.settings.get("router-mode"), part.settings.get("router-kv-events")
        if part.deployment.get("role") != "frontend" or mode is None or mode.value != "kv":
            continue
        if listens is not None and not listens.value:
            continue
        roles = {"worker", "prefill", *(["decode"] if _is_given(part, "conditional-disagg") else [])}
        silent = [
            worker
            for worker, p in parts.items()
            if p.deployment.get("role") in roles and not p.deployment.get("kv_events")
        ]
        if silent:
            halves = [worker for worker in silent if parts[worker].deployment.get("role") == "decode"]
            besides = f", and kv-events: true to {', '.join(halves)}" if halves else ""
            yield (
                f"{name} routes by what is in the workers' KV caches (router-mode kv, from {mode.origin}), "
                f"but {', '.join(silent)} publish{'es' if len(silent) == 1 else ''} no KV events\n"
                f"  fix: give router-mode: kv once, under Common{besides}; or choose another router-mode, or "
                "workers that publish KV events"
            )


def _is_given(part: Description, key: str) -> bool:
    return key in part.settings and part.settings[key].value is not None


def _routers(parts: Parts) -> Iterator[str]:
    """A router between frontend and workers is passed by if the frontend finds the workers, too."""
    for router, part in parts.items():
        if "workers" not in part.settings or "namespace" not in part.settings:
            continue
        for name, p in parts.items():
            space = p.settings.get("namespace")
            if p.deployment.get("role") == "frontend" and space and space.value == GLOBAL_NAMESPACE:
                yield (
                    f"{name} would pass {router} by: in namespace {_shown(space)} it serves the models of "
                    f"all, and so finds the workers of {router} itself\n  fix: give {name} the namespace of "
                    f"{router}, {part.settings['namespace'].value}"
                )


def _shown(described: Described) -> str:
    value = "(hidden)" if described.is_secret else described.value
    return f"{value} (from {described.origin})"
