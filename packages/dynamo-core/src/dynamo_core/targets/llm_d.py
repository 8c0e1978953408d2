"""Values for llm-d's modelservice chart: pods that hold a frontend and a worker, for llm-d's own scheduler.

The chart knows its parts by name and passes the rest of a container through `extraConfig`, where it replaces
what stands in double braces.
"""

from __future__ import annotations

from dynamo_core.deploy.site import Site
from dynamo_core.targets.image import as_yaml
from dynamo_core.targets.kserve import problems_of_model, uri_of
from dynamo_core.targets.one_pod import Pod, pod_site
from dynamo_core.targets.pods import Object
from dynamo_core.targets.production_stack import for_helm
from dynamo_core.targets.target import Files, Rendering, Target

PASSED_ON = ("lifecycle", "securityContext", "imagePullPolicy")
"""Keys of a container that the chart has no place for, or only an old one."""


class LlmD(Target):
    name = "llm-d"
    summary = "values for the Helm chart of llm-d's modelservice"

    def site(self) -> Site:
        return pod_site(self.name)

    def render(self, rendering: Rendering) -> Files:
        plan = rendering.plan
        pod = Pod.of(plan, "llm-d", list(problems_of_model(plan)))
        spec = pod.spec([_container(one) for one in pod.containers("frontend")])
        account = spec.pop("serviceAccountName", None)  # which the chart writes itself
        decode: Object = {
            "create": True,
            "replicas": pod.worker.replicas,
            "containers": spec.pop("containers"),
            "volumes": spec.pop("volumes"),
            "terminationGracePeriodSeconds": spec.pop("terminationGracePeriodSeconds"),
        }
        for key in ("nodeSelector", "tolerations"):
            if key in spec:
                decode[key] = spec.pop(key)
        if pod.worker.container.annotations:
            decode["podAnnotations"] = dict(pod.worker.container.annotations)
        artifacts: Object = {"name": pod.model_name, "uri": uri_of(pod.worker)}
        if labels := pod.worker.container.labels:
            artifacts["labels"] = {"llm-d.ai/inference-serving": "true", **labels}
        values: Object = {
            "multinode": False,
            "modelArtifacts": artifacts,
            "routing": {"servicePort": pod.http_port, "proxy": {"enabled": False}},
            # Otherwise the chart adds a GPU to every container, to the frontend's as well.
            "accelerator": {"type": "cpu"},
            "decode": {**decode, "extraConfig": for_helm(spec)},
            "prefill": {"create": False},
        }
        if account:
            values["serviceAccountOverride"] = account
        return {"values.yaml": rendering.header() + as_yaml([values])}


def _container(container: Object) -> Object:
    found = {key: value for key, value in container.items() if key not in PASSED_ON}
    passed_on = {key: container[key] for key in PASSED_ON if key in container}
    return {
        **found,
        "modelCommand": "custom",
        "env": for_helm(found["env"]),
        "extraConfig": for_helm(passed_on),
    }
