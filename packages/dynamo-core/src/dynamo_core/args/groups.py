"""The settings that components share, grouped by subject."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from dynamo_core.args.settings import Settings, setting
from dynamo_core.ports import LAST_STATUS_PORT
from dynamo_core.routing import RouterMode


def default_discovery_path() -> str:
    """A folder of this user alone, the same for all of their components on this machine."""
    return str(Path(tempfile.gettempdir()) / f"dynamo-{os.getuid()}")


class StatusSettings(Settings):
    "Status and logs"

    status_port: int = setting(
        -1,
        "Port of this process's /health, /live and /metrics; -1 for none, 0 for any free one. "
        "The Rust runtime keeps it in 16 signed bits.",
        env="DYN_SYSTEM_PORT",
        ge=-1,
        le=LAST_STATUS_PORT,
    )
    status_host: str = setting(
        "127.0.0.1", "Address of the status port.", env="DYN_SYSTEM_HOST", metavar="HOST"
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        "Level of this component and of the Rust runtime, which stays one level quieter below "
        "debug because it reports every request.",
    )
    log_format: Literal["text", "json"] = setting("text", "Lines for people or one JSON object per line.")


class TraceSettings(Settings):
    "Traces: where the time of a request goes"

    otlp_endpoint: str | None = setting(
        None,
        "OpenTelemetry collector, such as http://127.0.0.1:4317; it gets a span of each component that a "
        "request passes, all of one trace. Without it there are none.",
        env="OTEL_EXPORTER_OTLP_ENDPOINT",
        metavar="URL",
        min_length=1,
    )
    otlp_protocol: Literal["grpc", "http/protobuf"] = setting(
        "grpc", "What the collector understands.", env="OTEL_EXPORTER_OTLP_PROTOCOL"
    )

    @property
    def otlp_traces_endpoint(self) -> str | None:
        """Where spans themselves go, for an engine that sends its own."""
        if self.otlp_endpoint is None:
            return None
        path = "/v1/traces" if self.otlp_protocol == "http/protobuf" else ""
        return self.otlp_endpoint.rstrip("/") + path


class RuntimeSettings(TraceSettings, StatusSettings):
    "Runtime: where components meet"

    discovery_backend: Literal["file", "etcd", "kubernetes", "mem"] = setting(
        "file", "Where components find each other; file needs no server, mem is one process only."
    )
    discovery_path: str = setting(
        default_discovery_path(),
        "Folder of the file discovery backend.",
        env="DYN_FILE_KV",
        metavar="DIR",
        min_length=1,
    )
    etcd_endpoints: str = setting(
        "http://127.0.0.1:2379",
        "Comma-separated etcd URLs.",
        env="ETCD_ENDPOINTS",
        metavar="URLS",
        secret=True,
        min_length=1,
    )
    request_plane: Literal["tcp", "nats"] = setting("tcp", "Transport of requests.")
    event_plane: Literal["zmq", "nats"] = setting("zmq", "Transport of KV events and metrics.")
    nats_server: str = setting(
        "nats://127.0.0.1:4222", "NATS URL.", env="NATS_SERVER", metavar="URL", secret=True
    )
    rpc_host: str = setting(
        "127.0.0.1",
        "Address that other components reach this one at; unauthenticated, so loopback unless asked.",
        env="DYN_TCP_RPC_HOST",
        metavar="HOST",
    )
    drain_timeout: float = setting(
        30.0,
        "Seconds that streams in flight get to end when this component is stopped.",
        ge=0,
        allow_inf_nan=False,
    )


class HealthSettings(Settings):
    "Health: does the engine still answer?"

    health_interval: float = setting(
        10.0,
        "Seconds in which no request has got an answer, after which this worker asks its engine for one "
        "token; 0 for never. While it does not answer, /health on the status port says 503.",
        ge=0,
        allow_inf_nan=False,
    )
    health_timeout: float = setting(
        20.0,
        "Seconds in which the engine has to answer that; more than its longest prompt takes.",
        gt=0,
        allow_inf_nan=False,
    )


class StreamSettings(Settings):
    "Streams: how answers leave this worker"

    chunk_window_ms: float = setting(
        0.0,
        "Milliseconds between two chunks of an answer; what is ready by then leaves as one. The first and "
        "the last never wait; with 0 none does. Fewer chunks cost this worker and the frontend less.",
        ge=0,
        allow_inf_nan=False,
    )
    chunk_tokens: int = setting(
        0, "A chunk also leaves as soon as it has so many tokens; 0 for no such limit.", ge=0
    )


class ComponentSettings(Settings):
    "Component: the name it is found under"

    namespace: str = setting(
        "dynamo",
        "Namespace; components meet only within one. A frontend in dynamo, which the Rust runtime takes "
        "for the global one, serves the models of all.",
    )
    component: str = setting(..., "Component name.")
    endpoint: str = setting("generate", "Endpoint name.")


class ModelSettings(Settings):
    "Model"

    model: str = setting(
        ...,
        "Model folder, or a Hugging Face model id such as Qwen/Qwen3-0.6B.",
        metavar="MODEL",
        min_length=1,
    )
    served_model_name: str | None = setting(
        None, "Name that clients ask for; the value of --model if left out.", metavar="NAME", min_length=1
    )


class KvEventSettings(Settings):
    "Routing: what this worker tells frontends"

    kv_events: bool = setting(
        False, "Publish what is in this worker's KV cache and how full it is, for frontends that route by it."
    )

    @property
    def why_kv_events(self) -> str:
        """The setting that makes this worker publish KV events; empty if none does."""
        return "kv-events" if self.kv_events else ""


class RoutedSettings(KvEventSettings):
    "Routing: what this worker tells frontends"

    router_mode: RouterMode | None = setting(
        None,
        "The --router-mode of the frontends, so that one line under Common reaches both: with kv this worker "
        "publishes its KV events; other modes ask nothing of it.",
    )

    @property
    def why_kv_events(self) -> str:
        return super().why_kv_events or ("router-mode kv" if self.router_mode == "kv" else "")


class ParserSettings(Settings):
    "Parsers: how frontends read this model's text"

    tool_call_parser: str | None = setting(
        None,
        "How this model writes tool calls, by the Rust runtime's name for it, such as hermes; without it "
        "they stay in the text.",
        metavar="NAME",
        min_length=1,
    )
    reasoning_parser: str | None = setting(
        None,
        "How this model marks what it thinks before it answers, such as qwen3; without it that stays in the "
        "text.",
        metavar="NAME",
        min_length=1,
    )


class AdapterSettings(Settings):
    "LoRA adapters"

    enable_lora: bool = setting(
        False, "Let adapters be loaded and unloaded while this worker runs.", env="DYN_LORA_ENABLED"
    )


class TransferHostSettings(RuntimeSettings):
    "KV transfer between prefill and decode"

    kv_transfer_host: str | None = setting(
        None,
        "Address that the other half of the pair reaches this worker at, unauthenticated; the value of "
        "--rpc-host if left out.",
        metavar="HOST",
        min_length=1,
    )

    @property
    def kv_transfer_address(self) -> str:
        return self.kv_transfer_host or self.rpc_host


class TransferSettings(TransferHostSettings):
    "KV transfer between prefill and decode, of a half that the other one looks for"

    kv_transfer_port: int = setting(
        0,
        "Port at which the two halves meet, the first of one per data-parallel rank; 0 for any free one.",
        ge=0,
        le=65535,
    )


class LocalPrefillSettings(Settings):
    "What a prefill worker leaves to the other half"

    max_local_prefill_length: int = setting(
        0,
        "Leave prompts of up to this many tokens to the decode worker, which then computes them itself; 0 "
        "leaves it none.",
        ge=0,
    )


class DecodeSettings(Settings):
    "The prefill half of the pair"

    prefill_component: str = setting(
        ..., "Component name of the prefill workers; without one of them this worker is not ready."
    )


_DEVICE = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")


def _devices(value: Any) -> str | None:
    """Names of devices, joined by commas; a file may have a list, or a single index as a number."""
    if value is None:
        return None
    found = value if isinstance(value, list) else [value]
    names = [name.strip() for item in found for name in str(item).split(",")]
    if any(isinstance(item, bool) or not _DEVICE.fullmatch(name) for item in found for name in names):
        raise ValueError("expected indices as in 0,1 or UUIDs that begin with GPU- or MIG-")
    if len(set(names)) < len(names):
        raise ValueError("a device is named twice")
    return ",".join(names)


_DEVICES = str | int | list[str | int] | None


class GpuSettings(Settings):
    "GPUs"

    gpus: Annotated[str | None, BeforeValidator(_devices, json_schema_input_type=_DEVICES)] = setting(
        None,
        "GPUs of this component, comma-separated: indices as nvidia-smi prints them, or UUIDs. They must be "
        "among those that CUDA_VISIBLE_DEVICES shows; all of these if left out.",
        metavar="DEVICES",
    )
