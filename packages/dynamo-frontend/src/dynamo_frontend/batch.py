"""A file of requests, answered over the same HTTP frontend that everybody else uses.

dynamo-frontend --input batch:prompts.jsonl

`batch_input` and `batch_output` have the forms of both files.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynamo_core.errors import RequestError, UserError
from dynamo_core.runtime import DistributedRuntime
from dynamo_core.runtime.frontend import FrontendOptions
from dynamo_frontend.args import BatchSettings
from dynamo_frontend.batch_input import BatchRequest, check_input, read_requests
from dynamo_frontend.batch_models import Models, Place
from dynamo_frontend.batch_output import Answer, BatchOutput
from dynamo_frontend.batch_progress import Counts, is_terminal, shown, tell
from dynamo_frontend.local import (
    error_message,
    open_session,
    quiet_library,
    serve_for,
)

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT = 3600.0
"""Seconds that one answer may take, from the first byte sent to the last one received."""
TRIES = 3
"""How often a request is sent whose worker fails on it."""
PASSING = {"http_404", "http_429", "http_503", "connection_error"}
"""What may end when a worker comes, or has less to do. Without any model, every address gives a 404."""
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
"""Seconds between two tries, doubled from one to the next."""


async def batch(
    runtime: DistributedRuntime, options: FrontendOptions, settings: BatchSettings, source: Path
) -> None:
    """Answer every request of `source` that has no answer yet; ends when all have been tried.

    Raises `UserError` for an input or output that cannot be used, before the first request if it can
    be known, and `RequestError` unless every request has an answer in the end.
    """
    target = _target(source, settings.batch_output)
    try:
        counts = Counts(total=await check_input(source))
    except asyncio.CancelledError:
        raise RequestError("stopped before the first request") from None
    with BatchOutput(target) as output:
        if output.predates(source):
            logger.warning(
                "%s has changed since its last answer; lines without custom_id go by number", source
            )
        quiet_library(keep_logs=not is_terminal())
        running = Batch(source, output, counts, settings)
        try:
            async with shown(counts):
                await serve_for(running.run, runtime, options)
        except asyncio.CancelledError:  # by a second signal; what is missing is said below
            pass
        finally:
            tell(counts)
    _conclude(counts, target)


def _target(source: Path, given: Path | None) -> Path:
    """Where the answers go."""
    target = given or source.with_name(source.name.removesuffix(".jsonl") + ".out.jsonl")
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"--batch-output: {target} is the input", fix="give another file")
    return target


def _conclude(counts: Counts, target: Path) -> None:
    if counts.finished < counts.total:
        raise RequestError(
            f"stopped: {counts.skipped + counts.answered} of {counts.total} requests have an answer in "
            f"{target}; the same command goes on with the rest"
        )
    if counts.failed:
        kinds = ", ".join(f"{code}: {count}" for code, count in counts.failures.most_common())
        raise RequestError(
            f"{counts.failed} of {counts.total} requests failed ({kinds}); {target} has their errors, and "
            "the same command sends them again"
        )


class Batch:
    """Sends the requests, so many at a time, and writes the answers."""

    def __init__(self, source: Path, output: BatchOutput, counts: Counts, settings: BatchSettings) -> None:
        self._requests = self._unanswered(source, output, counts)
        self._output = output
        self._counts = counts
        self._concurrency = settings.batch_concurrency
        self._timeout = settings.batch_wait_timeout

    async def run(self, url: str) -> None:
        """Answer all requests; the server is at `url`."""
        async with open_session(url, REQUEST_TIMEOUT) as self._session:
            self._models = Models(self._session, self._counts, self._timeout)
            tasks = {asyncio.ensure_future(self._work()) for _ in range(self._concurrency)}
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    @staticmethod
    def _unanswered(source: Path, output: BatchOutput, counts: Counts) -> Iterator[BatchRequest]:
        for request in read_requests(source):
            if request.id in output.done:
                counts.skipped += 1
            else:
                yield request

    async def _work(self) -> None:
        for request in self._requests:
            answer = await self._answer(request)
            self._output.write(answer)
            self._counts.add(answer)

    async def _answer(self, request: BatchRequest) -> Answer:
        """Send a request until its answer counts."""
        loop = asyncio.get_running_loop()
        first_failure = math.inf
        for tries in itertools.count(1):
            ready = await self._models.ready()
            place = Place(request.model or ready[0], request.url)
            answer = await self._send(request, place.model)
            first_failure = min(first_failure, loop.time())
            if answer.code in PASSING:
                is_final = not await self._models.may_return(place, answer.status, first_failure)
            else:
                self._models.works(place)
                is_final = answer.status < 500 or tries >= TRIES
            if is_final:
                return answer
            pause = min(LAST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        raise AssertionError("unreachable")

    async def _send(self, request: BatchRequest, model: str) -> Answer:
        from aiohttp import ClientError

        request_id = str(uuid.uuid4())
        try:
            async with self._session.post(
                request.url, json={**request.body, "model": model}, headers={"x-request-id": request_id}
            ) as response:
                content = await response.read()
                return _read_answer(request.id, request_id, response.status, content)
        except TimeoutError:
            return Answer(
                request.id, request_id, error=f"no answer within {REQUEST_TIMEOUT:g} s", code="timeout"
            )
        except ClientError as error:
            return Answer(request.id, request_id, error=str(error), code="connection_error")


def _read_answer(id: str, request_id: str, status: int, content: bytes) -> Answer:
    try:
        body: Any = json.loads(content)
    except ValueError:
        body = content.decode("utf-8", "replace")
    if status == 200:
        return Answer(id, request_id, status, body)
    message = error_message(content) or "no route: no model is ready"
    return Answer(id, request_id, status, body, error=message, code=f"http_{status}")
