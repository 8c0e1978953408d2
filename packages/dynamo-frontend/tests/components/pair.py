"""The scripted engine as one half of a pair; it prints which prompts it computes.

python pair.py --half prefill --model FOLDER
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Literal

from dynamo_core.args import DynamoFlexibleArgumentParser, Settings, setting
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import Chunk, ModelCard, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_core.testing.scripted import ScriptedSettings, ScriptedWorker


class HalfSettings(Settings):
    "Half"

    half: Literal["prefill", "decode"] = setting(..., "Which half this is.")


class PairSettings(HalfSettings, ScriptedSettings):
    "The settings of this component"


class Deployment(BaseDeployment):
    name = "pair"


class Half(ScriptedWorker):
    async def start(self) -> ModelCard:
        assert isinstance(self.settings, PairSettings)
        return replace(await super().start(), role=self.settings.half)

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        if self.card.role == "prefill" or not request.get("prefill_result"):
            print("computes", len(request["token_ids"]), request.get("annotations"), flush=True)
        async for chunk in super().generate(request, context):
            if self.card.role == "prefill":
                chunk["disaggregated_params"] = {"scripted": True}
            yield chunk


def parser() -> DynamoFlexibleArgumentParser[PairSettings]:
    return DynamoFlexibleArgumentParser(PairSettings, Deployment)


def main() -> None:
    settings = parser().parse().settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        endpoint = runtime.namespace(settings.namespace).component(settings.half).endpoint(settings.endpoint)
        async with Half(settings) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(engine.generate, until=engine.failed())

    run(worker())


if __name__ == "__main__":
    main()
