"""Where the processes of a plan will run, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dynamo_core.args.origins import Located, Origin
from dynamo_core.deploy.graph import GraphConfig


@dataclass(frozen=True)
class Site:
    """A kind of place. The default is this machine."""

    name: str = ""
    """In the source of what it tells components, as `target kubernetes`."""
    is_here: bool = True
    """Whether it is this machine, whose GPUs are given out by the plan; elsewhere a scheduler does that."""
    is_alike: bool = False
    """Whether replicas are alike to the last word, so that a section is one process and their number."""
    has_own_network: bool = False
    """Whether each process has one, so that all of them can use the same ports. Where replicas are alike and
    this is not so, the components of the graph share one in each replica."""
    has_own_devices: bool = False
    """Whether a process sees no other GPUs than its own, so that nothing has to name them."""
    has_own_environment: bool = False
    """Whether a process sees nothing of the environment of the shell that plans, so that secrets which are
    there alone have to be asked for."""
    has_own_files: bool = False
    """Whether a process sees other files than those of this machine, as in a container."""
    first_port: int = 0
    """Of those that the plan chooses; 0 for ports that are free on this machine."""
    addresses: Iterator[str] | None = field(default=None, compare=False)
    """Where others reach each process, one after the other; as the graph says if None."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What components are told there, by file key. Whatever the user says counts more."""

    @property
    def origin(self) -> Origin:
        """The source of what it tells."""
        return Origin("derived", f"target {self.name}")

    def informed(self, graph: GraphConfig) -> GraphConfig:
        """A graph with what components are told here."""
        told = {key: Located(value, self.origin) for key, value in self.settings.items()}
        return GraphConfig(graph.source, {**told, **graph.common}, graph.sections)


HERE = Site()
