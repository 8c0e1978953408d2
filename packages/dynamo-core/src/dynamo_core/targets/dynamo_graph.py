"""A DynamoGraphDeployment: what Dynamo's Kubernetes operator turns into pods, services and rights.

The operator brings defaults of its own into each pod (variables, probes, an account, a service); what stands
in the resource counts more. Read from its public source and from the resource's own schema; the rules that a
schema cannot hold are checked here.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError
from dynamo_core.targets.image import as_yaml
from dynamo_core.targets.kubernetes import component_autoscaler, meta
from dynamo_core.targets.pods import (
    GPU,
    Object,
    cluster_site,
    container_of,
    pod_spec,
    problems_in_pods,
)
from dynamo_core.targets.target import Files, Rendering, Target, dashed, option_of, told, value_of

MAX_COMPONENTS = 25
MAX_NAMES = 45
"""Characters of a graph's and a component's name together; the operator's Grove refuses more."""
HTTP_PORT = 8000
"""Where the operator's Service and its own probes expect a frontend."""
GLOBAL_NAMESPACE = "dynamo"
SCALING_ADAPTER = {"apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeploymentScalingAdapter"}
"""What the operator makes for a component that others scale, called `GRAPH-COMPONENT`."""
SCALERS = (("autoscaling/v2", "HorizontalPodAutoscaler"), ("keda.sh/v1alpha1", "ScaledObject"))


class DynamoGraph(Target):
    name = "dynamo"
    summary = "a DynamoGraphDeployment for Dynamo's operator"
    version = "v1beta1"
    kinds = (("nvidia.com/v1beta1", "DynamoGraphDeployment"), *SCALERS)

    def site(self) -> Site:
        return cluster_site(self.name)

    def render(self, rendering: Rendering) -> Files:
        if problems := list(_problems(rendering)):
            raise UserError("\n".join(problems))
        graph: Object = {
            "apiVersion": f"nvidia.com/{self.version}",
            "kind": "DynamoGraphDeployment",
            "metadata": meta(rendering.name, rendering.name),
        }
        if all(option_of(process, "discovery-backend") == "etcd" for process in rendering.plan.processes):
            graph["metadata"]["annotations"] = {"nvidia.com/dynamo-discovery-backend": "etcd"}
        graph["spec"] = self.spec(rendering.plan)
        scalers = [
            component_autoscaler(rendering.name, process, wanted, SCALING_ADAPTER)
            for process in rendering.plan.processes
            if (wanted := process.container.autoscale)
        ]
        return {f"{rendering.name}.yaml": rendering.header() + as_yaml([graph, *scalers])}

    def pods_of(self, name: str) -> Mapping[str, str]:
        return {"nvidia.com/dynamo-graph-deployment-name": name}

    def spec(self, plan: Plan) -> Object:
        """The part that differs from version to version."""
        return {"components": [_component(process, plan) for process in plan.processes]}


class DynamoGraphAlpha(DynamoGraph):
    name = "dynamo-v1alpha1"
    summary = "the same in the older form, for an operator before v1beta1"
    version = "v1alpha1"
    kinds = (("nvidia.com/v1alpha1", "DynamoGraphDeployment"), *SCALERS)

    def spec(self, plan: Plan) -> Object:
        return {"services": {dashed(process.section): _service(process, plan) for process in plan.processes}}


def _problems(rendering: Rendering) -> Iterator[str]:
    plan = rendering.plan
    yield from problems_in_pods(plan, "the operator")
    if len(plan.processes) > MAX_COMPONENTS:
        yield (
            f"the graph has {len(plan.processes)} components, and the operator takes {MAX_COMPONENTS}\n"
            "  fix: render several graphs, or the target kubernetes"
        )
    for process in plan.processes:
        names = (rendering.name, dashed(process.section))
        if sum(map(len, names)) > MAX_NAMES:
            yield (
                f"{process.section}: the names {' and '.join(names)} have more than {MAX_NAMES} characters "
                "together, which the operator refuses\n  fix: give a shorter --name"
            )
        if process.role == "frontend" and process.ports.get("http-port", HTTP_PORT) != HTTP_PORT:
            yield (
                f"{process.section}: {told(process, 'http-port')}, and the operator looks for a frontend at "
                f"{HTTP_PORT}\n  fix: leave http-port out, or give {HTTP_PORT}"
            )


