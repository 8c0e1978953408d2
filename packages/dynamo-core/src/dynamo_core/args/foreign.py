"""`DYN_…` variables: which of those that are set does anybody read?"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Iterable

from dynamo_core import environment
from dynamo_core.args.settings import Declaration, variable_of
from dynamo_core.args.suggest import nearest

PREFIX = "DYN_"
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|^NATS_SERVER$|^ETCD_ENDPOINTS$", re.IGNORECASE)
OF_OTHER_COMPONENTS = (
    "DYN_ACTIVE_DECODE_BLOCKS_THRESHOLD",
    "DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD",
    "DYN_BATCH_CONCURRENCY",
    "DYN_BATCH_OUTPUT",
    "DYN_BATCH_WAIT_TIMEOUT",
    "DYN_BLOCK_SIZE",
    "DYN_CHUNK_TOKENS",
    "DYN_CHUNK_WINDOW_MS",
    "DYN_CONDITIONAL_DISAGG",
    "DYN_ENGINE_ARGS_FILE",
    "DYN_GPUS",
    "DYN_HEALTH_INTERVAL",
    "DYN_HEALTH_TIMEOUT",
    "DYN_HTTP_HOST",
    "DYN_HTTP_PORT",
    "DYN_INPUT",
    "DYN_KV_EVENTS",
    "DYN_KV_TRANSFER_HOST",
    "DYN_KV_TRANSFER_PORT",
    "DYN_LORA_ENABLED",
    "DYN_MAX_LOCAL_PREFILL_LENGTH",
    "DYN_MIGRATION_LIMIT",
    "DYN_MODEL",
    "DYN_PREFILL_COMPONENT",
    "DYN_REASONING_PARSER",
    "DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT",
    "DYN_ROUTER_MODE",
    "DYN_ROUTER_QUEUE_THRESHOLD",
    "DYN_ROUTER_REPLICA_SYNC",
    "DYN_ROUTER_SESSION_AFFINITY_TTL_SECS",
    "DYN_ROUTER_TEMPERATURE",
    "DYN_ROUTER_TTL_SECS",
    "DYN_ROUTER_USE_KV_EVENTS",
    "DYN_SERVED_MODEL_NAME",
    "DYN_SPEEDUP_RATIO",
    "DYN_TLS_CERT_PATH",
    "DYN_TLS_KEY_PATH",
    "DYN_TOKEN_DELAY",
    "DYN_TOOL_CALL_PARSER",
    "DYN_WORKERS",
)
"""Settings of our packages; which of them are installed here must not decide what is a mistake."""


def is_of_another_component(key: str) -> bool:
    """Whether a file's key that is no setting here is one elsewhere in our packages."""
    return variable_of(key.replace("-", "_")) in OF_OTHER_COMPONENTS


def unknown_variables(declared: Iterable[Declaration]) -> list[str]:
    """One problem for each `DYN_…` variable that is set and that nobody reads.

    `declared` are the settings of the component that asks.
    """
    settings = list(declared)
    ours = {*(name.env for setting in settings for name in setting.names), *OF_OTHER_COMPONENTS}
    others = {variable_of(setting.name): setting for setting in settings}
    problems = []
    for name in _present():
        if name in ours or _is_foreign(name):
            continue
        if name in others:
            hint = f"{others[name].key} is read from {others[name].env}"
        else:
            hint = nearest(name, ours | foreign_names()) or "unset it"
        problems.append(f"{name} is set, but nothing reads it; {hint}")
    return problems


def foreign_variables(declared: Iterable[str]) -> dict[str, str]:
    """What is set of the variables of others, with what looks like a secret masked."""
    ours = {*declared, *OF_OTHER_COMPONENTS}
    names = [name for name in _present() if name not in ours and _is_foreign(name)]
    return {name: "********" if is_secret_variable(name) else str(environment.read(name)) for name in names}


def is_secret_variable(name: str) -> bool:
    """Whether a variable's value must not be shown; only its name can tell."""
    return bool(_SECRET.search(name))


def _present() -> list[str]:
    return sorted(name for name in environment.snapshot() if name.startswith(PREFIX))


def _is_foreign(name: str) -> bool:
    foreign = foreign_names()
    return name in foreign or name.startswith(tuple(n for n in foreign if n.endswith("_")))


@functools.cache
def foreign_names() -> frozenset[str]:
    """The variables of the Rust runtime and of the Kubernetes operator."""
    text = importlib.resources.files(__package__).joinpath("foreign_names.txt").read_text()
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))
