"""A compose file for Docker or Podman: one service for each process, in a network of the graph's own."""

from __future__ import annotations

import itertools
from typing import Any

from dynamo_core.deploy.plan import ADDRESS
from dynamo_core.deploy.process import Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError
from dynamo_core.targets.image import PROBE, STOP_MARGIN, as_yaml, command_of, problems_of
from dynamo_core.targets.target import Files, Rendering, Target, dashed, hidden_names, option_of

NETWORK = "172.30.84"
"""The first three numbers of the addresses; a compose file that others use here can be changed there."""
DISCOVERY = "/run/dynamo"
_RESTARTS = {None: "on-failure", "never": "no", "on-failure": "on-failure", "always": "always"}


class Compose(Target):
    name = "compose"
    summary = "a compose file for Docker or Podman on this machine"

    def site(self) -> Site:
        return Site(
            "compose",
            has_own_network=True,
            has_own_environment=True,
            has_own_files=True,
            has_own_devices=True,
            first_port=9090,
            addresses=(f"{NETWORK}.{number}" for number in itertools.count(2)),
            settings={"discovery-path": DISCOVERY, "http-host": "0.0.0.0"},
        )

    def render(self, rendering: Rendering) -> Files:
        if problems := list(problems_of(rendering.plan, "a compose file")):
            raise UserError("\n".join(problems))
        services = {dashed(process.name): _service(process) for process in rendering.plan.processes}
        volumes: dict[str, Any] = {
            name: {} for process in rendering.plan.processes for name in _claims(process)
        }
        graph = {
            "name": rendering.name,
            "services": services,
            "networks": {"graph": {"ipam": {"config": [{"subnet": f"{NETWORK}.0/24"}]}}},
            "volumes": {"discovery": {}, **volumes},
        }
        text = as_yaml([graph])
        return {"compose.yaml": rendering.header() + text}


def _service(process: Process) -> dict[str, Any]:
    container = process.container
    service: dict[str, Any] = {"image": container.image, "command": list(map(_literal, command_of(process)))}
    if process.env:
        hidden = hidden_names(process)
        service["environment"] = {
            name: _literal(value) for name, value in process.env.items() if name not in hidden
        }
    if container.secrets:
        # Names alone: compose takes the values from the environment that it is started in.
        service.setdefault("environment", {}).update(dict.fromkeys(container.secrets))
    address = option_of(process, ADDRESS)
    service["networks"] = {"graph": {"ipv4_address": address} if address.startswith(NETWORK) else {}}
    if process.address:
        port = process.ports[process.ready_key]
        service["ports"] = [f"127.0.0.1:{port}:{port}"]
    service["volumes"] = [f"discovery:{DISCOVERY}", *_mounts(process)]
    if container.shared_memory:
        service["shm_size"] = container.shared_memory.replace("i", "").lower() + "b"
    if in_memory := [path for path, volume in container.volumes.items() if volume == "memory"]:
        service["tmpfs"] = in_memory
    if process.ready_key:
        service["healthcheck"] = _healthcheck(process)
    service["restart"] = _RESTARTS[process.restart]
    service["stop_grace_period"] = f"{process.drain_timeout + STOP_MARGIN:g}s"
    service["init"] = True
    service |= {"security_opt": ["no-new-privileges:true"], "cap_drop": ["ALL"]}
    if process.gpus:
        devices = [{"driver": "nvidia", "device_ids": list(process.gpus), "capabilities": ["gpu"]}]
        service["deploy"] = {"resources": {"reservations": {"devices": devices}}}
    return service


def _claims(process: Process) -> list[str]:
    volumes = process.container.volumes.values()
    return [volume.removeprefix("claim:") for volume in volumes if volume.startswith("claim:")]


def _mounts(process: Process) -> list[str]:
    """Volumes and folders of this machine; scratch space is an anonymous volume."""
    found = []
    for path, volume in process.container.volumes.items():
        kind, _, name = volume.partition(":")
        if kind in ("claim", "host"):
            found.append(f"{name}:{path}")
        elif kind == "scratch":
            found.append(path)
    return found


def _healthcheck(process: Process) -> dict[str, Any]:
    probe = PROBE.format(port=process.ports[process.ready_key])
    if process.ready_url.startswith("https:"):
        probe = "import ssl; ssl._create_default_https_context = ssl._create_unverified_context; " + probe
        probe = probe.replace("http://", "https://")
    found: dict[str, Any] = {"test": ["CMD", "python", "-c", probe], "interval": "5s", "timeout": "3s"}
    found["start_period"] = f"{process.start_timeout or 600:g}s"
    return found


def _literal(text: str) -> str:
    """With the dollar signs that compose would replace kept as they are."""
    return text.replace("$", "$$")
