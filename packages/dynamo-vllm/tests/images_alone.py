"""vLLM alone with a model that takes images: reads prompts with one image each from stdin, prints the tokens
that it says as one JSON list.

python images_alone.py MODEL
"""

from __future__ import annotations

import json
import os
import sys

from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt
from vllm.multimodal.media import MediaConnector

MAX_TOKENS = 8


def main(model: str) -> None:
    options = {"dtype": "float32", "enforce_eager": True, "block_size": 32, "kv_cache_memory_bytes": 32 << 20}
    llm = LLM(model, max_num_seqs=1, **options)
    fetch = MediaConnector().fetch_image
    prompts = [
        TokensPrompt(prompt_token_ids=case["token_ids"], multi_modal_data={"image": fetch(case["url"])})
        for case in json.load(sys.stdin)
    ]
    params = SamplingParams(temperature=0.0, max_tokens=MAX_TOKENS, ignore_eos=True)
    print(json.dumps([output.outputs[0].token_ids for output in llm.generate(prompts, params)]), flush=True)
    llm.llm_engine.engine_core.shutdown()
    os._exit(0)  # the end of the interpreter now and then aborts in one of vLLM's libraries


if __name__ == "__main__":
    main(sys.argv[1])
