"""vLLM alone with LoRA adapters: reads a prompt's tokens as JSON from stdin, prints the model's own answer
and each adapter's as one JSON list.

python adapters_alone.py MODEL ADAPTER…
"""

from __future__ import annotations

import json
import sys

from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt
from vllm.lora.request import LoRARequest


def main(model: str, *adapters: str) -> None:
    options = {"dtype": "float32", "enforce_eager": True, "block_size": 32, "kv_cache_memory_bytes": 32 << 20}
    llm = LLM(model, enable_lora=True, max_num_seqs=1, **options)
    params = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
    prompt = TokensPrompt(prompt_token_ids=json.load(sys.stdin))
    said = []
    for number, adapter in enumerate([None, *adapters]):
        lora = LoRARequest(str(number), number, adapter) if adapter else None
        said.append(list(llm.generate([prompt], params, lora_request=lora)[0].outputs[0].token_ids))
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
