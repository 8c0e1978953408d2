"""Whether a handler still answers: an engine can hang without dying."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dynamo_core.errors import RequestError
from dynamo_core.runtime.streams import Streams

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Probe:
    """A request that a handler is asked when nobody else has had an answer for `interval` seconds, and the
    seconds in which it has to be answered."""

    request: Mapping[str, Any]
    interval: float
    timeout: float


async def watch_answers(path: str, streams: Streams, probe: Probe, ready: Callable[[bool], None]) -> None:
    """Call `ready` whenever the handler stops or begins again to answer; never ends.

    A chunk for anybody is an answer, so that a busy engine is not asked, and a full one is not taken for
    one that hangs.
    """
    answers = True
    while True:
        seen = streams.chunks
        await asyncio.sleep(probe.interval)
        if streams.chunks != seen and answers:
            continue
        problem = await _ask(streams, probe)
        if problem and streams.chunks != seen:
            problem = ""
        if answers is bool(problem):
            answers = not problem
            if problem:
                logger.warning("%s is not ready: %s", path, problem)
            ready(answers)


async def _ask(streams: Streams, probe: Probe) -> str:
    """What is wrong; empty if the handler has answered."""
    try:
        async with asyncio.timeout(probe.timeout):
            await streams.ask(probe.request)
    except TimeoutError:
        return f"its engine has not answered a request for one token within {probe.timeout:g} s"
    except RequestError as error:
        return f"its engine answers a request for one token with an error: {error}"
    return ""
