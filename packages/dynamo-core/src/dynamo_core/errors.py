"""Every error that crosses a boundary of this project.

`UserError` and `EngineDead` end a process with one clear line; anything else is a defect and keeps
its traceback. Request errors are raised by handlers: the facade hands them to the Rust runtime
under the same names, which turns them into HTTP status codes or moves the request elsewhere.
"""

from __future__ import annotations


class UserError(Exception):
    """Something the user can fix: printed as it is, without a traceback, exit code 2.

    `message` states the rule, the value found and where it came from; `fix` is the next step.
    """

    exit_code = 2

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(f"{message}\n  fix: {fix}" if fix else message)


class EngineDead(Exception):
    """The engine behind a worker is gone; the message is the engine's own first error. Exit code 1."""

    exit_code = 1


class RequestError(Exception):
    """One request failed; the worker goes on. For a client's process, exit code 1."""

    exit_code = 1


class InvalidArgument(RequestError):
    """The client asked for what cannot be had: HTTP 400 with this message, before the first chunk."""


class EngineShutdown(RequestError):
    """The engine is gone or going: frontends with a migration limit above 0 move the request."""


class Disconnected(RequestError):
    """An established connection was lost: frontends move the request, as above."""


class StreamIncomplete(RequestError):
    """The stream ended before its finish reason: frontends move the request, as above."""


class CannotConnect(RequestError):
    """No connection could be made."""


class ConnectionTimeout(RequestError):
    """A connection or a request took too long: frontends move the request, as above; HTTP 504 in the end."""


class Cancelled(RequestError):
    """The request was cancelled."""


class Unknown(RequestError):
    """None of the other kinds: HTTP 500."""


REQUEST_ERRORS = {kind.__name__: kind for kind in RequestError.__subclasses__()}
"""By the name that the Rust runtime's exceptions have, too."""
