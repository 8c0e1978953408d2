"""Starting vLLM's engine.

Imports vLLM, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

from pydantic import ValidationError
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.v1.engine.async_llm import AsyncLLM

from dynamo_core.args import EngineOptions
from dynamo_core.errors import UserError
from dynamo_vllm.errors import readable


def start_engine(options: EngineOptions) -> AsyncLLM:
    """Start vLLM; takes seconds to minutes and blocks.

    Raises `UserError` for arguments that vLLM refuses before it starts any process.
    """
    arguments = AsyncEngineArgs.from_cli_args(options.namespace())
    try:
        config = arguments.create_engine_config()
    except (ValidationError, ValueError, OSError) as error:
        raise UserError(f"vLLM refuses these arguments: {readable(error)}") from error
    return AsyncLLM.from_vllm_config(config, enable_log_requests=False)
