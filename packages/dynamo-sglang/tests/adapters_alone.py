"""SGLang alone with LoRA adapters: reads a prompt's tokens as JSON from stdin, prints the model's own answer
and each adapter's as one JSON list.

python adapters_alone.py MODEL ADAPTER…
"""

from __future__ import annotations

import json
import sys

import sglang
from reference import FLAGS


def main(model: str, *adapters: str) -> None:
    named = {str(number): path for number, path in enumerate(adapters)}
    engine = sglang.Engine(model_path=model, lora_paths=named, lora_backend="torch_native", **FLAGS)
    params = {"temperature": 0, "max_new_tokens": 12, "ignore_eos": True}
    prompt = json.load(sys.stdin)
    said = [
        engine.generate(input_ids=prompt, sampling_params=params, lora_path=name)["output_ids"]
        for name in (None, *named)
    ]
    engine.shutdown()
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