def _component(process: Process, plan: Plan) -> Object:
    container = process.container
    found: Object = {
        "name": dashed(process.section),
        "type": _type(process),
        "replicas": process.replicas,
        **({"scalingAdapter": {}} if container.autoscale else {}),
        "runtimeVersionOverride": _runtime_version(),
    }
    if container.shared_memory:
        found["sharedMemorySize"] = container.shared_memory
    template: Object = {"spec": _pod(process, [_main(process, plan)])}
    if metadata := _pod_metadata(process):
        template = {"metadata": metadata, **template}
    return {**found, "podTemplate": template}


def _service(process: Process, plan: Plan) -> Object:
    container, kind = process.container, _type(process)
    is_half = kind in ("prefill", "decode")
    found: Object = {
        "componentType": "worker" if is_half else kind,
        **({"subComponentType": kind} if is_half else {}),
        "replicas": process.replicas,
        **({"scalingAdapter": {"enabled": True}} if container.autoscale else {}),
        "runtimeVersionOverride": _runtime_version(),
    }
    if container.shared_memory:
        found["sharedMemory"] = {"size": container.shared_memory}
    main = _main(process, plan)
    if resources := main.pop("resources", None):
        found["resources"] = {
            key: {"gpu" if name == GPU else name: value for name, value in values.items()}
            for key, values in resources.items()
        }
    if metadata := _pod_metadata(process):
        found["extraPodMetadata"] = metadata
    return {**found, "extraPodSpec": {**_pod(process, []), "mainContainer": main}}


def _type(process: Process) -> str:
    return process.role or "worker"


def _runtime_version() -> str:
    """The operator reads it off the image's tag otherwise, and refuses tags that are none of its versions."""
    return importlib.metadata.version("ai-dynamo-runtime")


def _pod_metadata(process: Process) -> Object:
    own = {"labels": process.container.labels, "annotations": process.container.annotations}
    return {key: dict(values) for key, values in own.items() if values}


def _pod(process: Process, containers: list[Object]) -> Object:
    """What the operator does not know better: it mounts shared memory and gives an account for discovery."""
    spec = pod_spec([process], containers)
    volumes = [volume for volume in spec.pop("volumes", ()) if volume["name"] != "shm"]
    if not containers:
        del spec["containers"]
    account = process.container.service_account
    return {
        **({"serviceAccountName": account} if account else {}),
        **spec,
        **({"volumes": volumes} if volumes else {}),
    }


def _main(process: Process, plan: Plan) -> Object:
    """The container of a component, with the names that the operator knows its ports by."""
    main = container_of(process)
    names = {"status": "system"}
    main["ports"] = [{**port, "name": names.get(port["name"], port["name"])} for port in main["ports"]]
    mounts = [mount for mount in main.pop("volumeMounts", ()) if mount["name"] != "shm"]
    if mounts:
        main["volumeMounts"] = mounts
    main["env"] += _own_names(process, plan)
    return main


def _own_names(process: Process, plan: Plan) -> Iterator[Object]:
    """The variables that keep the names of a graph its own.

    The operator sets `DYN_COMPONENT` to the type of a component, which would give two workers one address,
    and `DYN_NAMESPACE` to the same for all of a graph. The latter is what a graph wants that names none.
    """
    spaces = {value_of(one, "namespace") for one in plan.processes} - {""}
    keys = ["component"] if spaces <= {GLOBAL_NAMESPACE} else ["component", "namespace"]
    for key in keys:
        value = value_of(process, key)
        if value and not option_of(process, key):
            yield {"name": f"DYN_{key.upper()}", "value": value}
