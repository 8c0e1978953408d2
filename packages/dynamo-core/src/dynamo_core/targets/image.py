"""What targets that run images have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import yaml

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.targets.target import hidden_names, refuse_foreground

PROBE = "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/health', timeout=2)"
STOP_MARGIN = 10
"""Seconds beyond the drain budget until what is left is killed."""


def as_yaml(objects: Iterable[object]) -> str:
    """Objects in one file."""
    return "---\n".join(
        yaml.safe_dump(one, sort_keys=False, allow_unicode=True, width=110) for one in objects
    )


def command_of(process: Process) -> list[str]:
    """Its argv, with the interpreter of the image instead of this machine's."""
    return ["python", *process.argv[1:]]


def problems_of(plan: Plan, target: str) -> Iterator[str]:
    """Why processes cannot run from images."""
    yield from refuse_foreground(plan, target)
    for section, process in {process.section: process for process in plan.processes}.items():
        if process.container.image is None:
            yield (
                f"{section}: no image is given, and {target} runs every component from one\n"
                "  fix: give container: {image: REGISTRY/NAME:TAG} in the section, or under Common for all"
            )
        if process.argv[1].endswith(".py"):
            yield (
                f"{section}: its component is the file {process.argv[1]}, which no image has\n"
                "  fix: make it a module of a package that is installed in the image"
            )
        if unknown := sorted(set(hidden_names(process)) - process.container.secrets.keys()):
            yield (
                f"{section}: {', '.join(unknown)} would be in nobody's reach: values of secrets are written "
                "into no file\n  fix: name where the cluster has them, as container: {secrets: "
                f"{{{unknown[0]}: SECRET/KEY}}}}"
            )
