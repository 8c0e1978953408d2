"""AIBrix's StormService: one role for each component, whose pods it starts, scales and updates together.

Services, rights and policies are those of the target `kubernetes`: components find each other as they do
there, and clients reach the graph's own frontend.
"""

from __future__ import annotations

from collections.abc import Iterable

from dynamo_core.deploy.process import Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError
from dynamo_core.targets.kubernetes import GRAPH, Kubernetes, meta, pod_template
from dynamo_core.targets.pods import Object, cluster_site
from dynamo_core.targets.target import Files, Rendering, dashed


class AIBrix(Kubernetes):
    name = "aibrix"
    summary = "a StormService for AIBrix, with services and rights"

    kinds = (("orchestration.aibrix.ai/v1alpha1", "StormService"), *Kubernetes.kinds[1:])

    def site(self) -> Site:
        return cluster_site(self.name)

    def render(self, rendering: Rendering) -> Files:
        scaled = [process.section for process in rendering.plan.processes if process.container.autoscale]
        if scaled:
            raise UserError(
                f"{', '.join(scaled)}: container.autoscale is not written for AIBrix",
                fix="leave it out; AIBrix scales by its own PodAutoscaler",
            )
        return super().render(rendering)

    def workloads(self, rendering: Rendering) -> Iterable[Object]:
        graph = rendering.name
        yield {
            "apiVersion": "orchestration.aibrix.ai/v1alpha1",
            "kind": "StormService",
            "metadata": meta(graph, graph),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {GRAPH: graph}},
                "template": {
                    "metadata": {"labels": {GRAPH: graph}},
                    "spec": {"roles": [_role(graph, process) for process in rendering.plan.processes]},
                },
            },
        }


def _role(graph: str, process: Process) -> Object:
    return {
        "name": dashed(process.section),
        "replicas": process.replicas,
        "stateful": False,
        "disruptionTolerance": {"maxUnavailable": 1},
        # A new pod that wants GPUs may never find any while the old one has them.
        "updateStrategy": {"maxSurge": 0 if process.gpu_count else 1, "maxUnavailable": 1},
        "template": pod_template(graph, process),
    }
