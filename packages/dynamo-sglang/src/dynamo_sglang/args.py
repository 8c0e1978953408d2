"""The settings of SGLang's components; every other flag is SGLang's own."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

from dynamo_core.args import ComponentSettings, Engine, GpuSettings, ModelSettings, RuntimeSettings
from dynamo_core.args.engine import multiplied
from dynamo_core.models import engine_import

INSTALL = "pip install dynamo-sglang; its README says how without a GPU"


class SglangSettings(ModelSettings, GpuSettings, ComponentSettings, RuntimeSettings):
    "The settings of an SGLang component"


def build_parser() -> argparse.ArgumentParser:
    """A parser with SGLang's options; imports SGLang."""
    with engine_import("sglang", fix=INSTALL):
        from sglang.srt.server_args import ServerArgs
    parser = argparse.ArgumentParser(prog="sglang", add_help=False, allow_abbrev=False)
    ServerArgs.add_cli_args(parser)
    return parser


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
        "log-level": "--log-level",
        "rpc-host": "--host",
        "config": None,
    },
    kept={"--incremental-streaming-output": "the worker sets it, so that an output holds only what is new"},
    gpus=gpus,
    block_size="page-size",
)
