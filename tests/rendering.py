"""Examples as targets, read back: what the tests of all targets share."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from dynamo_core.args.parser import Values
from dynamo_core.deploy.describe import Description, describe, describe_here
from dynamo_core.deploy.gpus import Gpu, Inventory
from dynamo_core.deploy.graph import GraphConfig, read_graph
from dynamo_core.deploy.plan import make_plan
from dynamo_core.deploy.process import Plan
from dynamo_core.deploy.site import HERE
from dynamo_core.targets import Files, Rendering, find_target

ROOT = Path(__file__).resolve().parents[1]
GRAPHS = sorted(
    path
    for engine in ("vllm", "sglang", "trtllm", "mocker")
    for path in (ROOT / "examples" / engine).glob("*.yaml")
)
SCHEMAS = Path(__file__).with_name("schemas")
PLANNED: dict[tuple[str, str], Plan] = {}
"""The plans of examples by file and kind of site."""


def name_of(path: Path) -> str:
    """`mocker/agg`."""
    return f"{path.parent.name}/{path.stem}"


def graph_of(path: Path) -> GraphConfig:
    """An example with an image."""
    return read_graph(path, ["--Common.container.image=registry.example/dynamo:1.0"])


def eight_gpus() -> Inventory:
    """A double: this machine has none."""
    return Inventory(tuple(Gpu(str(index), f"GPU-{index}") for index in range(8)))


async def ask_here(component: str, python: str, values: Values, env: Mapping[str, str]) -> Description:
    """Describe a component in this process, if it can be imported here: tests make many plans."""
    if env or python != sys.executable or component.endswith(".py") or not find_spec(component):
        return await describe(component, python, values, env)
    return describe_here(component, values)


def plan_of(graph: GraphConfig, target: str | None) -> Plan:
    """For a target, or for this machine."""
    site = HERE if target is None else find_target(target).site()
    key = (graph.source, repr(dataclasses.replace(site, name="", addresses=None)))
    if graph.source not in map(str, GRAPHS):
        return make_plan(graph, ask=ask_here, inventory=eight_gpus, site=site)
    if key not in PLANNED:
        PLANNED[key] = make_plan(graph, ask=ask_here, inventory=eight_gpus, site=site)
    return PLANNED[key]


def rendered(graph: GraphConfig, target: str) -> Files:
    """The files of a graph called `g`."""
    return find_target(target).render(Rendering(plan_of(graph, target), "g", f"dynamo render {target}"))


def objects(files: Files) -> list[dict[str, Any]]:
    """Every document of YAML files."""
    return [one for text in files.values() for one in yaml.safe_load_all(text)]


def commands(target: str, files: Files) -> Iterator[tuple[str, list[str]]]:
    """The section and argv of each component as the files have them, read by each form's own rules."""
    if target in CONTAINERS:
        for name, container in CONTAINERS[target](files):
            words = [*container["command"], *container["args"]]
            yield name, [word.replace("$$(", "$(") for word in words]
    elif target == "compose":
        for name, service in yaml.safe_load(files["compose.yaml"])["services"].items():
            yield name.rpartition("-")[0], [word.replace("$$", "$") for word in service["command"]]
    elif target == "procfile":
        for line in files["Procfile"].splitlines()[2:]:
            name, _, command = line.partition(": ")
            script = 'printf "%s\\0" "$@"'
            done = subprocess.run(
                ["/bin/bash", "-c", command.replace("exec ", "set -- ", 1) + f"; {script}"],
                capture_output=True,
                text=True,
                check=True,
            )
            yield name.rpartition("-")[0], done.stdout.split("\0")[:-1]
    elif target == "systemd":
        for file, text in files.items():
            if file.endswith(".service"):
                (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
                words = line.removeprefix("ExecStart=").strip('"').split('" "')
                yield file.removeprefix("g-").rpartition("-")[0], [word.replace("%%", "%") for word in words]
    elif target == "slurm":
        for line in files["g.sbatch"].splitlines():
            if line.startswith("start "):
                _, name, _, _, *words = shlex.split(line)
                yield name.rpartition("-")[0], words


Containers = Iterator[tuple[str, dict[str, Any]]]
"""Sections with the containers that run them."""


def _of_kubernetes(files: Files) -> Containers:
    return _of_deployments(objects(files))


def _of_production_stack(files: Files) -> Containers:
    return _of_deployments(yaml.safe_load(files["values.yaml"])["extraObjects"])


def _of_deployments(found: list[dict[str, Any]]) -> Containers:
    for one in found:
        if one["kind"] == "Deployment":
            (container,) = one["spec"]["template"]["spec"]["containers"]
            yield one["metadata"]["labels"]["app.kubernetes.io/name"], container


def _of_dynamo(files: Files) -> Containers:
    for component in yaml.safe_load(files["g.yaml"])["spec"]["components"]:
        (container,) = component["podTemplate"]["spec"]["containers"]
        yield component["name"], container


def _of_dynamo_alpha(files: Files) -> Containers:
    for name, service in yaml.safe_load(files["g.yaml"])["spec"]["services"].items():
        yield name, service["extraPodSpec"]["mainContainer"]


def _of_aibrix(files: Files) -> Containers:
    (service,) = (one for one in objects(files) if one["kind"] == "StormService")
    for role in service["spec"]["template"]["spec"]["roles"]:
        (container,) = role["template"]["spec"]["containers"]
        yield role["name"], container


def _of_kserve(files: Files) -> Containers:
    for container in yaml.safe_load(files["g.yaml"])["spec"]["template"]["containers"]:
        yield {"main": "frontend"}.get(container["name"], container["name"]), container


def _of_llm_d(files: Files) -> Containers:
    for container in yaml.safe_load(files["values.yaml"])["decode"]["containers"]:
        yield container["name"], container


CONTAINERS: dict[str, Callable[[Files], Containers]] = {
    "aibrix": _of_aibrix,
    "dynamo": _of_dynamo,
    "dynamo-v1alpha1": _of_dynamo_alpha,
    "kserve": _of_kserve,
    "kubernetes": _of_kubernetes,
    "llm-d": _of_llm_d,
    "production-stack": _of_production_stack,
}
"""Where each target that runs pods keeps its containers."""
ONE_POD = ("kserve", "llm-d")
"""Those whose pods are a frontend and a worker."""
IN_IMAGES = ("compose", *CONTAINERS)
