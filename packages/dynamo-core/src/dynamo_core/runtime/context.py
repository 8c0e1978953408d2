"""What a handler may ask about the request it serves."""

from __future__ import annotations

from typing import Protocol


class Context(Protocol):
    """The runtime's view of one request; the Rust side implements it.

    A handler rarely needs it: when the client leaves, the facade cancels the handler at the point
    where it waits.
    """

    def id(self) -> str:
        """The request's id, the same in every component that it passes."""
        ...

    def is_stopped(self) -> bool:
        """Whether the client has left or asked to stop."""
        ...

    def trace_headers(self) -> dict[str, str] | None:
        """What names this request's trace to others, as W3C Trace Context has it; None without traces."""
        ...

    def stop_generating(self) -> None:
        """Ask whoever serves this request to stop."""
        ...
