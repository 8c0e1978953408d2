"""How far a cluster is with what was applied: ready, on its way, or never."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dynamo_core.targets.pods import Object

WRONG_SETTINGS = 2
"""The exit code of a component that will not start however often it is tried."""
HOPELESS = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError"})
"""Why containers wait that do not start by waiting; a registry or a secret may still come, so we do, too."""


@dataclass(frozen=True)
class Progress:
    """Of one part of a graph."""

    name: str
    ready: int
    wanted: int
    is_done: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.ready} of {self.wanted} ready"


def progress_of(live: Object) -> list[Progress]:
    """What an object says of its pods; nothing for kinds that have none."""
    status, spec = live.get("status", {}), live.get("spec", {})
    name = live["metadata"]["name"]
    is_seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    if live["kind"] == "Deployment":
        wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
        # Old pods are among the ready ones, and pods that are about to end among all.
        is_new = status.get("updatedReplicas", 0) == wanted == status.get("replicas", 0)
        return [Progress(name, ready, wanted, is_seen and is_new and ready >= wanted)]
    if live["kind"] == "DynamoGraphDeployment":
        parts = status.get("components") or status.get("services") or {}
        found = [
            Progress(part, said.get("readyReplicas", 0), said.get("replicas", 0), True)
            for part, said in parts.items()
        ]
        state = status.get("state", "pending")
        whole = Progress(
            f"{name} ({state})", int(state == "successful"), 1, is_seen and state == "successful"
        )
        return [*found, whole]
    if live["kind"] == "StormService":
        wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
        return [Progress(name, ready, wanted, is_seen and ready >= wanted)]
    if live["kind"] == "LLMInferenceService":
        ready = [each for each in status.get("conditions", ()) if each["type"] == "Ready"]
        is_ready = bool(ready) and ready[0]["status"] == "True"
        return [Progress(name, int(is_ready), 1, is_seen and is_ready)]
    return []


@dataclass(frozen=True)
class Trouble:
    """Why a pod is not ready."""

    pod: str
    reason: str
    is_final: bool = False
    """Whether trying again changes nothing."""

    def __str__(self) -> str:
        return f"{self.pod}: {self.reason}"


def troubles_of(pods: Sequence[Object]) -> Iterator[Trouble]:
    """What is wrong with pods, in the cluster's own words."""
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        for condition in status.get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                yield Trouble(name, f"not scheduled: {condition.get('message', 'no reason given')}")
        for container in status.get("containerStatuses", ()):
            waiting = container.get("state", {}).get("waiting", {})
            ended = container.get("lastState", {}).get("terminated") or container.get("state", {}).get(
                "terminated"
            )
            if waiting.get("reason") in HOPELESS:
                yield Trouble(name, f"{waiting['reason']}: {waiting.get('message', container['image'])}")
            elif ended and ended.get("exitCode") == WRONG_SETTINGS:
                reason = "it refuses its settings (exit code 2); see kubectl logs --previous"
                yield Trouble(name, f"{reason} {name}", is_final=True)
            elif ended and ended.get("exitCode"):
                yield Trouble(
                    name,
                    f"ended with {ended['exitCode']} ({ended.get('reason', 'Error')}), started "
                    f"{container.get('restartCount', 0)} times again",
                )
