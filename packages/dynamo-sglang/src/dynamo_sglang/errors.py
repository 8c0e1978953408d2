"""SGLang's refusals, told as the request errors that the frontend understands.

SGLang refuses a request in two ways: what its front half checks is raised, what its scheduler finds is
streamed as a last chunk with finish reason "abort". A dead engine does neither, its streams just wait:
the worker has to watch the engine's processes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from dynamo_core.errors import Disconnected, InvalidArgument, RequestError, Unknown

_CLIENT_NAMES = {
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "sampling_seed": "seed",
    "input_ids": "token_ids",
}
_ENGINE_NAME = re.compile(rf"\b({'|'.join(_CLIENT_NAMES)})\b")
_NOT_HANDED_OVER = re.compile(
    r"(?:Decode|Prefill) (?:handshake|transfer|bootstrap) failed(?:.*?KVTransferError\(.*?\))?(.*)", re.DOTALL
)
_CPP_LOCATION = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ")


@contextmanager
def engine_errors() -> Iterator[None]:
    """Wrap whatever calls the engine, a whole `async for` over its outputs too.

    SGLang raises ValueError for a bad request; it becomes `InvalidArgument`, in the client's words.
    Anything else is a defect and passes unchanged.
    """
    try:
        yield
    except ValueError as error:
        raise InvalidArgument(readable(str(error))) from error


def abort_error(reason: Mapping[str, Any]) -> RequestError | None:
    """What to raise for an "abort" of the scheduler's own making: `InvalidArgument` for a bad request,
    `Disconnected` where the engine is too busy or has lost the other half of its pair, and other workers
    may take it; `Unknown`, the one that frontends do not try again, where it has waited long enough for the
    other half. None for the others: a request that was aborted from outside has no status, a failure inside
    the engine has another one."""
    if match := _NOT_HANDED_OVER.match(reason.get("message") or ""):
        kind = Unknown if "timed out" in match[1] else Disconnected
        return kind(f"the KV cache was not handed over by the prefill to the decode worker{match[1]}")
    match reason.get("status_code"):
        case HTTPStatus.BAD_REQUEST:
            return InvalidArgument(readable(reason["message"]))
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return Disconnected(readable(reason["message"]))
        case _:
            return None


def raise_if_aborted(reason: Mapping[str, Any] | None) -> None:
    """Raise the request error for a request that the engine has given up."""
    if reason is not None and reason["type"] == "abort":
        raise abort_error(reason) or Unknown(readable(reason.get("message") or "aborted"))


def readable(message: str) -> str:
    """SGLang's message with the client's names for options and without places in C++ sources."""
    message = _CPP_LOCATION.sub("", message)
    return _ENGINE_NAME.sub(lambda name: _CLIENT_NAMES[name.group()], message).strip().rstrip(":")
