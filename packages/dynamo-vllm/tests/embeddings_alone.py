"""vLLM alone with an embedding model: reads texts as lists of tokens from stdin, prints their vectors as
one JSON list.

python embeddings_alone.py MODEL
"""

from __future__ import annotations

import json
import os
import sys

from vllm import LLM
from vllm.inputs import TokensPrompt


def main(model: str) -> None:
    options = {"dtype": "float32", "enforce_eager": True, "block_size": 32, "kv_cache_memory_bytes": 32 << 20}
    llm = LLM(model, runner="pooling", convert="embed", **options)
    prompts = [TokensPrompt(prompt_token_ids=ids) for ids in json.load(sys.stdin)]
    print(json.dumps([output.outputs.embedding for output in llm.embed(prompts)]), flush=True)
    llm.llm_engine.engine_core.shutdown()
    os._exit(0)  # the end of the interpreter now and then aborts in one of vLLM's libraries


if __name__ == "__main__":
    main(sys.argv[1])
