"""The settings of vLLM's components; every other flag is vLLM's own."""

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
    LocalPrefillSettings,
    ModelSettings,
    ParserSettings,
    RoutedSettings,
    RuntimeSettings,
    StreamSettings,
    TransferSettings,
)
from dynamo_core.args.engine import multiplied
from dynamo_core.environment import Variable
from dynamo_core.models import engine_import
from dynamo_core.ports import is_loopback
from dynamo_core.runtime.variables import runtime_variables

INSTALL = "pip install dynamo-vllm; its README says how without a GPU"


class VllmSettings(
    ModelSettings,
    ParserSettings,
    AdapterSettings,
    GpuSettings,
    HealthSettings,
    StreamSettings,
    ComponentSettings,
    RuntimeSettings,
):
    "The settings of every vLLM component"


class VllmWorkerSettings(RoutedSettings, VllmSettings):
    "The settings of dynamo-vllm-worker"


class VllmPrefillSettings(RoutedSettings, LocalPrefillSettings, TransferSettings, VllmSettings):
    "The settings of dynamo-vllm-prefill"


class VllmDecodeSettings(KvEventSettings, DecodeSettings, TransferSettings, VllmSettings):
    "The settings of dynamo-vllm-decode"


def vllm_variables(settings: VllmSettings) -> list[Variable]:
    """vLLM's environment: what it reads nowhere else, where our default is another one."""
    return [
        Variable("VLLM_HOST_IP", settings.rpc_host, "vLLM's processes meet on this address", yields=True),
        Variable("VLLM_NO_USAGE_STATS", "1", "nothing about the use of vLLM is sent anywhere", yields=True),
        Variable("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "0", "they lead past allowed-media-domains", yields=True),
        Variable("VLLM_LOGGING_LEVEL", settings.log_level.upper(), "log level", yields=True),
        *(transfer_variables(settings) if isinstance(settings, TransferSettings) else ()),
    ]


def transfer_variables(settings: TransferSettings) -> list[Variable]:
    """Where NIXL, which moves the KV cache from prefill to decode, lets the two meet."""
    found = [Variable("VLLM_NIXL_SIDE_CHANNEL_HOST", settings.kv_transfer_address, "KV transfer")]
    if settings.kv_transfer_port:
        port = str(settings.kv_transfer_port)
        found.append(Variable("VLLM_NIXL_SIDE_CHANNEL_PORT", port, "KV transfer"))
    if is_loopback(settings.kv_transfer_address):
        found.append(Variable("UCX_NET_DEVICES", "lo", "KV transfer stays on this machine", yields=True))
    return found


def variables(settings: VllmSettings) -> list[Variable]:
    """All that the worker sets for the libraries in it."""
    return [*runtime_variables(settings), *vllm_variables(settings)]


def build_parser() -> argparse.ArgumentParser:
    """vLLM's own parser; imports vLLM."""
    with engine_import("vllm", fix=INSTALL):
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    return AsyncEngineArgs.add_cli_args(
        FlexibleArgumentParser(prog="vllm", add_help=False, allow_abbrev=False)
    )


def derive(settings: VllmSettings) -> Iterator[Derived]:
    """The options of vLLM that follow from the component and its settings."""
    if isinstance(settings, KvEventSettings) and settings.why_kv_events:
        yield Derived("kv-events-config.enable_kv_cache_events", True, settings.why_kv_events)
    if endpoint := settings.otlp_traces_endpoint:
        yield Derived("otlp-traces-endpoint", endpoint, "otlp-endpoint")
    if isinstance(settings, TransferSettings):
        role = "decode" if isinstance(settings, DecodeSettings) else "prefill"
        why = f"role {role}"
        yield Derived("kv-transfer-config.kv_connector", "NixlConnector", why)
        yield Derived(
            "kv-transfer-config.kv_role", {"prefill": "kv_producer", "decode": "kv_consumer"}[role], why
        )
        if role == "decode":  # what a lost prefill worker does not hand over is computed again
            yield Derived("kv-transfer-config.kv_load_failure_policy", "recompute", why)


def gpus(options: Mapping[str, Any]) -> int | None:
    """The GPUs that vLLM takes on this machine; None if its options do not tell."""
    sizes = ["tensor-parallel-size", "pipeline-parallel-size", "prefill-context-parallel-size"]
    local = "data-parallel-size-local"
    if "data-parallel-rank" not in options:  # with it, this worker is one rank of several
        sizes.append(local if options.get(local) is not None else "data-parallel-size")
    total = multiplied(options, *sizes)
    return total if total is None or local in sizes else math.ceil(total / int(options.get("nnodes") or 1))


VLLM = Engine(
    "vLLM",
    build_parser,
    shared={
        "model": "--model",
        "served-model-name": "--served-model-name",
        "reasoning-parser": "--reasoning-parser",
        "enable-lora": "--enable-lora",
        "log-level": None,
    },
    gpus=gpus,
    block_size="block-size",
)
