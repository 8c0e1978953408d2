"""Plain Kubernetes objects: what any cluster takes, without an operator.

Components find each other through the API server. For that the runtime keeps a custom resource for each pod,
`DynamoWorkerMetadata`, and watches the EndpointSlices of services with its labels; `crd.yaml` defines the
resource for clusters that do not have it from Dynamo's operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import yaml

from dynamo_core.deploy.container import Autoscale
from dynamo_core.deploy.graph import configure
from dynamo_core.deploy.objects import Graph
from dynamo_core.deploy.plan import make_plan
from dynamo_core.deploy.process import Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError
from dynamo_core.targets.autoscaling import autoscaler
from dynamo_core.targets.image import as_yaml
from dynamo_core.targets.kubernetes_discovery import DISCOVERED, discovery_account, metadata_resource
from dynamo_core.targets.pods import (
    Object,
    cluster_site,
    container_of,
    is_discovered,
    pod_spec,
    port_name,
    problems_in_pods,
)
from dynamo_core.targets.target import Files, Rendering, Target, dashed, option_of

GRAPH, COMPONENT = "app.kubernetes.io/part-of", "app.kubernetes.io/name"
MANAGED_BY = {"app.kubernetes.io/managed-by": "dynamo"}
"""The label of everything that is applied here; what has it and is in no graph any more is deleted."""
RBAC = "rbac.authorization.k8s.io/v1"


class Kubernetes(Target):
    name = "kubernetes"
    summary = "plain objects for kubectl apply"
    kinds: ClassVar[Sequence[tuple[str, str]]] = (
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("policy/v1", "PodDisruptionBudget"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        (RBAC, "RoleBinding"),
        (RBAC, "Role"),
        ("v1", "ServiceAccount"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("keda.sh/v1alpha1", "ScaledObject"),
    )

    def site(self) -> Site:
        return cluster_site("kubernetes")

    def render(self, rendering: Rendering) -> Files:
        if problems := list(problems_in_pods(rendering.plan, "Kubernetes")):
            raise UserError("\n".join(problems))
        text = rendering.header() + as_yaml(self.objects(rendering))
        return {f"{rendering.name}.yaml": text, **self.definition(rendering)}

    def definition(self, rendering: Rendering) -> Files:
        """The file with the runtime's own resource, if the graph needs it."""
        if not is_discovered(rendering.plan):
            return {}
        comment = "# Only for a cluster that does not have it yet; Dynamo's operator brings its own.\n"
        return {"crd.yaml": rendering.header() + comment + as_yaml([metadata_resource()])}

    def objects(self, rendering: Rendering) -> Iterable[Object]:
        """Every object of a graph but the definition of the runtime's own resource."""
        graph, plan = rendering.name, rendering.plan
        if is_discovered(plan) and not all(process.container.service_account for process in plan.processes):
            yield from discovery_account(f"{graph}-discovery", meta(graph, graph)["labels"])
        yield from _network_policies(rendering)
        yield from (_service(graph, process) for process in plan.processes)
        yield from self.workloads(rendering)

    def pods_of(self, name: str) -> Mapping[str, str]:
        return {GRAPH: name}

    def workloads(self, rendering: Rendering) -> Iterable[Object]:
        """What starts the pods."""
        for process in rendering.plan.processes:
            yield _deployment(rendering.name, process)
            wanted = process.container.autoscale
            if wanted:
                subject = {"apiVersion": "apps/v1", "kind": "Deployment"}
                yield component_autoscaler(rendering.name, process, wanted, subject)
            if process.replicas > 1 or (wanted and wanted.max > 1):
                yield _disruption_budget(rendering.name, process)


def object_name(graph: str, process: Process) -> str:
    """Of what belongs to one component."""
    return f"{graph}-{dashed(process.section)}"


def selector_of(graph: str, process: Process) -> dict[str, str]:
    """The labels of a component's pods."""
    return {GRAPH: graph, COMPONENT: dashed(process.section)}


