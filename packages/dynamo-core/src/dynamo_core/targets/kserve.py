"""KServe's LLMInferenceService: its gateway and scheduler in front of pods that hold a frontend and a worker.

What KServe's own templates say about the container `main` is merged with what stands here, key by key;
command and arguments are therefore given both, and probes with their scheme.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.deploy.site import Site
from dynamo_core.targets.image import as_yaml
from dynamo_core.targets.kubernetes import meta
from dynamo_core.targets.one_pod import Pod, pod_site
from dynamo_core.targets.pods import Object
from dynamo_core.targets.target import Files, Rendering, Target, told, value_of

HTTP_PORT = 8000
"""Where KServe's routes and its scheduler expect a pod."""


class KServe(Target):
    name = "kserve"
    summary = "an LLMInferenceService for KServe"
    kinds = (("serving.kserve.io/v1alpha2", "LLMInferenceService"),)

    def site(self) -> Site:
        return pod_site(self.name)

    def render(self, rendering: Rendering) -> Files:
        plan = rendering.plan
        pod = Pod.of(plan, "KServe", list(_problems(plan)))
        service = {
            "apiVersion": "serving.kserve.io/v1alpha2",
            "kind": "LLMInferenceService",
            "metadata": _metadata(rendering.name, pod.worker),
            "spec": {
                "model": {"uri": uri_of(pod.worker), "name": pod.model_name},
                # The worker fetches its model itself; KServe would put it where nothing looks.
                "storageInitializer": {"enabled": False},
                "replicas": pod.worker.replicas,
                "router": {"gateway": {}, "route": {}, "scheduler": {}},
                "template": pod.spec(pod.containers("main")),
            },
        }
        return {f"{rendering.name}.yaml": rendering.header() + as_yaml([service])}

    def pods_of(self, name: str) -> Mapping[str, str]:
        return {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "llminferenceservice"}


def _problems(plan: Plan) -> Iterator[str]:
    for process in plan.processes:
        if process.role == "frontend" and process.ports.get("http-port", HTTP_PORT) != HTTP_PORT:
            yield (
                f"{process.section}: {told(process, 'http-port')}, and KServe's routes lead to {HTTP_PORT}\n"
                f"  fix: leave http-port out, or give {HTTP_PORT}"
            )
    yield from problems_of_model(plan)


def problems_of_model(plan: Plan) -> Iterator[str]:
    """Why what a worker serves cannot be found in a cluster."""
    for process in plan.processes:
        if process.role == "worker" and not uri_of(process):
            yield (
                f"{process.section}: {told(process, 'model')} is a folder that no volume holds\n"
                "  fix: give container: {volumes: {FOLDER: claim:NAME}}, or the model's id"
            )


def uri_of(worker: Process) -> str:
    """Where a worker's model comes from, as KServe and llm-d write it; empty for a folder in no volume."""
    model = value_of(worker, "model")
    if not model.startswith("/"):
        return f"hf://{model}"
    for path, volume in worker.container.volumes.items():
        kind, _, claim = volume.partition(":")
        if kind == "claim" and f"{model}/".startswith(f"{path.rstrip('/')}/"):
            return f"pvc://{claim}/{model.removeprefix(path).strip('/')}"
    return ""


def _metadata(name: str, worker: Process) -> Object:
    found = meta(name, name, worker.container.labels)
    if worker.container.annotations:
        found["annotations"] = dict(worker.container.annotations)
    return found
