"""Starting SGLang's engine.

Imports SGLang, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import logging

from sglang.srt.entrypoints.engine import Engine, init_tokenizer_manager
from sglang.srt.parser.reasoning_parser_names import REASONING_PARSER_NAMES
from sglang.srt.server_args import ServerArgs

from dynamo_core import environment
from dynamo_core.args import EngineOptions
from dynamo_core.environment import Variable
from dynamo_core.errors import UserError
from dynamo_core.handlers.kv_events import KvEventSocket
from dynamo_core.handlers.private_folder import PrivateFolder
from dynamo_core.ports import check_port
from dynamo_sglang.adapters import CountingTokenizerManager

logger = logging.getLogger(__name__)

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def start_engine(
    options: EngineOptions,
    *,
    kv_events: KvEventSocket,
    metrics_folder: PrivateFolder,
    bootstrap: tuple[str, int] | None,
    reasoning_parser: str | None,
) -> Engine:
    """Start SGLang; takes seconds to minutes and blocks.

    KV events, if there are any, are published at `kv_events` unless the options name another address, and
    metrics are gathered in `metrics_folder` unless the environment names another one. A prefill worker is
    found at `bootstrap`. Raises `UserError` for arguments that SGLang refuses before it starts any process.
    """
    namespace = options.namespace()
    namespace.incremental_streaming_output = True  # each output holds only what is new
    namespace.reasoning_parser = reasoning_parser and own_name(reasoning_parser)
    if bootstrap is not None:
        check_port(*bootstrap, "kv-transfer-port")  # SGLang would go on without its bootstrap server
        namespace.disaggregation_bootstrap_port = bootstrap[1]
    arguments = _resolved(namespace, kv_events)
    resolved = arguments.resolved_dict()
    if resolved["disaggregation_mode"] != "null" and resolved["disaggregation_transfer_backend"] == "nixl":
        _check_nixl()
    if resolved["enable_trace"]:
        _check_exporters()
    if resolved["enable_metrics"]:
        why = "SGLang's processes gather their metrics here"
        environment.publish([Variable(METRICS_FOLDER, str(metrics_folder.path), why, yields=True)])
    return CountingEngine(server_args=arguments)


class CountingEngine(Engine):
    init_tokenizer_manager_func = staticmethod(
        functools.partial(init_tokenizer_manager, TokenizerManagerClass=CountingTokenizerManager)
    )


def metrics() -> str:
    """SGLang's own metrics, added up over its processes."""
    # Imported before the folder is known, it would count for this process alone.
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, environment.read(METRICS_FOLDER))
    return generate_latest(registry).decode()


def _resolved(namespace: argparse.Namespace, kv_events: KvEventSocket) -> ServerArgs:
    try:
        events = json.loads(namespace.kv_events_config or "{}")
        if events.get("publisher") == "zmq" and "endpoint" not in events:
            namespace.kv_events_config = json.dumps({**events, "endpoint": kv_events.endpoint})
        arguments = ServerArgs.from_cli_args(namespace)
        arguments.resolve_once()
    except (ValueError, OSError) as error:
        raise UserError(f"SGLang refuses these arguments: {error}") from error
    return arguments


def own_name(parser: str) -> str | None:
    """SGLang has reasoning parsers of its own, which keep guided decoding out of the reasoning. The frontend
    spells some of their names otherwise, and knows others; its parsing needs nothing of SGLang."""
    known = {_without_dashes(name): name for name in REASONING_PARSER_NAMES}
    if (name := known.get(_without_dashes(parser))) is None:
        logger.info(
            "SGLang has no reasoning parser %s: guided decoding constrains the reasoning, too", parser
        )
    return name


def _without_dashes(name: str) -> str:
    return name.replace("-", "").replace("_", "")


def _check_nixl() -> None:
    if importlib.util.find_spec("nixl") is None:
        raise UserError(
            "prefill and decode workers move the KV cache with NIXL, which is not installed",
            fix="pip install 'dynamo-sglang[disaggregation]', or give another "
            "--disaggregation-transfer-backend",
        )


def _check_exporters() -> None:
    from sglang.srt.observability.trace import opentelemetry_imported

    if not opentelemetry_imported:
        raise UserError(
            "SGLang sends its spans with OpenTelemetry's exporters, which are not installed",
            fix="pip install opentelemetry-sdk opentelemetry-exporter-otlp",
        )
