"""The settings of SGLang's components; every other flag is SGLang's own."""

from __future__ import annotations

import argparse

from dynamo_core.args import ComponentSettings, Engine, ModelSettings, RuntimeSettings
from dynamo_core.models import engine_import

INSTALL = "pip install dynamo-sglang; its README says how without a GPU"


class SglangSettings(ModelSettings, ComponentSettings, RuntimeSettings):
    "The settings of an SGLang component"


def build_parser() -> argparse.ArgumentParser:
    """A parser with SGLang's options; imports SGLang."""
    with engine_import("sglang", fix=INSTALL):
        from sglang.srt.server_args import ServerArgs
    parser = argparse.ArgumentParser(prog="sglang", add_help=False, allow_abbrev=False)
    ServerArgs.add_cli_args(parser)
    return parser


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
)