def meta(graph: str, name: str, labels: Mapping[str, str] | None = None) -> Object:
    """What every object has."""
    return {
        "name": name,
        "labels": {GRAPH: graph, **MANAGED_BY, **(labels or {})},
    }


def _deployment(graph: str, process: Process) -> Object:
    selector = selector_of(graph, process)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta(graph, object_name(graph, process), selector),
        "spec": {
            # What an autoscaler sets is not ours to set again with every change.
            **({} if process.container.autoscale else {"replicas": process.replicas}),
            "selector": {"matchLabels": selector},
            # A new pod that wants GPUs may never find any while the old one has them.
            "strategy": {"rollingUpdate": {"maxSurge": 0 if process.gpu_count else 1, "maxUnavailable": 1}},
            "progressDeadlineSeconds": int(process.start_timeout or 600) + 60,
            "template": pod_template(graph, process),
        },
    }


def component_autoscaler(graph: str, process: Process, wanted: Autoscale, subject: Object) -> Object:
    """What scales a component, called like what it scales."""
    name = object_name(graph, process)
    return autoscaler(meta(graph, name, selector_of(graph, process)), wanted, {**subject, "name": name})


def pod_template(graph: str, process: Process) -> Object:
    """A pod for one replica, with the labels that the graph's own objects select by."""
    container = process.container
    metadata: Object = {"labels": {**container.labels, **selector_of(graph, process)}}
    if container.annotations:
        metadata["annotations"] = dict(container.annotations)
    looks = option_of(process, "discovery-backend") == "kubernetes"
    account = container.service_account or (f"{graph}-discovery" if looks else None)
    identity = {"serviceAccountName": account} if account else {"automountServiceAccountToken": False}
    return {"metadata": metadata, "spec": {**identity, **pod_spec([process], [container_of(process)])}}


def _service(graph: str, process: Process) -> Object:
    """Where clients reach a frontend; for the others, what tells the runtime which pods are ready."""
    selector = selector_of(graph, process)
    spec: Object = {"selector": selector}
    if not process.address:
        spec["clusterIP"] = "None"
    if process.ready_key:
        port = process.ports[process.ready_key]
        spec["ports"] = [{"name": port_name(process.ready_key), "port": port, "targetPort": port}]
    is_found = option_of(process, "discovery-backend") == "kubernetes" and not process.address
    labels = {**selector, **(DISCOVERED if is_found else {})}
    metadata = meta(graph, object_name(graph, process), labels)
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _disruption_budget(graph: str, process: Process) -> Object:
    selector = selector_of(graph, process)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta(graph, object_name(graph, process), selector),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}},
    }


def _network_policies(rendering: Rendering) -> Iterable[Object]:
    """Everyone reaches the port of what is for clients; all else is among the pods of the graph, since the
    runtime's own connections know no passwords."""
    graph = rendering.name
    ours = {GRAPH: graph}
    yield _policy(meta(graph, graph), ours, {"from": [{"podSelector": {"matchLabels": dict(ours)}}]})
    for process in rendering.plan.processes:
        selector = selector_of(graph, process)
        if process.address:
            metadata = meta(graph, object_name(graph, process), selector)
            yield _policy(metadata, selector, {"ports": [{"port": process.ports[process.ready_key]}]})
        space, port = process.container.scraped_from, process.ports.get("status-port")
        if space and port:
            metadata = meta(graph, f"{object_name(graph, process)}-metrics", selector)
            there = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space}}}
            yield _policy(metadata, selector, {"from": [there], "ports": [{"port": port}]})


def _policy(metadata: Object, selector: Mapping[str, str], rule: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": dict(selector)},
            "policyTypes": ["Ingress"],
            "ingress": [rule],
        },
    }


def objects_of(graph: Graph, name: str) -> list[Object]:
    """The objects of a Python graph, as `dynamo render kubernetes` writes them. Raises `UserError`."""
    target = Kubernetes()
    plan = make_plan(configure(name, Path(), graph.tree(name), []), site=target.site())
    files = target.render(Rendering(plan, name, f"Graph.to_kubernetes({name!r})"))
    return [one for text in files.values() for one in yaml.safe_load_all(text)]
