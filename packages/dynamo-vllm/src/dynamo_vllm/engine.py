"""Starting vLLM's engine.

Imports vLLM, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from pydantic import ValidationError
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM

from dynamo_core.args.suggest import nearest
from dynamo_core.errors import UserError
from dynamo_vllm.args import VllmSettings
from dynamo_vllm.errors import readable


class _Parser(FlexibleArgumentParser):
    """vLLM's own parser; what it refuses is told in one line instead of 250 options of usage."""

    def error(self, message: str) -> NoReturn:
        known = [flag for action in self._actions for flag in action.option_strings]
        flags = [word.split("=")[0] for word in message.split() if word.startswith("--")]
        hints = [hint for flag in flags if flag not in known and (hint := nearest(flag, known))]
        raise UserError(f"vLLM: {message}", fix="; ".join(hints) or "see vllm serve --help")


def engine_args(settings: VllmSettings, flags: Sequence[str]) -> AsyncEngineArgs:
    """vLLM's arguments from the flags that are its own. Raises `UserError`."""
    parser = AsyncEngineArgs.add_cli_args(_Parser(prog="vllm", add_help=False, allow_abbrev=False))
    shared = ["--model", settings.model]
    if settings.served_model_name is not None:
        shared += ["--served-model-name", settings.served_model_name]
    return AsyncEngineArgs.from_cli_args(parser.parse_args([*shared, *flags]))


def start_engine(settings: VllmSettings, flags: Sequence[str]) -> AsyncLLM:
    """Start vLLM; takes seconds to minutes and blocks.

    Raises `UserError` for arguments that vLLM refuses before it starts any process.
    """
    arguments = engine_args(settings, flags)
    try:
        config = arguments.create_engine_config()
    except (ValidationError, ValueError, OSError) as error:
        raise UserError(f"vLLM refuses these arguments: {readable(error)}") from error
    return AsyncLLM.from_vllm_config(config, enable_log_requests=False)
