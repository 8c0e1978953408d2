"""Opening and closing the runtime around a component's main."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from dynamo_core.errors import EngineDead, UserError
from dynamo_core.runtime.distributed import DistributedRuntime

if TYPE_CHECKING:
    from dynamo_core.args import RuntimeSettings

P = ParamSpec("P")
logger = logging.getLogger(__name__)


def dynamo_worker(
    settings: RuntimeSettings | None = None,
) -> Callable[
    [Callable[Concatenate[DistributedRuntime, P], Awaitable[None]]], Callable[P, Coroutine[Any, Any, None]]
]:
    """Open the runtime before a component's main and close it after.

        @dynamo_worker(settings)
        async def worker(runtime: DistributedRuntime) -> None: ...

    SIGTERM and SIGINT stop the runtime: endpoints leave discovery and drain, then `main` goes on to
    its end. While nothing is served yet, they cancel `main`. A second signal cancels it in any
    case. Without `settings`, the embedded defaults and `DYN_…` variables hold.
    """

    def decorate(main: Callable[Concatenate[DistributedRuntime, P], Awaitable[None]]) -> Callable[P, Coroutine[Any, Any, None]]:
        @functools.wraps(main)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
            async with DistributedRuntime.open(settings or _defaults()) as runtime:
                task = asyncio.ensure_future(main(runtime, *args, **kwargs))
                with _signals(runtime, task) as was_asked:
                    try:
                        await task
                    except asyncio.CancelledError:
                        if not was_asked():
                            raise

        return wrapper

    return decorate


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a component's main on uvloop and exit with what became of it.

    0 if it was stopped or came to its end, 2 after a mistake that the user can fix, 1 after the
    engine died. Both print their message as the last line; anything else keeps its traceback.
    """
    import uvloop

    try:
        uvloop.run(main)
    except (UserError, EngineDead) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None


@contextlib.contextmanager
def _signals(runtime: DistributedRuntime, task: asyncio.Future[None]) -> Iterator[Callable[[], bool]]:
    """Turn signals into a stop; yields a function that tells whether one came."""
    loop = asyncio.get_running_loop()
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        if len(received) == 1 and runtime.is_serving:
            logger.info("%s: stopping", number.name)
            runtime.stop()
        else:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield lambda: bool(received)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _defaults() -> RuntimeSettings:
    from dynamo_core.args import DynamoFlexibleArgumentParser, RuntimeSettings

    return DynamoFlexibleArgumentParser(RuntimeSettings).parse([]).settings
