"""The settings of vLLM's components; every other flag is vLLM's own."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

from dynamo_core.args import ComponentSettings, Engine, GpuSettings, ModelSettings, RuntimeSettings
from dynamo_core.args.engine import multiplied
from dynamo_core.environment import Variable
from dynamo_core.models import engine_import
from dynamo_core.runtime.variables import runtime_variables

INSTALL = "pip install dynamo-vllm; its README says how without a GPU"


class VllmSettings(ModelSettings, GpuSettings, ComponentSettings, RuntimeSettings):
    "The settings of a vLLM component"


def vllm_variables(settings: VllmSettings) -> list[Variable]:
    """vLLM's environment: what it reads nowhere else, where our default is another one."""
    return [
        Variable("VLLM_HOST_IP", settings.rpc_host, "vLLM's processes meet on this address", yields=True),
        Variable("VLLM_NO_USAGE_STATS", "1", "nothing about the use of vLLM is sent anywhere", yields=True),
        Variable("VLLM_LOGGING_LEVEL", settings.log_level.upper(), "log level", yields=True),
    ]


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
    shared={"model": "--model", "served-model-name": "--served-model-name", "log-level": None},
    gpus=gpus,
    block_size="block-size",
)
