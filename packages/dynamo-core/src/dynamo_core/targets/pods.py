"""What every target has in common whose processes run in pods."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.deploy.site import Site
from dynamo_core.targets.image import STOP_MARGIN, command_of, problems_of
from dynamo_core.targets.target import dashed, hidden_names, option_of, told, value_of

Object = dict[str, Any]

ADDRESS = "$(POD_IP)"
"""Kubernetes replaces it in an argv by the variable of this name, which each pod gets."""
GPU = "nvidia.com/gpu"
FIRST_PORT = 9090
"""Of those that a plan chooses in a pod; also the one that Dynamo's operator gives to status servers."""
LEAVING = 5
"""Seconds from the moment that a pod is to end until its component hears of it: services forget it first."""
PROBE_PERIOD = 5
_VOLUMES: Mapping[str, Callable[[str], Object]] = {
    "claim": lambda name: {"persistentVolumeClaim": {"claimName": name}},
    "host": lambda path: {"hostPath": {"path": path}},
    "memory": lambda _: {"emptyDir": {"medium": "Memory"}},
    "scratch": lambda _: {"emptyDir": {}},
}


def cluster_site(name: str) -> Site:
    """Where each replica is a pod."""
    return Site(
        name,
        is_here=False,
        is_alike=True,
        has_own_network=True,
        has_own_environment=True,
        has_own_files=True,
        has_own_devices=True,
        first_port=FIRST_PORT,
        addresses=itertools.repeat(ADDRESS),
        settings={"discovery-backend": "kubernetes", "status-host": "0.0.0.0", "http-host": "0.0.0.0"},
    )


def problems_in_pods(plan: Plan, target: str) -> Iterator[str]:
    """Why processes cannot run in pods that find each other."""
    yield from problems_of(plan, target)
    for process in plan.processes if len(plan.processes) > 1 else ():
        backend, folder = value_of(process, "discovery-backend"), value_of(process, "discovery-path")
        shared = [path for path, volume in process.container.volumes.items() if volume.startswith("claim:")]
        if backend == "mem" or (backend == "file" and not any(folder.startswith(path) for path in shared)):
            yield (
                f"{process.section}: {told(process, 'discovery-backend')} is not seen by other pods\n"
                "  fix: leave it out, or use etcd"
            )


def is_discovered(plan: Plan) -> bool:
    """Whether the API server is where components find each other."""
    return any(option_of(process, "discovery-backend") == "kubernetes" for process in plan.processes)


def pod_spec(processes: Sequence[Process], containers: Sequence[Object]) -> Object:
    """A pod of these containers, one for each process; it runs where the first one may."""
    first = processes[0].container
    spec: Object = {
        "terminationGracePeriodSeconds": int(
            LEAVING + max(process.drain_timeout for process in processes) + STOP_MARGIN
        ),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": list(containers),
    }
    secrets = [name for process in processes for name in process.container.image_pull_secrets]
    if secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(secrets)]
    if first.node_selector:
        spec["nodeSelector"] = dict(first.node_selector)
    if first.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in first.tolerations]
    if volumes := [volume for process in processes for volume, _ in _volumes(process)]:
        spec["volumes"] = list({volume["name"]: volume for volume in volumes}.values())
    return spec


def container_of(process: Process, name: str = "main") -> Object:
    """The container that runs a component, with the argv of the plan."""
    container = process.container
    found: Object = {"name": name, "image": container.image}
    if container.image_pull_policy:
        found["imagePullPolicy"] = container.image_pull_policy
    program, *words = command_in_pod(process)
    # Both: where others have defaults for a container, leaving out args would leave theirs.
    found |= {"command": [program], "args": words, "env": environment_of(process)}
    if resources := resources_of(process):
        found["resources"] = resources
    found["ports"] = [{"name": port_name(key), "containerPort": port} for key, port in process.ports.items()]
    found |= probes_of(process)
    found["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    if mounts := [mount for _, mount in _volumes(process)]:
        found["volumeMounts"] = mounts
    return found


def command_in_pod(process: Process) -> list[str]:
    """The argv, with what Kubernetes would replace kept as it is, but for the address of the pod."""
    return [word if word == ADDRESS else _literal(word) for word in command_of(process)]


def _literal(text: str) -> str:
    return text.replace("$(", "$$(")


def environment_of(process: Process) -> list[Object]:
    """What the runtime asks about its pod, what the user wrote under `env:`, and secrets by reference."""
    return [*_pod_fields(), *_own_environment(process)]


def _pod_fields() -> Iterable[Object]:
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_UID": "metadata.uid",
        "POD_IP": "status.podIP",
    }
    for name, path in fields.items():
        yield {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _own_environment(process: Process) -> Iterable[Object]:
    hidden = hidden_names(process)
    for name, value in process.env.items():
        if name not in hidden:
            yield {"name": name, "value": _literal(value)}
    for name, secret in process.container.secrets.items():
        secret_name, _, key = secret.partition("/")
        yield {"name": name, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}}


def resources_of(process: Process) -> Object:
    """Requests and limits; the memory that is asked for is also the most that it gets."""
    wanted = {name: str(value) for name, value in process.resources.items() if name != "gpu"}
    limits = {"memory": wanted["memory"]} if "memory" in wanted else {}
    if process.gpu_count:
        limits[GPU] = str(process.gpu_count)
    return {key: value for key, value in (("requests", wanted), ("limits", limits)) if value}


def probes_of(process: Process) -> Object:
    """Ready means what it means locally; alive, that the process answers at all."""
    if not process.ready_key:
        return {}
    port, is_secure = process.ports[process.ready_key], process.ready_url.startswith("https:")
    get: Object = {"path": "/health", "port": port, "scheme": "HTTPS" if is_secure else "HTTP"}
    seconds = process.start_timeout or 600
    return {
        "startupProbe": {
            "httpGet": {**get, "path": "/live"},
            "periodSeconds": PROBE_PERIOD,
            "failureThreshold": max(1, round(seconds / PROBE_PERIOD)),
        },
        "readinessProbe": {"httpGet": get, "periodSeconds": PROBE_PERIOD, "timeoutSeconds": 3},
        "livenessProbe": {"httpGet": {**get, "path": "/live"}, "periodSeconds": 10, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVING}}},
    }


def port_name(key: str) -> str:
    """At most 15 characters, as Kubernetes has it."""
    return key.removesuffix("-port")[:15].strip("-")


def _volumes(process: Process) -> Iterable[tuple[Object, Object]]:
    """Volumes with their mounts; components of one pod that ask for the same one share it."""
    container = process.container
    if container.shared_memory:
        source = {"emptyDir": {"medium": "Memory", "sizeLimit": container.shared_memory}}
        yield {"name": "shm", **source}, {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108
    for path, volume in container.volumes.items():
        kind, _, source_name = volume.partition(":")
        name = _volume_name(kind, source_name or path)
        yield {"name": name, **_VOLUMES[kind](source_name)}, {"name": name, "mountPath": path}


def _volume_name(kind: str, what: str) -> str:
    """`host`, `/var/models` → `host-var-models`; with a checksum where that could be another one's name."""
    short = dashed(what)[:40].strip("-")
    is_clear = what == short or ("-" not in what and what.strip("/").replace("/", "-") == short)
    return f"{kind}-{short}" if is_clear else f"{kind}-{short}-{zlib.crc32(what.encode()):08x}"
