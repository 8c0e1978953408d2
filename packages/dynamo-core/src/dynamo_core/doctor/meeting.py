"""Whether components that are started here would meet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from dynamo_core import environment
from dynamo_core.args.foreign import unknown_variables
from dynamo_core.args.groups import RuntimeSettings
from dynamo_core.args.settings import Declaration, declarations
from dynamo_core.deploy.installed import parsers
from dynamo_core.doctor.findings import Finding, refused
from dynamo_core.errors import UserError
from dynamo_core.runtime.listing import read_listing
from dynamo_core.runtime.reachable import check_servers
from dynamo_core.runtime.variables import runtime_variables
from dynamo_core.runtime.watches import NEEDED, WIDEN, free_watches, limit

ENOUGH_WATCHES = 32
"""Instances: for a frontend and some workers."""


def variables(settings: RuntimeSettings) -> Iterator[Finding]:
    """Environment variables that a component would refuse to start with."""
    declared: list[Declaration] = list(declarations(RuntimeSettings).values())
    for parser in parsers([]).values():
        declared += parser.declared.values()
    problems = unknown_variables(declared)
    for problem in problems:
        text, _, fix = problem.partition("; ")
        yield Finding("error", "environment", text, fix)
    conflicts = environment.conflicts(runtime_variables(settings))
    for problem in conflicts:
        yield refused("error", "environment", UserError(problem))
    if not problems and not conflicts:
        yield Finding("ok", "environment", "every DYN_ variable that is set is read")


def discovery_folder(settings: RuntimeSettings) -> Iterator[Finding]:
    """Whether the folder is this user's alone, and what dead processes have left in it."""
    subject = "discovery folder"
    if settings.discovery_backend != "file":
        yield Finding("ok", subject, f"not needed: discovery is {settings.discovery_backend}")
        return
    try:
        listing = asyncio.run(read_listing(settings))
    except UserError as error:
        yield refused("error", subject, error)
        return
    path = Path(settings.discovery_path)
    if not path.exists():
        yield Finding("ok", subject, f"{path} is not there yet; the first component makes it")
        return
    if dead := {entry.instance_id for entry in (*listing.stale.instances, *listing.stale.models)}:
        text = f"{path} has what {_processes(len(dead))} left that is gone"
        yield Finding(
            "warning",
            subject,
            f"{text}; a frontend takes it for alive in its first seconds",
            f"rm -r {path / 'v1'} while no component runs",
        )
        return
    alive = {entry.instance_id for entry in listing.instances}
    yield Finding("ok", subject, f"{path}, {_processes(len(alive))}" if alive else f"{path}, empty")


def watches(settings: RuntimeSettings) -> Iterator[Finding]:
    """What is left of a limit that a discovery folder makes use of."""
    subject = "inotify"
    if settings.discovery_backend != "file":
        yield Finding("ok", subject, f"not needed: discovery is {settings.discovery_backend}")
        return
    free, most = free_watches(ENOUGH_WATCHES), limit()
    text = f"free instances: {free}" + (f" of {most}" if most is not None else "")
    if free < NEEDED:
        yield Finding("error", subject, f"{text}; components see nobody in a discovery folder", WIDEN)
    elif free < ENOUGH_WATCHES:
        yield Finding("warning", subject, f"{text}; a frontend takes about 14, a worker up to 4", WIDEN)
    else:
        yield Finding("ok", subject, f"free instances: {ENOUGH_WATCHES} or more")


def etcd(settings: RuntimeSettings) -> Iterator[Finding]:
    """Whether etcd answers, if discovery goes through it."""
    if settings.discovery_backend != "etcd":
        yield Finding("ok", "etcd", f"not needed: discovery is {settings.discovery_backend}")
        return
    if "@" in settings.etcd_endpoints and not environment.read("ETCD_AUTH_USERNAME"):
        yield Finding(
            "error",
            "etcd",
            "--etcd-endpoints has a user and a password, which the Rust runtime passes over",
            "set ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD",
        )
    try:
        listing = asyncio.run(read_listing(settings))
    except UserError as error:
        yield refused("error", "etcd", error)
        return
    place = listing.place.removeprefix("etcd at ")
    yield Finding("ok", "etcd", f"{place} answers, {len(listing.instances)} instances")


def nats(settings: RuntimeSettings) -> Iterator[Finding]:
    """Whether NATS can be reached, if requests or events go through it."""
    if "nats" not in (settings.request_plane, settings.event_plane):
        planes = f"requests go over {settings.request_plane}, events over {settings.event_plane}"
        yield Finding("ok", "NATS", f"not needed: {planes}")
        return
    try:
        asyncio.run(check_servers(settings.model_copy(update={"discovery_backend": "file"})))
    except UserError as error:
        yield refused("error", "NATS", error)
    else:
        yield Finding("ok", "NATS", "can be reached")


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"
