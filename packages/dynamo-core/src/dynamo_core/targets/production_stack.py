"""Values for vLLM production-stack's Helm chart: its router in front of a graph.

The chart's own engine is `vllm serve` and nothing else, so it is switched off; the graph comes as the chart's
extra objects, the same as those of the target `kubernetes`, and the router sends requests to its frontend.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError
from dynamo_core.targets.image import as_yaml
from dynamo_core.targets.kubernetes import Kubernetes, object_name
from dynamo_core.targets.pods import cluster_site, problems_in_pods
from dynamo_core.targets.target import Files, Rendering, value_of


class ProductionStack(Kubernetes):
    name = "production-stack"
    summary = "values for the Helm chart of vLLM production-stack"
    kinds = ()

    def site(self) -> Site:
        return cluster_site(self.name)

    def render(self, rendering: Rendering) -> Files:
        plan = rendering.plan
        if problems := [*problems_in_pods(plan, "production-stack"), *_problems(plan)]:
            raise UserError("\n".join(problems))
        backends = [
            (f"http://{object_name(rendering.name, frontend)}:{frontend.ports[frontend.ready_key]}", model)
            for frontend in _frontends(plan)
            for model in model_names(plan)
        ]
        values = {
            "servingEngineSpec": {"enableEngine": False},
            "routerSpec": {
                "enableRouter": True,
                "serviceDiscovery": "static",
                "staticBackends": ",".join(url for url, _ in backends),
                "staticModels": ",".join(model for _, model in backends),
                "routingLogic": "roundrobin",
            },
            "extraObjects": [for_helm(one) for one in self.objects(rendering)],
        }
        return {"values.yaml": rendering.header() + as_yaml([values]), **self.definition(rendering)}


def _problems(plan: Plan) -> Iterator[str]:
    frontends = list(_frontends(plan))
    if not frontends:
        yield (
            "the graph has no frontend, and production-stack's router speaks HTTP to one\n"
            "  fix: add a section with component: dynamo_frontend"
        )
    for frontend in frontends:
        if frontend.address.startswith("https:"):
            yield (
                f"{frontend.section}: it speaks TLS, and production-stack's router would not trust it\n"
                "  fix: leave tls-cert-path out; the chart's ingress can end TLS"
            )
    for name in model_names(plan):
        if "," in name:
            yield (
                f"the model {name!r} has a comma, which separates models in staticModels\n"
                "  fix: give another served-model-name"
            )


def _frontends(plan: Plan) -> Iterator[Process]:
    return (process for process in plan.processes if process.role == "frontend")


def model_names(plan: Plan) -> list[str]:
    """The models that a graph serves, as clients ask for them."""
    names = (
        value_of(process, "served-model-name") or value_of(process, "model") for process in plan.processes
    )
    return list(dict.fromkeys(filter(None, names)))


def for_helm(value: Any) -> Any:
    """With the braces that Helm would replace kept as they are."""
    if isinstance(value, dict):
        return {key: for_helm(one) for key, one in value.items()}
    if isinstance(value, list):
        return [for_helm(one) for one in value]
    return value.replace("{{", '{{ "{{" }}') if isinstance(value, str) else value
