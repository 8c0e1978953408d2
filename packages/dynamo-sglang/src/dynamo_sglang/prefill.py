"""SGLang as the half of a pair that computes prompts.

dynamo-sglang-prefill --model Qwen/Qwen3-0.6B
dynamo-sglang-decode --model Qwen/Qwen3-0.6B
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from dynamo_core.args import DynamoFlexibleArgumentParser, EngineOptions
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BasePrefillWorker, Chunk, ModelCard, Request
from dynamo_core.ports import free_port_range
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_sglang.args import SGLANG, SglangPrefillSettings, derive, variables
from dynamo_sglang.base import SglangBase
from dynamo_sglang.bootstrap import NOWHERE, check_own_server
from dynamo_sglang.convert import MEETING, half_arguments
from dynamo_sglang.errors import engine_errors, raise_if_aborted

logger = logging.getLogger(__name__)

ROOMS = 1 << 63
"""In each of them two halves of a request can meet, but for room 0, which SGLang takes for none."""


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "sglang-prefill"
    role = "prefill"
    resources = {"gpu": 1}


class SglangPrefillWorker(SglangBase, BasePrefillWorker):
    """Computes prompts, and hands each KV cache over as soon as a decode worker asks for it.

    The engine does not finish a request before that. A frontend that knows our address sends both halves
    their request at once, with the room to meet in; one that does not starts the decode worker only when
    this half has ended, and then the engine goes on in the background.
    """

    def __init__(self, settings: SglangPrefillSettings, options: EngineOptions) -> None:
        super().__init__(settings, options)
        host = settings.kv_transfer_address
        self.bootstrap = (host, settings.kv_transfer_port or free_port_range(1, host))
        self._going_on: set[asyncio.Task[None]] = set()

    async def start(self) -> ModelCard:
        card = await super().start()
        await check_own_server(*self.bootstrap)
        return card

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        given = NOWHERE if request.get("_HEALTH_CHECK") else request.get("bootstrap_info")
        meeting = {name: given[name] for name in MEETING} if given else self._new_meeting(request)
        arguments = half_arguments(
            self.first_token_of(request), meeting, defaults=self.defaults, limits=self.limits
        )
        arguments.pop("routed_dp_rank", None)  # the room says it, to both halves
        computing = self._compute(request, context, arguments)
        if given:
            await computing
        else:
            task = asyncio.create_task(computing)
            self._going_on.add(task)
            task.add_done_callback(self._ended)
        yield {"token_ids": [], "finish_reason": "length", "disaggregated_params": meeting}

    async def _compute(self, request: Request, context: Context, arguments: dict[str, Any]) -> None:
        """Compute a prompt and wait until its KV cache has been fetched."""
        with engine_errors():
            async with self.answering(request, context, arguments) as outputs:
                async for output in outputs:
                    raise_if_aborted(output["meta_info"]["finish_reason"])

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._going_on.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a prompt's KV cache was not fetched: %s", error)

    def _new_meeting(self, request: Request) -> dict[str, Any]:
        """A room of ours; its remainder tells both halves which data-parallel rank computes the prompt."""
        rank = (request.get("routing") or {}).get("prefill_dp_rank")
        ranks = self.card.data_parallel_ranks
        room = ranks + secrets.randbelow(ROOMS - 2 * ranks)
        if rank is not None:
            room += rank - room % ranks
        return dict(zip(MEETING, (*self.bootstrap, room), strict=True))

    async def stop(self) -> None:
        for task in self._going_on:
            task.cancel()
        await super().stop()


def parser() -> DynamoFlexibleArgumentParser[SglangPrefillSettings]:
    return DynamoFlexibleArgumentParser(
        SglangPrefillSettings,
        Deployment,
        engine=SGLANG,
        derive=derive,
        variables=variables,
        description="SGLang as the half of a pair that computes prompts.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse(argv)
    settings = arguments.settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with SglangPrefillWorker(settings, arguments.engine) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(
                engine.handler,
                until=engine.failed(),
                beside=engine.controls(endpoint),
                probe=engine.probe,
            )

    run(worker())


if __name__ == "__main__":
    main()
