"""TensorRT-LLM's exceptions, told as the request errors that the frontend understands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dynamo_core.errors import EngineShutdown, InvalidArgument, StreamIncomplete


@contextmanager
def engine_errors(*, fetches: bool = False) -> Iterator[None]:
    """Wrap whatever calls the engine, a whole `async for` over its outputs too.

    A bad request becomes `InvalidArgument` with TensorRT-LLM's message, an engine that shuts down
    `EngineShutdown`. What fails in a request that `fetches` its KV cache from a prefill worker, which may
    be gone, becomes `StreamIncomplete`, as it can be begun anew. Anything else is a defect and passes
    unchanged.
    """
    try:
        yield
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    except RuntimeError as error:
        if "shutting down" in str(error):
            raise EngineShutdown("TensorRT-LLM is shutting down") from error
        if fetches:
            raise StreamIncomplete(f"the KV cache from the prefill worker is lost: {error}") from error
        raise
