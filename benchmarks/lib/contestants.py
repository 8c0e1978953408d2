"""How each contestant is started: a worker and its own frontend, on loopback, without etcd or NATS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.processes import Programs, wait_for_answer

WORKERS = Path(__file__).resolve().parent.parent / "workers"
OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
ENGINE = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_HOST_IP": "127.0.0.1",
    **OFFLINE,
}
"""The same for every contestant: engines that leave processors to the rest, and ask nobody outside."""
SGLANG = {"SGLANG_USE_CPU_ENGINE": "1", "TRITON_INTERPRET": "1", "TORCHDYNAMO_DISABLE": "1"}


def upstream_env(folder: Path) -> dict[str, str]:
    """ai-dynamo without etcd and NATS, on loopback; ours needs no word for either."""
    loopback = ("DYN_TCP_RPC_HOST", "DYN_TCP_RESPONSE_STREAM_HOST", "DYN_EVENT_PLANE_HOST")
    return {
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_FILE_KV": str(folder / "upstream-discovery"),
        "DYN_REQUEST_PLANE": "tcp",
        "DYN_EVENT_PLANE": "zmq",
        **dict.fromkeys(loopback, "127.0.0.1"),
    }


@dataclass(frozen=True)
class Serving:
    """What answers at a port; an engine's own server is worker and frontend in one."""

    port: int
    worker: int
    frontend: int | None = None
    """Process ids."""

    @property
    def pids(self) -> dict[str, int]:
        return {"worker": self.worker} | ({"frontend": self.frontend} if self.frontend else {})


def ours(programs: Programs, python: str, port: int, worker: Sequence[object], model: str) -> Serving:
    """Ours until it answers; `worker` is what stands behind `python`."""
    where = ("--discovery-path", programs.folder / "discovery")
    frontend = programs.start("frontend", python, "-m", "dynamo_frontend", "--http-port", port, *where)
    started = programs.start("worker", python, *worker, *where)
    wait_for_answer(programs, port, model)
    return Serving(port, started.pid, frontend.pid)


def upstream(programs: Programs, python: str, port: int, worker: Sequence[object], model: str) -> Serving:
    """ai-dynamo's frontend and a worker on it."""
    programs.env |= upstream_env(programs.folder)
    address = ("--http-host", "127.0.0.1", "--http-port", port)
    frontend = programs.start("frontend", python, "-m", "dynamo.frontend", *address)
    started = programs.start("worker", python, *worker)
    wait_for_answer(programs, port, model)
    return Serving(port, started.pid, frontend.pid)


def own_server(programs: Programs, python: str, port: int, server: Sequence[object], model: str) -> Serving:
    """The engine's own server."""
    started = programs.start("server", python, *server, "--host", "127.0.0.1", "--port", port)
    wait_for_answer(programs, port, model)
    return Serving(port, started.pid)
