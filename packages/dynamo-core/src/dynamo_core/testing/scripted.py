"""An engine that does what it is told: deterministic tokens, delays, and failures on demand.

    python -m dynamo_core.testing.scripted --model FOLDER --token-delay 0.01

The token at position p of a sequence depends on p alone: digits, then lower-case letters, in a
circle. A stream that moves to another worker therefore shows any gap or repeat. A test double by
design; everything around it is real.
"""

from __future__ import annotations

import asyncio
import os
import signal
import zlib
from collections.abc import AsyncGenerator, Sequence

from dynamo_core import environment
from dynamo_core.args import (
    ComponentSettings,
    DynamoFlexibleArgumentParser,
    GpuSettings,
    ModelSettings,
    ParserSettings,
    RoutedSettings,
    RuntimeSettings,
    Settings,
    StreamSettings,
    setting,
)
from dynamo_core.deploy import BaseDeployment
from dynamo_core.deploy.gpus import VISIBLE
from dynamo_core.errors import EngineShutdown, InvalidArgument, UserError
from dynamo_core.handlers import BaseWorker, Chunk, ModelCard, Request
from dynamo_core.handlers.requests import end_tokens, refuse_beam_search, the_constraint
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_core.testing.tiny_model import CONTEXT_LENGTH, encode

BLOCK_SIZE = 16
TOTAL_BLOCKS = 10_000
ALPHABET = encode("0123456789abcdefghijklmnopqrstuvwxyz")


class ScriptSettings(Settings):
    "Script"

    say: str | None = setting(None, "Say this at once, and no more.", metavar="TEXT")
    token_delay: float = setting(0.0, "Seconds before each token.", ge=0)
    start_delay: float = setting(0.0, "Seconds that the engine takes to start.", ge=0)
    fail_start: str | None = setting(None, "Fail to start, with this message.", metavar="MESSAGE")
    die_after: int | None = setting(None, "The engine dies after this many tokens of one request.", ge=0)
    kill_after: int | None = setting(None, "Like --die-after, with SIGKILL to the process.", ge=0)
    trace: bool = setting(
        False, "Print the GPUs at the start, and when a request starts, ends, is cancelled."
    )


class ScriptedSettings(
    ScriptSettings,
    RoutedSettings,
    ParserSettings,
    ModelSettings,
    GpuSettings,
    StreamSettings,
    ComponentSettings,
    RuntimeSettings,
):
    "The settings of the scripted engine"


class Deployment(BaseDeployment):
    name = "scripted"
    role = "worker"


class ScriptedWorker(BaseWorker):
    """BaseWorker at its smallest: no engine but a rule."""

    def __init__(self, settings: ScriptedSettings) -> None:
        super().__init__()
        self.settings = settings
        self.blocks: set[int] = set()
        """The KV cache: hashes of prefixes that end with a block. It never forgets."""

    async def start(self) -> ModelCard:
        if self.settings.fail_start:
            raise UserError(self.settings.fail_start)
        if self.settings.trace:
            print("gpus", environment.read(VISIBLE), flush=True)
        await asyncio.sleep(self.settings.start_delay)
        return ModelCard.of(
            self.settings,
            context_length=CONTEXT_LENGTH,
            kv_block_size=BLOCK_SIZE,
            total_kv_blocks=TOTAL_BLOCKS,
            publishes_kv_events=bool(self.settings.why_kv_events),
        )

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        prompt = len(request["token_ids"])
        if self.settings.say:
            yield {"token_ids": encode(self.settings.say), "finish_reason": "stop"}
            return
        wanted = request["stop_conditions"].get("max_tokens") or 16
        if prompt + wanted > CONTEXT_LENGTH:
            raise InvalidArgument(
                f"prompt and max_tokens exceed {CONTEXT_LENGTH} tokens: {prompt} + {wanted}"
            )
        _refuse_unsupported(request)
        self._say("start", context)
        cached = self._cache(request["token_ids"])
        ends = end_tokens(request)
        try:
            for i in range(wanted):
                await asyncio.sleep(self.settings.token_delay)
                self._maybe_die(i)
                token = ALPHABET[(prompt + i) % len(ALPHABET)]
                chunk: Chunk = {"token_ids": [token]}
                if token in ends or i + 1 == wanted:
                    chunk["finish_reason"] = "stop" if token in ends else "length"
                    chunk["completion_usage"] = {
                        "prompt_tokens": prompt,
                        "completion_tokens": i + 1,
                        "total_tokens": prompt + i + 1,
                        "prompt_tokens_details": {"cached_tokens": cached},
                    }
                yield chunk
                if token in ends:
                    return
        except (asyncio.CancelledError, GeneratorExit):  # the second between two tokens
            self._say("cancelled", context)
            raise
        finally:
            self._say("end", context)

    def _cache(self, prompt: list[int]) -> int:
        """Keep the full blocks of a prompt, tell routers of those that are new, and return how many tokens
        were there already."""
        ends = range(BLOCK_SIZE, len(prompt) + 1, BLOCK_SIZE)
        hashes = [zlib.crc32(repr(prompt[:end]).encode()) for end in ends]
        known = sum(block in self.blocks for block in hashes)  # with a block, all before it are there
        if known < len(hashes) and self.feed is not None:
            tokens = prompt[known * BLOCK_SIZE : len(hashes) * BLOCK_SIZE]
            self.feed.stored(tokens, hashes[known:], hashes[known - 1] if known else None)
        self.blocks.update(hashes)
        self.report_load(len(self.blocks))
        return known * BLOCK_SIZE

    def _maybe_die(self, sent: int) -> None:
        if sent == self.settings.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if sent == self.settings.die_after:
            self.fail("ScriptedError: told to die")
            raise EngineShutdown("ScriptedError: told to die")

    def _say(self, event: str, context: Context) -> None:
        if self.settings.trace:
            print(event, context.id(), flush=True)


def _refuse_unsupported(request: Request) -> None:
    options = request.get("sampling_options") or {}
    refuse_beam_search(options, "the scripted engine", "there is nothing to search")
    if options.get("seed") == 13:
        raise InvalidArgument("seed must be lucky, found 13")
    if (options.get("n") or 1) > 1:
        raise InvalidArgument(f"n must be 1, since a rule knows one answer, found {options['n']}")
    if (request.get("output_options") or {}).get("logprobs") is not None:
        raise InvalidArgument("logprobs are not to be had, since a rule is certain")
    if the_constraint(options.get("guided_decoding") or {}):
        raise InvalidArgument("guided decoding is not to be had, since a rule cannot be guided")


def parser() -> DynamoFlexibleArgumentParser[ScriptedSettings]:
    return DynamoFlexibleArgumentParser(ScriptedSettings, Deployment, description=__doc__ or "")


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with ScriptedWorker(settings) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(engine.generate, until=engine.failed())

    run(worker())


if __name__ == "__main__":
    main()
