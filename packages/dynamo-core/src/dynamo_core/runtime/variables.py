"""The environment of the Rust runtime and of CUDA, which read their settings nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_core import environment
from dynamo_core.args.groups import AdapterSettings, ComponentSettings, GpuSettings
from dynamo_core.deploy.gpus import VISIBLE, check_names
from dynamo_core.environment import Variable

if TYPE_CHECKING:
    from dynamo_core.args import RuntimeSettings

STARTUP_TIMEOUT = "10"
"""Seconds for a server that accepts connections and does not answer; the Rust runtime's own are 120."""
_LOUD_TARGETS = {
    "tower_http": "off",
    "dynamo_llm::http::service::service_v2": "off",
    "mm_routing": "error",
    "dynamo_runtime::storage::kv": "off",
    "dynamo_runtime::component": "off",
    "dynamo_runtime::transports::event_plane": "error",
    "dynamo_runtime::pipeline::network::egress::push_router": "error",
    "dynamo_runtime::pipeline::network::ingress::push_handler": "off",
    "dynamo_llm::discovery": "error",
    "dynamo_llm::kv_router::publisher": "error",
    "dynamo_llm::http::service::disconnect": "error",
    "dynamo_kv_router::sequences::multi_worker": "error",
    "dynamo_llm::kv_router::indexer::recovery::worker_query": "error",
}
"""Rust targets that call a 503 to a health probe, a text-only model, a client that leaves, a worker that
comes and every orderly shutdown an error or a warning. They speak at --log-level debug."""
QUIET = ",".join(f"{target}={level}" for target, level in _LOUD_TARGETS.items())
RUST_LEVELS = {
    "debug": "debug",
    "info": f"warn,{QUIET}",
    "warning": f"error,{QUIET}",
    "error": f"error,{QUIET}",
}
SILENT_WORKERS = "dynamo_llm::kv_router::indexer::recovery::source_health"
"""The Rust target that tells of workers without KV events; where a frontend of ours can read discovery,
it says that itself, and by name."""


def runtime_variables(settings: RuntimeSettings) -> list[Variable]:
    """What every component sets before the compiled library, or an engine, is loaded.

    Raises `UserError` for devices that are hidden from this process.
    """
    host = "address that other components reach this one at"
    found = [
        Variable("DYN_TCP_RPC_HOST", settings.rpc_host, host, setting="rpc-host"),
        Variable("DYN_TCP_RESPONSE_STREAM_HOST", settings.rpc_host, host),
        Variable("DYN_EVENT_PLANE_HOST", settings.rpc_host, host),
        Variable("DYN_SYSTEM_PORT", str(settings.status_port), "status server", setting="status-port"),
        Variable("DYN_SYSTEM_HOST", settings.status_host, "status server", setting="status-host"),
        Variable("DYN_LOG", _rust_level(settings), "log level", yields=True),
    ]
    if settings.log_format == "json":
        found.append(Variable("DYN_LOGGING_JSONL", "true", "log format"))
    if settings.discovery_backend == "file":
        found.append(Variable("DYN_FILE_KV", settings.discovery_path, "discovery", setting="discovery-path"))
    if settings.discovery_backend == "etcd":
        found.append(
            Variable("ETCD_ENDPOINTS", settings.etcd_endpoints, "discovery", setting="etcd-endpoints")
        )
        found.append(_startup_timeout("ETCD"))
    if "nats" in (settings.request_plane, settings.event_plane):
        found.append(Variable("NATS_SERVER", settings.nats_server, "transport", setting="nats-server"))
        found.append(_startup_timeout("NATS"))
    if settings.otlp_endpoint:
        found += trace_variables(settings, settings.otlp_endpoint)
    if isinstance(settings, AdapterSettings) and settings.enable_lora:
        found.append(
            Variable("DYN_LORA_ENABLED", "true", "/v1/loras on the status port", setting="enable-lora")
        )
    if isinstance(settings, GpuSettings):
        found += gpu_variables(settings)
    return found


def _rust_level(settings: RuntimeSettings) -> str:
    level = RUST_LEVELS[settings.log_level]
    can_tell = settings.discovery_backend in ("file", "etcd") and settings.log_level != "debug"
    return f"{level},{SILENT_WORKERS}=error" if can_tell else level


def _startup_timeout(server: str) -> Variable:
    name = f"{server}_STARTUP_CONNECT_TIMEOUT_SECONDS"
    return Variable(name, STARTUP_TIMEOUT, "a server that does not answer is an error soon", yields=True)


def trace_variables(settings: RuntimeSettings, endpoint: str) -> list[Variable]:
    """What makes the Rust runtime send a span of this process for each request that it has a part in, and
    tells engines how to send theirs."""
    protocol = settings.otlp_protocol
    found = [
        Variable("OTEL_EXPORT_ENABLED", "true", "traces"),
        Variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint, "traces", setting="otlp-endpoint"),
        Variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol, "traces", setting="otlp-protocol"),
        Variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol, "the engine's own traces", yields=True),
    ]
    if isinstance(settings, ComponentSettings):
        name = f"{settings.namespace}.{settings.component}"
        found.append(Variable("OTEL_SERVICE_NAME", name, "this component's name in traces", yields=True))
    return found


def gpu_variables(settings: GpuSettings) -> list[Variable]:
    """What shows CUDA the devices that `--gpus` names, and no others.

    Raises `UserError` if CUDA_VISIBLE_DEVICES hides one of them already.
    """
    if settings.gpus is None:
        return []
    check_names(settings.gpus, environment.read(VISIBLE))
    return [
        Variable(VISIBLE, settings.gpus, "the GPUs of this component", setting="gpus"),
        Variable("CUDA_DEVICE_ORDER", "PCI_BUS_ID", "--gpus counts GPUs as nvidia-smi does"),
    ]


def frontend_variables(drain_timeout: float) -> list[Variable]:
    """What the Rust HTTP server reads from the environment only."""
    return [
        Variable(
            "DYN_HTTP_SVC_HEALTH_PATH", "/health/runtime", "/health answers for the models, not the process"
        ),
        Variable(
            "DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS",
            str(max(1, round(drain_timeout))),
            "responses in flight end within the drain budget",
        ),
    ]
