"""The null engine on ai-dynamo's `dynamo.common.backend`, written as its README asks of an engine."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator
from typing import Any, Self

from dynamo.common.backend import EngineConfig, LLMEngine, LlmRegistration, WorkerConfig
from dynamo.common.backend.run import run
from null_engine import NullEngine


class NullBackend(LLMEngine):
    def __init__(self, model: str, name: str, hz: float) -> None:
        self.model = model
        self.name = name
        self.hz = hz

    @classmethod
    async def from_args(cls, argv: list[str] | None = None) -> tuple[Self, WorkerConfig]:
        parser = argparse.ArgumentParser()
        parser.add_argument("--model", required=True)
        parser.add_argument("--served-model-name", default="null")
        parser.add_argument("--hz", type=float, default=0.0)
        given = parser.parse_args(argv)
        config = WorkerConfig(
            namespace="dynamo",
            component="null",
            model_name=given.model,
            served_model_name=given.served_model_name,
            discovery_backend="file",
            event_plane="zmq",
            enable_kv_routing=False,
        )
        return cls(given.model, given.served_model_name, given.hz), config

    async def start(self, worker_id: int) -> EngineConfig:
        self.engine = NullEngine(self.hz)
        limits = LlmRegistration(context_length=1 << 20)
        return EngineConfig(model=self.model, served_model_name=self.name, llm=limits)

    async def generate(self, request: Any, context: Any) -> AsyncGenerator[dict[str, Any], None]:
        wanted = request["stop_conditions"]["max_tokens"] or 16
        left = wanted
        async for token in self.engine.answer(wanted):
            left -= 1
            if left:
                yield {"token_ids": [token], "index": 0}
            else:
                yield {
                    "token_ids": [token],
                    "index": 0,
                    "finish_reason": "length",
                    "completion_usage": usage(len(request["token_ids"]), wanted),
                }

    async def cleanup(self) -> None:
        self.engine.stop()


def usage(prompt: int, answer: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


if __name__ == "__main__":
    run(NullBackend)
