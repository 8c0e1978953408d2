"""What TensorRT-LLM, or its double, says alone: reads cases as JSON from stdin, prints what it generates.

python reference.py MODEL < cases.json
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from tensorrt_llm import LLM, SamplingParams
from tensorrt_llm.llmapi import GuidedDecodingParams

from dynamo_core.testing.tiny_model import EOS


async def choices(llm: LLM, case: dict[str, Any]) -> list[dict[str, Any]]:
    schema = case["json_schema"]
    params = SamplingParams(
        end_id=EOS if schema else -1,
        max_tokens=case["max_tokens"],
        temperature=case["temperature"],
        seed=case["seed"],
        top_k=case["top_k"],
        n=case["n"],
        logprobs=case["logprobs"],
        guided_decoding=GuidedDecodingParams(json=schema) if schema else None,
        detokenize=False,
    )
    output = await llm.generate_async(case["prompt"], params).aresult()
    return [
        {
            "token_ids": choice.token_ids,
            "logprobs": [
                position[token].logprob
                for token, position in zip(choice.token_ids, choice.logprobs, strict=True)
            ]
            if case["logprobs"]
            else [],
        }
        for choice in output.outputs
    ]


async def main() -> None:
    llm = LLM(model=sys.argv[1], skip_tokenizer_init=True, dtype="bfloat16")
    answers = {case["name"]: await choices(llm, case) for case in json.load(sys.stdin)}
    print(json.dumps(answers))


if __name__ == "__main__":  # the engine's processes import this file, too
    asyncio.run(main())
