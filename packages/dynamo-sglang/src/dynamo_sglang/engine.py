"""Starting SGLang's engine.

Imports SGLang, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import sglang
from sglang.srt.server_args import ServerArgs

from dynamo_core.args import EngineOptions
from dynamo_core.errors import UserError


def start_engine(options: EngineOptions) -> sglang.Engine:
    """Start SGLang; takes seconds to minutes and blocks.

    Raises `UserError` for arguments that SGLang refuses before it starts any process.
    """
    namespace = options.namespace()
    namespace.incremental_streaming_output = True  # each output holds only what is new
    try:
        arguments = ServerArgs.from_cli_args(namespace)
        arguments.resolve_once()
    except (ValueError, OSError) as error:
        raise UserError(f"SGLang refuses these arguments: {error}") from error
    return sglang.Engine(server_args=arguments)
