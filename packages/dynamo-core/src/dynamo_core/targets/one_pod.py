"""What targets have in common that start one kind of pod, and choose among its replicas themselves.

Such a pod is a server of its own: the frontend and the worker as two containers, which meet in a folder that
only they see. Requests come from a gateway, which picks the pod.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError
from dynamo_core.targets.image import problems_of
from dynamo_core.targets.pods import FIRST_PORT, Object, container_of, pod_spec
from dynamo_core.targets.target import told, value_of

SHARED = "/run/dynamo"
DISCOVERY = f"{SHARED}/discovery"
"""In a volume of the pod; the folder itself is made by the first component, for this user alone."""
PARTS = ("frontend", "worker")


def pod_site(name: str) -> Site:
    """Where all components of a graph share a pod, and replicas are pods."""
    return Site(
        name,
        is_here=False,
        is_alike=True,
        has_own_environment=True,
        has_own_files=True,
        has_own_devices=True,
        first_port=FIRST_PORT,
        settings={"discovery-path": DISCOVERY, "status-host": "0.0.0.0", "http-host": "0.0.0.0"},
    )


@dataclass(frozen=True)
class Pod:
    """The two components of a graph that such a target can express."""

    frontend: Process
    worker: Process

    @classmethod
    def of(cls, plan: Plan, target: str, problems: list[str]) -> Pod:
        """Raises `UserError` for `problems` and for everything that a pod of this kind cannot be."""
        problems += [*problems_of(plan, target), *_problems(plan, target)]
        if problems:
            raise UserError("\n".join(problems))
        (frontend,) = (process for process in plan.processes if process.role == "frontend")
        (worker,) = (process for process in plan.processes if process.role == "worker")
        return cls(frontend, worker)

    @property
    def model(self) -> str:
        return value_of(self.worker, "model")

    @property
    def model_name(self) -> str:
        """As clients ask for it."""
        return value_of(self.worker, "served-model-name") or self.model

    @property
    def http_port(self) -> int:
        return self.frontend.ports[self.frontend.ready_key]

    def containers(self, first: str) -> list[Object]:
        """The frontend's, named `first`, which is the one that requests come to, and the worker's."""
        found = [container_of(self.frontend, first), container_of(self.worker, "worker")]
        for container in found:
            container.setdefault("volumeMounts", []).append({"name": "dynamo", "mountPath": SHARED})
        return found

    def spec(self, containers: list[Object]) -> Object:
        """Their pod."""
        spec = pod_spec([self.worker, self.frontend], containers)
        spec.setdefault("volumes", []).append({"name": "dynamo", "emptyDir": {"medium": "Memory"}})
        account = self.worker.container.service_account or self.frontend.container.service_account
        identity = {"serviceAccountName": account} if account else {"automountServiceAccountToken": False}
        return {**identity, **spec}


def _problems(plan: Plan, target: str) -> Iterator[str]:
    instead = "  fix: render the target kubernetes or dynamo"
    roles: list[str] = [process.role for process in plan.processes]
    for process in plan.processes:
        if process.role not in PARTS:
            role = f"a {process.role} worker" if process.role else "neither a frontend nor a worker"
            yield (
                f"{process.section}: it is {role}, and {target} starts pods that are all alike, each with a "
                f"frontend and a worker\n{instead}"
            )
        if process.container.autoscale:
            yield (
                f"{process.section}: container.autoscale is not written for {target}\n"
                "  fix: leave it out; what the target brings for scaling is for whoever applies it"
            )
        if process.role == "frontend" and process.replicas != 1:
            yield (
                f"{process.section}: it has {process.replicas} replicas, and {target} starts one for each "
                "worker\n  fix: leave its replicas out, and give those of the worker"
            )
        if process.role == "frontend" and value_of(process, "router-mode") == "kv":
            yield (
                f"{process.section}: {told(process, 'router-mode')} chooses among workers, and here each "
                f"frontend has one; {target} chooses the pod\n"
                "  fix: leave router-mode out, or render the target kubernetes or dynamo"
            )
        if value_of(process, "discovery-backend") not in ("", "file"):
            yield (
                f"{process.section}: with {told(process, 'discovery-backend')} a frontend finds the workers "
                f"of other pods, and {target} chooses the pod\n"
                "  fix: leave discovery-backend out; a pod's components meet in a folder of theirs"
            )
    for part in PARTS if set(roles) <= set(PARTS) else ():
        if (count := roles.count(part)) != 1:
            yield f"the graph has {count} {part} sections, and a pod of {target} has one\n{instead}"
