"""Request errors in the words of the Rust runtime, and back."""

from __future__ import annotations

from dynamo_core.errors import (
    REQUEST_ERRORS,
    Cancelled,
    CannotConnect,
    ConnectionTimeout,
    RequestError,
    Unknown,
)

_BY_STATUS = {
    "Unavailable": CannotConnect,
    "DeadlineExceeded": ConnectionTimeout,
    "Cancelled": Cancelled,
}
"""What the Rust client puts before a message whose exception has no kind. It calls every loss of the
other side unavailable: nobody there, a lost connection, an engine that died, a stream cut short."""


def to_rust(error: RequestError) -> Exception:
    """The Rust runtime's exception of the same kind."""
    from dynamo import _core

    kind: type[Exception] = getattr(_core, type(error).__name__, _core.Unknown)
    return kind(str(error))


def from_rust(error: Exception) -> RequestError:
    """Our request error of the same kind, as far as the Rust client tells kinds apart."""
    if kind := REQUEST_ERRORS.get(type(error).__name__):
        return kind(str(error))
    status, _, message = str(error).partition(": ")
    if status in _BY_STATUS:
        return _BY_STATUS[status](message)
    return Unknown(str(error))
