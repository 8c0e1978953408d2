"""Request errors in the words of the Rust runtime, and back."""

from __future__ import annotations

from dynamo_core.errors import REQUEST_ERRORS, RequestError


def to_rust(error: RequestError) -> Exception:
    """The Rust runtime's exception of the same kind."""
    from dynamo import _core

    kind: type[Exception] = getattr(_core, type(error).__name__, _core.Unknown)
    return kind(str(error))


def from_rust(error: Exception) -> RequestError:
    """Our request error of the same kind."""
    return REQUEST_ERRORS.get(type(error).__name__, REQUEST_ERRORS["Unknown"])(str(error))
