"""What a target is, and how one is found."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import ClassVar

from dynamo_core.args.foreign import is_secret_variable
from dynamo_core.args.suggest import nearest
from dynamo_core.deploy.process import Plan, Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError

GROUP = "dynamo.targets"
"""Entry points with target classes, by the names that `dynamo render` takes."""

Files = Mapping[str, str]
"""Text by file name."""


@dataclass(frozen=True)
class Rendering:
    """A plan on its way to becoming text."""

    plan: Plan
    name: str
    """Of the graph: letters, digits and dashes."""
    command: str
    """What a person typed to get these files."""

    def header(self, comment: str = "#") -> str:
        """The lines that begin each file."""
        return f"{comment} Made by: {self.command}\n{comment} Change the graph and make it again.\n"


class Target(ABC):
    """Turns plans into text. Subclass it, and name the class in the entry points `dynamo.targets`.

    What every component has to be told belongs into `site`, where it is planned with, shown with its source
    and weaker than what the user says; `render` leaves each argv as it is.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for the help."""
    kinds: ClassVar[Sequence[tuple[str, str]]] = ()
    """What `dynamo deploy` applies, as versions and kinds; none if the files are for somebody else."""

    @abstractmethod
    def site(self) -> Site:
        """Where its processes will run."""

    @abstractmethod
    def render(self, rendering: Rendering) -> Files:
        """Raises `UserError` with every reason for which a graph cannot be expressed in this form."""

    def pods_of(self, name: str) -> Mapping[str, str]:
        """The labels of a graph's pods."""
        raise NotImplementedError(f"target {self.name} starts no pods")


def target_names() -> list[str]:
    """The names of all that are installed."""
    return sorted(_found())


def find_target(name: str) -> Target:
    """Raises `UserError` for one that is not installed or cannot be imported."""
    found = _found()
    if name not in found:
        known = sorted(found)
        raise UserError(
            f"there is no target {name!r}",
            fix=nearest(name, known) or f"give one of {', '.join(known)}",
        )
    try:
        target: type[Target] = found[name].load()
    except ImportError as error:
        raise UserError(f"target {name} cannot be imported: {error}") from error
    return target()


def _found() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def dashed(name: str) -> str:
    """A name of ours as one that hosts, services and Kubernetes objects can have: `Worker/0` → `worker-0`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def refuse_foreground(plan: Plan, target: str) -> Iterator[str]:
    """One problem for each process that talks to a person."""
    for process in plan.processes:
        if process.foreground:
            yield f"{process.section}: it talks to a person at a terminal, and {target} has none"


def option_of(process: Process, key: str) -> str:
    """The value of a flag in an argv; empty if it is not there."""
    flag, words = f"--{key}", process.argv
    return words[words.index(flag) + 1] if flag in words[:-1] else ""


def told(process: Process, key: str) -> str:
    """A setting with its value and source, for a message: `http-port 9000 (from graph.yaml:7)`."""
    located = process.settings[key]
    return f"{key} {located.value} (from {located.origin})"


def value_of(process: Process, key: str) -> str:
    """The value of a setting; empty if the component has no such setting, or none is given."""
    located = process.settings.get(key)
    return "" if located is None or located.value is None else str(located.value)


def hidden_names(process: Process) -> list[str]:
    """The variables whose values are in no file."""
    return sorted({*process.secrets, *filter(is_secret_variable, process.env)})


def hidden_values(process: Process) -> list[str]:
    """What is in no file."""
    return [*process.secrets.values(), *(v for name, v in process.env.items() if is_secret_variable(name))]
