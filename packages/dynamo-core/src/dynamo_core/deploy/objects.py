"""A graph as a Python object.

    # graphs/agg.py; dynamo serve graphs.agg:graph -f overrides.yaml
    from dynamo_core.deploy import Graph
    from dynamo_frontend.frontend import Deployment as Frontend
    from dynamo_vllm.worker import Deployment as VllmWorker

    class Worker(VllmWorker):
        replicas = 2
        engine_options = {"max-model-len": 4096}

    graph = Graph(Frontend, Worker, common={"model": "Qwen/Qwen3-0.6B"})

It says the same as a serve file: each class is a section, and what a subclass declares beyond the
component's own class are the section's values.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dynamo_core.args.origins import Located, Origin
from dynamo_core.deploy.deployment import BaseDeployment
from dynamo_core.errors import UserError

Tree = dict[str, dict[str, Located]]
"""Sections by name, each with its keys."""
REFERENCE = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


class Graph:
    """Components that run together.

    A section is called as its class is, or, if that is just `Deployment`, as the component;
    `Graph(Small=Worker, Large=Worker)` names sections itself. `common` goes to every component that
    knows the key. Raises `TypeError` for what is no deployment class, and for a name given twice.
    """

    def __init__(
        self,
        *components: type[BaseDeployment],
        common: Mapping[str, object] | None = None,
        **named: type[BaseDeployment],
    ) -> None:
        self.common = dict(common or {})
        self.sections: dict[str, type[BaseDeployment]] = {}
        for name, component in [*((None, component) for component in components), *named.items()]:
            if not (isinstance(component, type) and issubclass(component, BaseDeployment)):
                raise TypeError(f"a graph is made of deployment classes, found {component!r}")
            section = name or _section_name(component)
            if section in self.sections:
                raise TypeError(f"two components are called {section}: name them, as in Graph(Other=…)")
            self.sections[section] = component

    def tree(self, source: str) -> Tree:
        """The same as the sections of a serve file; `source` is where the object was found."""
        common = {key: Located(value, Origin("deployment", source)) for key, value in self.common.items()}
        tree: Tree = {"Common": common} if common else {}
        return tree | {name: dict(_keys(component)) for name, component in self.sections.items()}

    def to_kubernetes(self, name: str) -> list[dict[str, Any]]:
        """What `dynamo render kubernetes` writes for it, as objects. Raises `UserError`."""
        from dynamo_core.targets.kubernetes import objects_of

        return objects_of(self, name)


def load_graph(reference: str) -> Graph:
    """The object that `module:name` refers to, found as by `python -m` in this folder.

    Raises `UserError`; an error inside the module keeps its traceback.
    """
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise UserError(f"{reference!r} is no graph", fix="give a YAML file, or module:object")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(match["module"])
    except ModuleNotFoundError as error:
        raise UserError(
            f"{reference}: there is no module {error.name} in {sys.prefix} or {Path.cwd()}",
            fix="start it from the folder that the module's name begins in, or install its package",
        ) from None
    graph = getattr(module, match["name"], None)
    if not isinstance(graph, Graph):
        graphs = [name for name, value in vars(module).items() if isinstance(value, Graph)]
        raise UserError(
            f"{reference}: {match['name']} is no dynamo_core.deploy.Graph",
            fix=f"give one of {', '.join(graphs)}" if graphs else "make one: graph = Graph(Frontend, Worker)",
        )
    return graph


def _section_name(component: type[BaseDeployment]) -> str:
    if component.__name__ != "Deployment":
        return component.__name__
    return "".join(part.capitalize() for part in re.split(r"[-_]", component.name))


def _keys(component: type[BaseDeployment]) -> Iterator[tuple[str, Located]]:
    """The keys of a section: the module that runs, then what subclasses of its own class declare."""
    own = _own_class(component)
    origin = Origin("deployment", f"class {component.__module__}.{component.__qualname__}")
    module = sys.modules[own.__module__]
    path = getattr(module, "__file__", None)
    is_script = own.__module__ == "__main__" or not _can_be_found(own.__module__)
    yield "component", Located(path if is_script and path else own.__module__, origin)
    if component is own:
        return
    declared: dict[str, Any] = {}
    for base in reversed(component.__mro__[: component.__mro__.index(own)]):
        declared |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    for name, value in declared.pop("engine_options", {}).items():
        yield name, Located(value, origin)
    for name, value in declared.items():
        yield name.replace("_", "-"), Located(dict(value) if isinstance(value, Mapping) else value, origin)


def _own_class(component: type[BaseDeployment]) -> type[BaseDeployment]:
    """The class that stands in the component's own file, which has a `main`."""
    for base in component.__mro__:
        if issubclass(base, BaseDeployment) and hasattr(sys.modules[base.__module__], "main"):
            return base
    raise UserError(
        f"{component.__module__}.{component.__qualname__} belongs to no component: neither its module nor "
        "that of a class above it has a main",
        fix="derive it from the Deployment of the component's own module",
    )


def _can_be_found(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
