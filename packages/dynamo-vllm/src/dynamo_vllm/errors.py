"""vLLM's exceptions, told as the request errors that the frontend understands.

Imports vLLM, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from vllm import exceptions
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from dynamo_core.errors import Disconnected, EngineShutdown, InvalidArgument

# vLLM's input checks raise VLLMClientError in newer releases and ValueError in older ones, and
# pydantic's own ValidationError, a ValueError, where they leave the checking to pydantic.
_BadRequest: tuple[type[Exception], ...] = (getattr(exceptions, "VLLMClientError", ValueError), ValueError)
_Busy: type[Exception] | tuple[()] = getattr(exceptions, "GracefulHTTPError", ())


@contextmanager
def engine_errors() -> Iterator[None]:
    """Wrap whatever calls the engine, a whole `async for` over its outputs too.

    A bad request becomes `InvalidArgument` with vLLM's message, a full queue becomes `Disconnected`
    (503; another worker may take the request) and a dead engine becomes `EngineShutdown`, after
    which the frontend sends this worker nothing more. Anything else is a defect and passes unchanged.
    """
    try:
        yield
    except EngineDeadError as error:
        raise EngineShutdown("vLLM's engine process died; the worker's log has its last words") from error
    except _Busy as error:
        raise Disconnected(readable(error)) from error
    except _BadRequest as error:
        raise InvalidArgument(readable(error)) from error
    except EngineGenerateError as error:
        # vLLM wraps what it does not expect, among it checks that still raise ValueError.
        if isinstance(error.__cause__, _BadRequest):
            raise InvalidArgument(readable(error.__cause__)) from error
        raise


def readable(error: BaseException) -> str:
    """The error's message without what vLLM and pydantic add for programs; a failed start reads well too."""
    if isinstance(error, ValidationError):
        problems = (
            (".".join(map(str, part["loc"])), part["msg"].removeprefix("Value error, "))
            for part in error.errors()
        )
        return "; ".join(": ".join(filter(None, problem)) for problem in problems)
    if hasattr(error, "parameter") and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__
