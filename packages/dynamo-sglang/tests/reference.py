"""SGLang alone: reads cases as JSON from stdin, prints what it generates as one JSON object.

python reference.py MODEL < cases.json
"""

from __future__ import annotations

import json
import sys

import sglang

FLAGS = {
    "device": "cpu",
    "attention_backend": "torch_native",
    "sampling_backend": "pytorch",
    "disable_cuda_graph": True,
    "mem_fraction_static": 0.2,
    "max_total_tokens": 4096,
    "max_running_requests": 1,
    "skip_server_warmup": True,
    "page_size": 16,
    "log_level": "warning",
}


def main(model: str, cases: list[dict]) -> dict[str, list[dict]]:
    engine = sglang.Engine(model_path=model, **FLAGS)
    answers = {}
    for case in cases:
        if case["seed"] is not None:
            continue  # no CPU backend has seeds
        schema = case["json_schema"]
        params = {
            "max_new_tokens": case["max_tokens"],
            "temperature": case["temperature"],
            "top_k": case["top_k"] or -1,
            "n": case["n"],
        }
        params |= {"json_schema": json.dumps(schema)} if schema else {"ignore_eos": True}
        logprobs = {"return_logprob": True, "top_logprobs_num": case["logprobs"]} if case["logprobs"] else {}
        output = engine.generate(input_ids=case["prompt"], sampling_params=params, **logprobs)
        answers[case["name"]] = [
            {
                "token_ids": list(choice["output_ids"]),
                "logprobs": [entry[0] for entry in choice["meta_info"].get("output_token_logprobs") or []],
            }
            for choice in (output if isinstance(output, list) else [output])
        ]
    engine.shutdown()
    return answers


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
