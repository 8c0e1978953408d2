"""What each engine's handler adds to the engine's own generator: microseconds of CPU per chunk.

    python benchmarks/handler.py [-n RUNS] [ENGINE …]

For every engine that is installed here. Each answers one request for 512 tokens for real; what its
generator said is then replayed many times, by itself and through the worker's handler, in turns. The
difference is the handler's own work; engine, network and Rust runtime have no part in it.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import importlib
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dynamo_core.handlers import BaseWorker
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.tiny_model import EOS, SPECIALS, write_tiny_model, write_tiny_weights

TOKENS = 512
REPLAYS = 40
"""Per run; one takes some milliseconds."""
LIMIT = 60.0
"""Microseconds per chunk that a handler may take."""
WORKERS = {"dynamo_vllm": "VllmWorker", "dynamo_sglang": "SglangWorker", "dynamo_trtllm": "TrtllmWorker"}
SOURCES = {"dynamo_vllm": "generate", "dynamo_sglang": "async_generate", "dynamo_trtllm": "generate_async"}
"""The engine's method that answers a request."""
ENGINES = {"dynamo_vllm": "vllm", "dynamo_sglang": "sglang", "dynamo_trtllm": "tensorrt_llm"}
KINDS: dict[str, dict[str, Any]] = {"tokens only": {}, "with 3 logprobs": {"logprobs": 3}}


class Outputs:
    """Says again what an engine has said, without waiting for anything."""

    def __init__(self, recorded: list[Any]) -> None:
        self._recorded = recorded
        self.finished = True

    def __await__(self) -> Any:
        """Some engines return their generator from a coroutine."""
        return self
        yield

    async def __aiter__(self) -> AsyncIterator[Any]:
        for output in self._recorded:
            yield output

    async def aclose(self) -> None: ...


class Asked:
    """The runtime's view of a request, without a runtime."""

    def __init__(self, name: str) -> None:
        self._name = name

    def id(self) -> str:
        return self._name

    def is_stopped(self) -> bool:
        return False

    def stop_generating(self) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=9, metavar="RUNS")
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=", ".join(ENGINES.values()))
    options = parser.parse_args()
    here = [
        package
        for package, engine in ENGINES.items()
        if importlib.util.find_spec(engine) and engine in (options.engines or ENGINES.values())
    ]
    if not here:
        sys.exit("error: no engine is installed here\n  fix: run this in the environment of one")
    for package in here:
        asyncio.run(measure(package, options.n))


async def measure(package: str, runs: int) -> None:
    engine = EngineUnderTest.of(package)
    os.environ.update(engine.env)
    module = importlib.import_module(engine.module)
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_weights(write_tiny_model(Path(folder) / "tiny"))
        arguments = module.parser().parse(["--model", str(model), *map(str, engine.flags)])
        worker = getattr(module, WORKERS[package])(arguments.settings, arguments.engine)
        async with worker:
            for kind, asked in KINDS.items():
                await measure_kind(worker, SOURCES[package], f"{ENGINES[package]}, {kind}", asked, runs)


async def measure_kind(worker: BaseWorker, source: str, name: str, asked: dict[str, Any], runs: int) -> None:
    engine: Any = worker.engine  # type: ignore[attr-defined]
    request = {
        "token_ids": [len(SPECIALS) + i % 80 for i in range(100)],
        "model": "tiny",
        "stop_conditions": {"max_tokens": TOKENS, "ignore_eos": True},
        "sampling_options": {"temperature": 0.0},
        "output_options": asked,
        "eos_token_ids": [EOS],
    }
    original = getattr(engine, source)
    recorded: list[Any] = []

    class Recorded:
        def __init__(self, outputs: Any) -> None:
            self._outputs = outputs

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self._outputs, attribute)

        def __await__(self) -> Any:
            self._outputs = yield from self._outputs.__await__()
            return self

        async def __aiter__(self) -> AsyncIterator[Any]:
            async for output in self._outputs:
                recorded.append(snapshot(output))
                yield output

    async def handled() -> int:
        chunks = 0
        async for _ in worker.generate(request, Asked("handled")):
            chunks += 1
        return chunks

    async def alone() -> int:
        async for _ in Outputs(recorded):
            pass
        return len(recorded)

    setattr(engine, source, lambda *a, **k: Recorded(original(*a, **k)))
    try:
        await handled()
        setattr(engine, source, lambda *a, **k: Outputs(recorded))
        chunks = await handled()
        costs = {call: [] for call in (alone, handled)}
        for _ in range(runs):
            for call, found in costs.items():
                found.append(await cpu(call) / chunks)
    finally:
        setattr(engine, source, original)
    own = [h - a for h, a in zip(costs[handled], costs[alone], strict=True)]
    median = statistics.median(own)
    verdict = "ok" if median < LIMIT else f"ABOVE {LIMIT:g}"
    print(
        f"{name:<32} {median:6.2f} µs per chunk, {verdict} ({min(own):.2f} to {max(own):.2f} in {runs} runs; "
        f"the generator alone {statistics.median(costs[alone]):.2f}); {TOKENS} tokens in {chunks} chunks",
        flush=True,
    )


def snapshot(output: Any) -> Any:
    """An output as it is now: TensorRT-LLM changes the same object from one to the next."""
    if not hasattr(output, "cached_tokens"):
        return copy.deepcopy(output)
    outputs = copy.deepcopy(output.outputs)
    return SimpleNamespace(outputs=outputs, cached_tokens=output.cached_tokens, finished=output.finished)


async def cpu(call: Callable[[], Any]) -> float:
    """Microseconds of this thread's CPU for one replay."""
    began = time.thread_time_ns()
    for _ in range(REPLAYS):
        await call()
    return (time.thread_time_ns() - began) / 1000 / REPLAYS


if __name__ == "__main__":
    main()
