"""A Kubernetes cluster, through the official client's connection: read, apply, delete.

Objects are applied on the server's side, so that what others have set in them stays, and what two want
differently is a conflict rather than an override.
https://kubernetes.io/docs/reference/using-api/server-side-apply
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dynamo_core import environment
from dynamo_core.errors import UserError
from dynamo_core.targets.pods import Object

MANAGER = "dynamo"
"""What the server knows us by, as the owner of fields."""
PATHS: Mapping[tuple[str, str], str] = {
    ("v1", "Pod"): "pods",
    ("v1", "Service"): "services",
    ("v1", "ServiceAccount"): "serviceaccounts",
    ("apps/v1", "Deployment"): "deployments",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "horizontalpodautoscalers",
    ("keda.sh/v1alpha1", "ScaledObject"): "scaledobjects",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    ("rbac.authorization.k8s.io/v1", "Role"): "roles",
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): "rolebindings",
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): "customresourcedefinitions",
    ("nvidia.com/v1beta1", "DynamoGraphDeployment"): "dynamographdeployments",
    ("nvidia.com/v1alpha1", "DynamoGraphDeployment"): "dynamographdeployments",
    ("orchestration.aibrix.ai/v1alpha1", "StormService"): "stormservices",
    ("serving.kserve.io/v1alpha2", "LLMInferenceService"): "llminferenceservices",
}
"""Kinds by version, with their names in paths."""
NOT_FOUND, CONFLICT, UNAUTHORIZED, FORBIDDEN = 404, 409, 401, 403
TIMEOUT = 30.0
"""Seconds for one request."""


class Refused(UserError):
    """The server's answer to a request; `status` is its HTTP status."""

    def __init__(self, status: int, message: str, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.status = status


class Cluster:
    """One namespace of a cluster."""

    def __init__(self, api: Any, namespace: str, name: str) -> None:
        self._api = api
        self.namespace = namespace
        self.name = name
        """Of the context."""

    @classmethod
    def connect(cls, kubeconfig: Path | None, context: str | None, namespace: str | None) -> Cluster:
        """As kubectl would: the file given, or `KUBECONFIG`, or the usual one, or the pod that this is in.

        Raises `UserError`.
        """
        try:
            from kubernetes import client, config
        except ImportError:
            raise UserError(
                "the kubernetes client is not installed", fix="pip install 'dynamo-core[kubernetes]'"
            ) from None
        where = str(kubeconfig) if kubeconfig else None
        is_in_pod = where is None and context is None and environment.read("KUBERNETES_SERVICE_HOST")
        try:
            contexts, active = config.list_kube_config_contexts(where)
            config.load_kube_config(where, context)
        except (config.ConfigException, OSError, yaml.YAMLError) as error:
            if not is_in_pod:
                raise UserError(
                    f"no cluster is configured: {error}", fix="give --kubeconfig FILE, or --context NAME"
                ) from None
            config.load_incluster_config()
            return cls(client.ApiClient(), namespace or _pods_namespace(), "this cluster")
        chosen = next((one for one in contexts if one["name"] == context), active)
        inside = namespace or chosen["context"].get("namespace") or "default"
        return cls(client.ApiClient(), inside, chosen["name"])

    def find(self, one: Object) -> Object | None:
        """The object as the cluster has it; None if it has none of this name."""
        try:
            return self._call("GET", self._path(one))
        except Refused as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def apply(self, one: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Apply an object; returns what comes of it. With `dry_run` the server changes nothing.

        Raises `Refused`, for a conflict with the field and its owner in the message.
        """
        query = {"fieldManager": MANAGER, "force": str(force).lower()}
        if dry_run:
            query["dryRun"] = "All"
        return self._call("PATCH", self._path(one), query, one)

    def list(self, kind: tuple[str, str], labels: Mapping[str, str]) -> list[Object]:
        """The objects of a kind with these labels; none if the cluster does not know the kind."""
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
        try:
            found = self._call("GET", self._folder(*kind), query)
        except Refused as error:
            if error.status == NOT_FOUND:
                return []
            raise
        version, name = kind
        return [{"apiVersion": version, "kind": name, **one} for one in found["items"]]

    def delete(self, one: Object) -> None:
        """Delete an object and what it owns; one that is gone already is no error."""
        try:
            self._call("DELETE", self._path(one), {"propagationPolicy": "Foreground"})
        except Refused as error:
            if error.status != NOT_FOUND:
                raise

    def _folder(self, version: str, kind: str) -> str:
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        scope = "" if kind == "CustomResourceDefinition" else f"/namespaces/{self.namespace}"
        return f"{root}{scope}/{PATHS[version, kind]}"

    def _path(self, one: Object) -> str:
        return f"{self._folder(one['apiVersion'], one['kind'])}/{one['metadata']['name']}"

    def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Object | None = None
    ) -> Object:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = self._api.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": "application/apply-patch+yaml"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=TIMEOUT,
            )
            found: Object = json.loads(answer.data)
        except ApiException as error:
            raise _refused(error.status, str(error.body or error.reason), path) from None
        except HTTPError as error:
            raise UserError(
                f"no answer from the API server of {self.name}: {_innermost(error)}",
                fix="check that the cluster runs and is reached from here: kubectl version",
            ) from None
        except ValueError:
            raise UserError(
                f"{path} of {self.name} answers with something else than JSON, as no API server does",
                fix="check the server's address in the kubeconfig",
            ) from None
        return found


def _refused(status: int, body: str, path: str) -> Refused:
    try:
        said = json.loads(body)
        message = said.get("message", body)
    except ValueError:
        said, message = {}, body.strip()[:200]
    if status == CONFLICT and (causes := said.get("details", {}).get("causes")):
        fields = ", ".join(f"{cause['field']} ({cause['message']})" for cause in causes)
        return Refused(
            status,
            f"others have set what the graph says differently: {fields}",
            "change the graph, or take the fields over with --force-conflicts",
        )
    if status == NOT_FOUND and "namespaces" not in message:
        return Refused(
            status, f"the cluster does not know {path.rsplit('/', 1)[0]}", "install what brings it"
        )
    fixes = {
        UNAUTHORIZED: "log in again; the credentials of the context are not taken",
        FORBIDDEN: "ask for the right, or give another --context or --kube-namespace",
    }
    return Refused(status, f"the API server says {status} to {path}: {message}", fixes.get(status, ""))


def _innermost(error: BaseException) -> BaseException:
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else error


def _pods_namespace() -> str:
    """Of the pod that this process is in."""
    path = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    return path.read_text().strip() if path.is_file() else "default"
