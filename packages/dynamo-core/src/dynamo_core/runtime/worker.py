"""Opening and closing the runtime around a component's main."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from dynamo_core.errors import EngineDead, RequestError, UserError
from dynamo_core.runtime.distributed import DistributedRuntime

if TYPE_CHECKING:
    from dynamo_core.args import RuntimeSettings

P = ParamSpec("P")
logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


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

    def decorate(
        main: Callable[Concatenate[DistributedRuntime, P], Awaitable[None]],
    ) -> Callable[P, Coroutine[Any, Any, None]]:
        @functools.wraps(main)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
            async with DistributedRuntime.open(settings or _defaults()) as runtime:
                task = asyncio.ensure_future(main(runtime, *args, **kwargs))
                signals = _Signals(runtime, task)
                signals.install()
                runtime.before_serving = signals.install
                try:
                    await task
                except asyncio.CancelledError:
                    if not signals.received:
                        raise
                finally:
                    signals.remove()

        return wrapper

    return decorate


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a component's main on uvloop and exit with what became of it.

    0 if it was stopped or came to its end, 2 after a mistake that the user can fix, 1 after the
    engine died or a request that `main` made has failed. These print their message as the last
    line; anything else keeps its traceback.
    """
    import uvloop

    try:
        uvloop.run(main)
    except (UserError, EngineDead, RequestError) as error:
        logging.disable()  # what is torn down from here on must not talk over the last line
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None


class _Signals:
    """Turns SIGTERM and SIGINT into a stop of the runtime, or into the end of `task`."""

    def __init__(self, runtime: DistributedRuntime, task: asyncio.Future[None]) -> None:
        self._runtime = runtime
        self._task = task
        self._loop = asyncio.get_running_loop()
        self.received = 0

    def install(self) -> None:
        """Handle the signals from here on; called again when an engine may have taken them."""
        for number in _STOP_SIGNALS:
            self._loop.add_signal_handler(number, self._on_signal, number)

    def remove(self) -> None:
        for number in _STOP_SIGNALS:
            self._loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        self.received += 1
        if self.received == 1 and self._runtime.is_serving:
            logger.info("%s: stopping", number.name)
            self._runtime.stop()
        else:
            self._task.cancel()


def _defaults() -> RuntimeSettings:
    from dynamo_core.args import DynamoFlexibleArgumentParser, RuntimeSettings

    return DynamoFlexibleArgumentParser(RuntimeSettings).parse([]).settings
