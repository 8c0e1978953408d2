"""Replicas by a metric of the component: the cluster's autoscaler, or KEDA where a Prometheus is named."""

from __future__ import annotations

from dynamo_core.deploy.container import Autoscale
from dynamo_core.targets.pods import Object

CALM = 300
"""Seconds for which fewer replicas have to be enough before one is stopped: engines take minutes to start."""


def autoscaler(metadata: Object, wanted: Autoscale, subject: Object) -> Object:
    """The object that sets the replicas of `subject`, a version, kind and name; it is called like it."""
    if wanted.prometheus:
        return _scaled_object(metadata, wanted, subject)
    target = {"type": "AverageValue", "averageValue": _number(wanted.average)}
    pods = {"metric": {"name": wanted.metric}, "target": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": subject,
            "minReplicas": wanted.min,
            "maxReplicas": wanted.max,
            "metrics": [{"type": "Pods", "pods": pods}],
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": CALM,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                }
            },
        },
    }


def _scaled_object(metadata: Object, wanted: Autoscale, subject: Object) -> Object:
    query = f'sum({wanted.metric}{{pod=~"{metadata["name"]}-.*"}})'
    trigger = {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": wanted.prometheus,
            "query": query,
            "threshold": _number(wanted.average),
        },
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": subject,
            "minReplicaCount": wanted.min,
            "maxReplicaCount": wanted.max,
            "cooldownPeriod": CALM,
            "triggers": [trigger],
        },
    }


def _number(value: float) -> str:
    """As Kubernetes writes quantities: in thousandths where it is no whole number."""
    return str(int(value)) if value == int(value) else f"{round(value * 1000)}m"
