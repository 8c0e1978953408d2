"""Plain Kubernetes objects: what any cluster takes, without an operator.

Components find each other through the API server. For that the runtime keeps a custom resource for each pod,
`DynamoWorkerMetadata`, and watches the EndpointSlices of services with its labels; `crd.yaml` defines the
resource for clusters that do not have it from Dynamo's operator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError
from dynamo_core.targets.image import STOP_MARGIN, as_yaml, command_of, problems_of
from dynamo_core.targets.kubernetes_discovery import DISCOVERED, discovery_account, metadata_resource
from dynamo_core.targets.target import Files, Rendering, Target, dashed, hidden_names, option_of

Object = dict[str, Any]

ADDRESS = "$(POD_IP)"
"""Kubernetes replaces it in an argv by the variable of this name, which each pod gets."""
GRAPH, COMPONENT = "app.kubernetes.io/part-of", "app.kubernetes.io/name"
GPU = "nvidia.com/gpu"
LEAVING = 5
"""Seconds from the moment that a pod is to end until its component hears of it: services forget it first."""
PROBE_PERIOD = 5
_VOLUMES: Mapping[str, Callable[[str], Object]] = {
    "claim": lambda name: {"persistentVolumeClaim": {"claimName": name}},
    "host": lambda path: {"hostPath": {"path": path}},
    "memory": lambda _: {"emptyDir": {"medium": "Memory"}},
    "scratch": lambda _: {"emptyDir": {}},
}


class Kubernetes(Target):
    name = "kubernetes"
    summary = "plain objects for kubectl apply"

    def site(self) -> Site:
        return cluster_site("kubernetes")

    def render(self, rendering: Rendering) -> Files:
        if problems := list(problems_of(rendering.plan, "Kubernetes")):
            raise UserError("\n".join(problems))
        objects = list(_objects(rendering))
        files = {f"{rendering.name}.yaml": rendering.header() + as_yaml(objects)}
        if _is_discovered(rendering.plan):
            files["crd.yaml"] = (
                rendering.header()
                + "# Only for a cluster that does not have it yet; Dynamo's operator brings its own.\n"
                + as_yaml([metadata_resource()])
            )
        return files


def cluster_site(name: str) -> Site:
    """Where each replica is a pod."""
    return Site(
        name,
        is_here=False,
        is_alike=True,
        has_own_network=True,
        has_own_environment=True,
        has_own_devices=True,
        first_port=9090,
        addresses=itertools.repeat(ADDRESS),
        settings={"discovery-backend": "kubernetes", "status-host": "0.0.0.0", "http-host": "0.0.0.0"},
    )


def _objects(rendering: Rendering) -> Iterable[Object]:
    graph, plan = rendering.name, rendering.plan
    if _is_discovered(plan) and not all(process.container.service_account for process in plan.processes):
        yield from discovery_account(f"{graph}-discovery", _meta(graph, graph)["labels"])
    yield from _network_policies(rendering)
    for process in plan.processes:
        yield _deployment(graph, process)
        yield _service(graph, process)
        if process.replicas > 1:
            yield _disruption_budget(graph, process)


def _is_discovered(plan: Plan) -> bool:
    return any(option_of(process, "discovery-backend") == "kubernetes" for process in plan.processes)


def object_name(graph: str, process: Process) -> str:
    return f"{graph}-{dashed(process.section)}"


def _selector(graph: str, process: Process) -> dict[str, str]:
    return {GRAPH: graph, COMPONENT: dashed(process.section)}


def _meta(graph: str, name: str, labels: Mapping[str, str] | None = None) -> Object:
    return {
        "name": name,
        "labels": {GRAPH: graph, "app.kubernetes.io/managed-by": "dynamo", **(labels or {})},
    }


def _deployment(graph: str, process: Process) -> Object:
    selector, container = _selector(graph, process), process.container
    meta: Object = {"labels": {**container.labels, **selector}}
    if container.annotations:
        meta["annotations"] = dict(container.annotations)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(graph, object_name(graph, process), selector),
        "spec": {
            "replicas": process.replicas,
            "selector": {"matchLabels": selector},
            # A new pod that wants GPUs may never find any while the old one has them.
            "strategy": {"rollingUpdate": {"maxSurge": 0 if process.gpu_count else 1, "maxUnavailable": 1}},
            "progressDeadlineSeconds": int(process.start_timeout or 600) + 60,
            "template": {"metadata": meta, "spec": pod_spec(graph, process)},
        },
    }


def pod_spec(graph: str, process: Process) -> Object:
    """A pod for one replica."""
    container = process.container
    looks = option_of(process, "discovery-backend") == "kubernetes"
    account = container.service_account or (f"{graph}-discovery" if looks else None)
    spec: Object = {
        **({"serviceAccountName": account} if account else {"automountServiceAccountToken": False}),
        "terminationGracePeriodSeconds": int(LEAVING + process.drain_timeout + STOP_MARGIN),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [main_container(process)],
    }
    if container.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in container.image_pull_secrets]
    if container.node_selector:
        spec["nodeSelector"] = dict(container.node_selector)
    if container.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in container.tolerations]
    if volumes := list(_volumes(process)):
        spec["volumes"] = [volume for volume, _ in volumes]
    return spec


def main_container(process: Process) -> Object:
    """The container that runs the component, with the argv of the plan."""
    container = process.container
    found: Object = {"name": "main", "image": container.image}
    if container.image_pull_policy:
        found["imagePullPolicy"] = container.image_pull_policy
    found |= {"command": list(map(_literal, command_of(process))), "env": list(_environment(process))}
    if resources := _resources(process):
        found["resources"] = resources
    found["ports"] = [{"name": _port_name(key), "containerPort": port} for key, port in process.ports.items()]
    found |= _probes(process)
    found["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    if mounts := [mount for _, mount in _volumes(process)]:
        found["volumeMounts"] = mounts
    return found


def _literal(text: str) -> str:
    """With what Kubernetes would replace kept as it is, but for the address of the pod."""
    return text if text == ADDRESS else text.replace("$(", "$$(")


def _environment(process: Process) -> Iterable[Object]:
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_UID": "metadata.uid",
        "POD_IP": "status.podIP",
    }
    for name, path in fields.items():
        yield {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    hidden = hidden_names(process)
    for name, value in process.env.items():
        if name not in hidden:
            yield {"name": name, "value": _literal(value)}
    for name, secret in process.container.secrets.items():
        secret_name, _, key = secret.partition("/")
        yield {"name": name, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}}


def _resources(process: Process) -> Object:
    wanted = {name: str(value) for name, value in process.resources.items() if name != "gpu"}
    limits = {"memory": wanted["memory"]} if "memory" in wanted else {}
    if process.gpu_count:
        limits[GPU] = str(process.gpu_count)
    return {key: value for key, value in (("requests", wanted), ("limits", limits)) if value}


def _probes(process: Process) -> Object:
    """Ready means what it means locally; alive, that the process answers at all."""
    if not process.ready_key:
        return {}
    port, is_secure = process.ports[process.ready_key], process.ready_url.startswith("https:")
    get: Object = {"path": "/health", "port": port, **({"scheme": "HTTPS"} if is_secure else {})}
    seconds = process.start_timeout or 600
    return {
        "startupProbe": {
            "httpGet": {**get, "path": "/live"},
            "periodSeconds": PROBE_PERIOD,
            "failureThreshold": max(1, round(seconds / PROBE_PERIOD)),
        },
        "readinessProbe": {"httpGet": get, "periodSeconds": PROBE_PERIOD, "timeoutSeconds": 3},
        "livenessProbe": {"httpGet": {**get, "path": "/live"}, "periodSeconds": 10, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVING}}},
    }


def _volumes(process: Process) -> Iterable[tuple[Object, Object]]:
    """Volumes with their mounts."""
    container = process.container
    if container.shared_memory:
        source = {"emptyDir": {"medium": "Memory", "sizeLimit": container.shared_memory}}
        yield {"name": "shm", **source}, {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108
    for number, (path, volume) in enumerate(container.volumes.items()):
        kind, _, name = volume.partition(":")
        yield (
            {"name": f"volume-{number}", **_VOLUMES[kind](name)},
            {"name": f"volume-{number}", "mountPath": path},
        )


def _service(graph: str, process: Process) -> Object:
    """Where clients reach a frontend; for the others, what tells the runtime which pods are ready."""
    selector = _selector(graph, process)
    spec: Object = {"selector": selector}
    if not process.address:
        spec["clusterIP"] = "None"
    if process.ready_key:
        port = process.ports[process.ready_key]
        spec["ports"] = [{"name": _port_name(process.ready_key), "port": port, "targetPort": port}]
    is_found = option_of(process, "discovery-backend") == "kubernetes" and not process.address
    labels = {**selector, **(DISCOVERED if is_found else {})}
    meta = _meta(graph, object_name(graph, process), labels)
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _port_name(key: str) -> str:
    """At most 15 characters, as Kubernetes has it."""
    return key.removesuffix("-port")[:15].strip("-")


def _disruption_budget(graph: str, process: Process) -> Object:
    selector = _selector(graph, process)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(graph, object_name(graph, process), selector),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}},
    }


def _network_policies(rendering: Rendering) -> Iterable[Object]:
    """Everyone reaches the port of what is for clients; all else is among the pods of the graph, since the
    runtime's own connections know no passwords."""
    graph = rendering.name
    ours = {GRAPH: graph}
    yield _policy(_meta(graph, graph), ours, {"from": [{"podSelector": {"matchLabels": dict(ours)}}]})
    for process in rendering.plan.processes:
        if process.address:
            selector = _selector(graph, process)
            meta = _meta(graph, object_name(graph, process), selector)
            yield _policy(meta, selector, {"ports": [{"port": process.ports[process.ready_key]}]})


def _policy(meta: Object, selector: Mapping[str, str], rule: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta,
        "spec": {
            "podSelector": {"matchLabels": dict(selector)},
            "policyTypes": ["Ingress"],
            "ingress": [rule],
        },
    }
