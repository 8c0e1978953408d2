"""A whole engine package: `custom-engine-worker --model FOLDER`. Yours calls its model in `next_token`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import ComponentSettings, DynamoFlexibleArgumentParser, ModelSettings, RuntimeSettings
from dynamo_core.deploy import BaseDeployment
from dynamo_core.errors import InvalidArgument
from dynamo_core.handlers import BaseWorker, Chunk, ModelCard, Request
from dynamo_core.handlers.requests import end_tokens, max_new_tokens, refuse_beam_search, the_constraint
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context

CONTEXT = 2048
TOKENS = range(7, 102)


class CustomSettings(ModelSettings, ComponentSettings, RuntimeSettings):
    "The settings of custom-engine-worker"


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "custom-engine"
    role = "worker"


class CustomWorker(BaseWorker):
    """Continues a sequence by a rule, or at random where a temperature is given."""

    def __init__(self, settings: CustomSettings) -> None:
        super().__init__()
        self.settings = settings

    async def start(self) -> ModelCard:
        name = self.settings.served_model_name or self.settings.model
        return ModelCard(self.settings.model, name, context_length=CONTEXT)

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        options, prompt = request.get("sampling_options") or {}, request["token_ids"]
        refuse_beam_search(options, "this engine", "it knows one answer")
        for name, asked in {
            "n": (options.get("n") or 1) > 1,
            "logprobs": (request.get("output_options") or {}).get("logprobs") is not None,
            "guided decoding": the_constraint(options.get("guided_decoding") or {}),
        }.items():
            if asked:
                raise InvalidArgument(f"{name} is not supported by this engine; leave it out")
        if len(prompt) >= CONTEXT:
            raise InvalidArgument(f"the prompt must have less than {CONTEXT} tokens, but has {len(prompt)}")
        wanted = max_new_tokens(request, context=CONTEXT, left=CONTEXT - len(prompt), default=16)
        chance = random.Random(options.get("seed")) if options.get("temperature") else None
        ends, last, count = end_tokens(request), prompt[-1], 0
        while count < wanted and not (count and last in ends):
            await asyncio.sleep(0.002)
            last, count = self.next_token(last, chance), count + 1
            chunk: Chunk = {"token_ids": [last]}
            if last in ends or count == wanted:
                chunk["finish_reason"] = "stop" if last in ends else "length"
                usage = {"prompt_tokens": len(prompt), "completion_tokens": count}
                chunk["completion_usage"] = {**usage, "total_tokens": len(prompt) + count}
            yield chunk

    def next_token(self, last: int, chance: random.Random | None) -> int:
        return chance.choice(TOKENS) if chance else TOKENS[(last * 31 + 5) % len(TOKENS)]


def parser() -> DynamoFlexibleArgumentParser[CustomSettings]:
    return DynamoFlexibleArgumentParser(CustomSettings, Deployment, description=__doc__ or "")


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with CustomWorker(settings) as engine:
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(engine.generate, until=engine.failed())

    run(worker())


if __name__ == "__main__":
    main()
