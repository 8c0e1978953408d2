"""vLLM alone: reads cases as JSON from stdin, prints what it generates as one JSON object.

python reference.py MODEL < cases.json
"""

from __future__ import annotations

import asyncio
import json
import sys

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM


async def main(model: str, cases: list[dict]) -> dict[str, list[dict]]:
    engine = AsyncLLM.from_engine_args(
        AsyncEngineArgs(
            model=model,
            dtype="float32",
            enforce_eager=True,
            block_size=32,
            kv_cache_memory_bytes=32 << 20,
            max_num_seqs=1,
        )
    )
    answers = {}
    for case in cases:
        schema = case["json_schema"]
        params = SamplingParams(
            max_tokens=case["max_tokens"],
            temperature=case["temperature"],
            seed=case["seed"],
            top_k=case["top_k"] or -1,
            n=case["n"],
            logprobs=case["logprobs"],
            ignore_eos=schema is None,
            structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        prompt = {"prompt_token_ids": case["prompt"]}
        async for output in engine.generate(prompt, params, case["name"]):
            final = output
        answers[case["name"]] = [
            {
                "token_ids": list(choice.token_ids),
                "logprobs": [
                    position[token].logprob
                    for token, position in zip(choice.token_ids, choice.logprobs or [], strict=False)
                ],
            }
            for choice in final.outputs
        ]
    engine.shutdown()
    return answers


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], json.load(sys.stdin)))))
