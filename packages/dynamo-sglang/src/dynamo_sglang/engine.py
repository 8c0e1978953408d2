"""Starting SGLang's engine.

Imports SGLang, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

import sglang
from sglang.srt.server_args import ServerArgs

from dynamo_core.args.suggest import nearest
from dynamo_core.errors import UserError
from dynamo_sglang.args import SglangSettings


class _Parser(argparse.ArgumentParser):
    """A parser for SGLang's options; what it refuses is told in one line."""

    def error(self, message: str) -> NoReturn:
        known = [flag for action in self._actions for flag in action.option_strings]
        flags = [word.split("=")[0] for word in message.split() if word.startswith("--")]
        hints = [hint for flag in flags if flag not in known and (hint := nearest(flag, known))]
        raise UserError(
            f"SGLang: {message}", fix="; ".join(hints) or "see python -m sglang.launch_server --help"
        )


def server_args(settings: SglangSettings, flags: Sequence[str]) -> ServerArgs:
    """SGLang's arguments from the flags that are its own. Raises `UserError`."""
    parser = _Parser(prog="sglang", add_help=False, allow_abbrev=False)
    ServerArgs.add_cli_args(parser)
    shared = ["--model-path", settings.model, "--host", settings.rpc_host, "--log-level", settings.log_level]
    if settings.served_model_name is not None:
        shared += ["--served-model-name", settings.served_model_name]
    ours = ["--incremental-streaming-output"]  # each output holds only what is new
    try:
        arguments = ServerArgs.from_cli_args(parser.parse_args([*shared, *flags, *ours]))
        arguments.resolve_once()
    except (ValueError, OSError) as error:
        raise UserError(f"SGLang refuses these arguments: {error}") from error
    return arguments


def start_engine(settings: SglangSettings, flags: Sequence[str]) -> sglang.Engine:
    """Start SGLang; takes seconds to minutes and blocks."""
    return sglang.Engine(server_args=server_args(settings, flags))
