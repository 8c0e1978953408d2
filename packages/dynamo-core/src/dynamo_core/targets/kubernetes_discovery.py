"""What the runtime needs of a cluster whose API server is its discovery: labels, an account with rights, and
a custom resource. Read from the compiled library of ai-dynamo-runtime 1.6.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

DISCOVERED = {
    "nvidia.com/dynamo-discovery-backend": "kubernetes",
    "nvidia.com/dynamo-discovery-enabled": "true",
}
"""Labels of the services whose EndpointSlices the runtime watches."""


def discovery_account(name: str, labels: dict[str, str]) -> Iterable[dict[str, Any]]:
    """An account whose pods may look for others, and tell of themselves."""
    meta = {"name": name, "labels": labels}
    rules = [
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": ["nvidia.com"],
            "resources": ["dynamoworkermetadatas"],
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
        },
    ]
    rbac = "rbac.authorization.k8s.io"
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
    yield {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": rules}
    yield {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name}],
    }


def metadata_resource() -> dict[str, Any]:
    """The resource that the runtime keeps for each pod; what is in it is the runtime's, so it takes all."""
    group, plural = "nvidia.com", "dynamoworkermetadatas"
    names = {
        "kind": "DynamoWorkerMetadata",
        "listKind": "DynamoWorkerMetadataList",
        "plural": plural,
        "singular": "dynamoworkermetadata",
    }
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything}}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
