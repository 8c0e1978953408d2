"""vLLM's engine in a process with nothing else: what of a worker's memory is the engine's.

Answers one request, writes a line, and waits. Takes vLLM's own flags.
"""

from __future__ import annotations

import asyncio
import signal

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import SamplingParams
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM


async def main() -> None:
    parser = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser())
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs.from_cli_args(parser.parse_args()))
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    prompt = {"prompt_token_ids": [10, 11, 12]}
    async for _ in engine.generate(prompt, SamplingParams(max_tokens=1, detokenize=False), "one"):
        pass
    print("answered", flush=True)
    await end.wait()
    engine.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
