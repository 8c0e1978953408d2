"""The settings of SGLang's components; every other flag is SGLang's own."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping
from typing import Any

from dynamo_core.args import (
    AdapterSettings,
    ComponentSettings,
    DecodeSettings,
    Derived,
    Engine,
    GpuSettings,
    HealthSettings,
    KvEventSettings,
    ModelSettings,
    ParserSettings,
    RoutedSettings,
    RuntimeSettings,
    StreamSettings,
    TransferHostSettings,
    TransferSettings,
)
from dynamo_core.args.engine import multiplied
from dynamo_core.environment import Variable
from dynamo_core.models import engine_import
from dynamo_core.ports import is_loopback
from dynamo_core.runtime.variables import runtime_variables

INSTALL = "pip install dynamo-sglang; its README says how without a GPU"
LOST_AFTER = 120
"""Seconds after which one half gives up a request that the other one, alive, does not get on with."""
MAX_LORA_RANK = 16
"""Of adapters that SGLang does not know yet when it starts; vLLM's own default."""


class SglangSettings(
    ModelSettings,
    ParserSettings,
    AdapterSettings,
    GpuSettings,
    HealthSettings,
    StreamSettings,
    ComponentSettings,
    RuntimeSettings,
):
    "The settings of every SGLang component"


class SglangWorkerSettings(RoutedSettings, SglangSettings):
    "The settings of dynamo-sglang-worker"


class SglangPrefillSettings(RoutedSettings, TransferSettings, SglangSettings):
    "The settings of dynamo-sglang-prefill"


class SglangDecodeSettings(DecodeSettings, TransferHostSettings, SglangSettings):
    "The settings of dynamo-sglang-decode"


def transfer_variables(settings: TransferHostSettings) -> list[Variable]:
    """SGLang's environment for a pair: what it reads nowhere else, where our default is another one."""
    prefix = "SGLANG_DISAGGREGATION_"
    lost = "a request that the other half does not get on with is given up after this many seconds"
    found = [
        Variable("SGLANG_HOST_IP", settings.kv_transfer_address, "KV transfer"),
        Variable(f"{prefix}BOOTSTRAP_TIMEOUT", str(LOST_AFTER), lost, yields=True),
        Variable(f"{prefix}WAITING_TIMEOUT", str(LOST_AFTER), lost, yields=True),
        Variable(f"{prefix}HEARTBEAT_INTERVAL", "2", "a dead prefill worker is noticed soon", yields=True),
    ]
    if is_loopback(settings.kv_transfer_address):
        found.append(Variable("UCX_NET_DEVICES", "lo", "KV transfer stays on this machine", yields=True))
    return found


def variables(settings: SglangSettings) -> list[Variable]:
    """All that a worker sets for the libraries in it."""
    transfer = transfer_variables(settings) if isinstance(settings, TransferHostSettings) else []
    return [*runtime_variables(settings), *transfer]


def build_parser() -> argparse.ArgumentParser:
    """A parser with SGLang's options; imports SGLang."""
    with engine_import("sglang", fix=INSTALL):
        from sglang.srt.server_args import ServerArgs
    parser = argparse.ArgumentParser(prog="sglang", add_help=False, allow_abbrev=False)
    ServerArgs.add_cli_args(parser)
    return parser


def derive(settings: SglangSettings) -> Iterator[Derived]:
    """The options of SGLang that follow from the component and its settings."""
    if settings.status_port >= 0:
        yield Derived("enable-metrics", True, "status-port")
    if endpoint := settings.otlp_traces_endpoint:
        yield Derived("enable-trace", True, "otlp-endpoint")
        yield Derived("otlp-traces-endpoint", endpoint, "otlp-endpoint")
    if settings.enable_lora:
        yield Derived("max-lora-rank", MAX_LORA_RANK, "enable-lora")
        yield Derived("lora-target-modules", ["all"], "enable-lora")
    if isinstance(settings, KvEventSettings) and settings.why_kv_events:
        yield Derived("kv-events-config", {"publisher": "zmq"}, settings.why_kv_events)
    if isinstance(settings, TransferHostSettings):
        role = "decode" if isinstance(settings, DecodeSettings) else "prefill"
        yield Derived("disaggregation-mode", role, f"role {role}")
        yield Derived("disaggregation-transfer-backend", "nixl", f"role {role}")
    if isinstance(settings, TransferSettings):
        if settings.kv_transfer_host:
            yield Derived("host", settings.kv_transfer_host, "kv-transfer-host")
        if settings.kv_transfer_port:
            yield Derived("disaggregation-bootstrap-port", settings.kv_transfer_port, "kv-transfer-port")


def gpus(options: Mapping[str, Any]) -> int | None:
    """The GPUs that SGLang takes on this machine; None if its options do not tell."""
    if not str(options.get("device") or "cuda").startswith("cuda"):
        return 0
    sizes = ["tp-size", "pp-size"]
    if not options.get("enable-dp-attention"):  # with it, its ranks share the GPUs of tp-size
        sizes.append("dp-size")
    total = multiplied(options, *sizes)
    return total if total is None else math.ceil(total / int(options.get("nnodes") or 1))


SGLANG = Engine(
    "SGLang",
    build_parser,
    shared={
        "model": "--model-path",
        "served-model-name": "--served-model-name",
        "tool-call-parser": None,
        "reasoning-parser": None,
        "enable-lora": "--enable-lora",
        "log-level": "--log-level",
        "rpc-host": "--host",
        "config": None,
    },
    kept={
        "--incremental-streaming-output": "the worker sets it, so that an output holds only what is new",
        "--disaggregation-mode": "the component decides it; start dynamo-sglang-prefill or "
        "dynamo-sglang-decode for one half of a pair, dynamo-sglang-worker for whole requests",
        "--disaggregation-bootstrap-port": "--kv-transfer-port of dynamo-sglang-prefill decides it",
    },
    gpus=gpus,
    block_size="page-size",
)
