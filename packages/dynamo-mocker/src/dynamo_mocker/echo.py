"""A worker that says what it was told: no engine, no weights, only a tokenizer.

dynamo-echo-worker --model FOLDER
python -m dynamo_mocker.echo --model FOLDER --token-delay 0.05
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import (
    ComponentSettings,
    DynamoFlexibleArgumentParser,
    ModelSettings,
    RuntimeSettings,
    Settings,
    setting,
)
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BaseWorker, Chunk, ModelCard, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context


class EchoSettings(Settings):
    "Echo"

    token_delay: float = setting(0.0, "Seconds before each token.", ge=0, allow_inf_nan=False)


class EchoWorkerSettings(EchoSettings, ModelSettings, ComponentSettings, RuntimeSettings):
    "The settings of dynamo-echo-worker"


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "echo"
    role = "worker"


class EchoWorker(BaseWorker):
    """Repeats the prompt, as far as `max_tokens` allows."""

    def __init__(self, settings: EchoWorkerSettings) -> None:
        super().__init__()
        self.settings = settings

    async def start(self) -> ModelCard:
        name = self.settings.served_model_name or self.settings.model
        return ModelCard(self.settings.model, name)

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        prompt = request["token_ids"]
        # An end token within the prompt, as chat templates put it there, would end the answer.
        words = [token for token in prompt if token not in request["eos_token_ids"]]
        answer = words[: request["stop_conditions"].get("max_tokens")]
        for token in answer:
            await asyncio.sleep(self.settings.token_delay)
            yield {"token_ids": [token]}
        yield {
            "token_ids": [],
            "finish_reason": "stop" if answer == words else "length",
            "completion_usage": {
                "prompt_tokens": len(prompt),
                "completion_tokens": len(answer),
                "total_tokens": len(prompt) + len(answer),
            },
        }


def parser() -> DynamoFlexibleArgumentParser[EchoWorkerSettings]:
    return DynamoFlexibleArgumentParser(
        EchoWorkerSettings,
        Deployment,
        description="A worker that repeats its prompt; needs a tokenizer, and nothing else.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with EchoWorker(settings) as echo:
            await endpoint.register_model(echo.card)
            await endpoint.serve_endpoint(echo.generate, until=echo.failed())

    run(worker())


if __name__ == "__main__":
    main()
