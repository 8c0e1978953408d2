"""The settings of TensorRT-LLM's components; every other flag is an argument of TensorRT-LLM's `LLM`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from typing import Any

from dynamo_core.args import ComponentSettings, Engine, GpuSettings, ModelSettings, RuntimeSettings
from dynamo_core.args.engine import multiplied
from dynamo_core.environment import Variable
from dynamo_core.models import engine_import
from dynamo_core.runtime.variables import runtime_variables
from dynamo_trtllm.options import parser_of

INDEX = "https://pypi.nvidia.com"


class TrtllmSettings(ModelSettings, GpuSettings, ComponentSettings, RuntimeSettings):
    "The settings of a TensorRT-LLM component"


def trtllm_variables(settings: TrtllmSettings) -> list[Variable]:
    """TensorRT-LLM's environment: what it reads nowhere else."""
    return [Variable("TLLM_LOG_LEVEL", settings.log_level.upper(), "log level", yields=True)]


def variables(settings: TrtllmSettings) -> list[Variable]:
    """All that the worker sets for the libraries in it."""
    return [*runtime_variables(settings), *trtllm_variables(settings)]


def trtllm_import() -> contextlib.AbstractContextManager[None]:
    """Wrap the import of TensorRT-LLM; it initialises MPI, so only a worker's process may do it."""
    return engine_import("tensorrt_llm", fix=f"pip install dynamo-trtllm --extra-index-url {INDEX}")


def build_parser() -> argparse.ArgumentParser:
    """The arguments of `LLM` as flags. Imports TensorRT-LLM."""
    with trtllm_import():
        from tensorrt_llm.llmapi import TorchLlmArgs
    return parser_of(TorchLlmArgs)


def gpus(options: Mapping[str, Any]) -> int | None:
    """The GPUs that TensorRT-LLM takes on this machine; None if its options do not tell."""
    total = multiplied(options, "tensor-parallel-size", "pipeline-parallel-size", "context-parallel-size")
    return total if total is None else min(total, int(options.get("gpus-per-node") or total))


TRTLLM = Engine(
    "TensorRT-LLM",
    build_parser,
    shared={"model": "--model"},
    kept={"--skip-tokenizer-init": "the worker sets it, since prompts and answers are tokens here"},
    gpus=gpus,
)
