"""Starting SGLang's engine.

Imports SGLang, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import importlib.util
import json

import sglang
from sglang.srt.server_args import ServerArgs

from dynamo_core.args import EngineOptions
from dynamo_core.errors import UserError
from dynamo_core.handlers.kv_events import KvEventSocket
from dynamo_core.ports import check_port


def start_engine(
    options: EngineOptions, *, kv_events: KvEventSocket, bootstrap: tuple[str, int] | None
) -> sglang.Engine:
    """Start SGLang; takes seconds to minutes and blocks.

    KV events, if there are any, are published at `kv_events` unless the options name another address.
    A prefill worker is found at `bootstrap`. Raises `UserError` for arguments that SGLang refuses before
    it starts any process.
    """
    namespace = options.namespace()
    namespace.incremental_streaming_output = True  # each output holds only what is new
    if bootstrap is not None:
        check_port(*bootstrap, "kv-transfer-port")  # SGLang would go on without its bootstrap server
        namespace.disaggregation_bootstrap_port = bootstrap[1]
    try:
        events = json.loads(namespace.kv_events_config or "{}")
        if events.get("publisher") == "zmq" and "endpoint" not in events:
            namespace.kv_events_config = json.dumps({**events, "endpoint": kv_events.endpoint})
        arguments = ServerArgs.from_cli_args(namespace)
        arguments.resolve_once()
    except (ValueError, OSError) as error:
        raise UserError(f"SGLang refuses these arguments: {error}") from error
    _check_nixl(arguments)
    return sglang.Engine(server_args=arguments)


def _check_nixl(arguments: ServerArgs) -> None:
    resolved = arguments.resolved_dict()
    is_needed = resolved["disaggregation_transfer_backend"] == "nixl"
    if resolved["disaggregation_mode"] == "null" or not is_needed or importlib.util.find_spec("nixl"):
        return
    raise UserError(
        "prefill and decode workers move the KV cache with NIXL, which is not installed",
        fix="pip install 'dynamo-sglang[disaggregation]', or give another --disaggregation-transfer-backend",
    )
