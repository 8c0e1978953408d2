"""SGLang alone with a model that takes images: reads prompts with one image each from stdin, prints the
tokens that it says as one JSON list.

python images_alone.py MODEL
"""

from __future__ import annotations

import json
import sys

import sglang
from reference import FLAGS

PARAMS = {"max_new_tokens": 8, "temperature": 0.0, "ignore_eos": True}


def main(model: str, cases: list[dict]) -> list[list[int]]:
    engine = sglang.Engine(model_path=model, enable_multimodal=True, **FLAGS)
    said = [
        list(
            engine.generate(input_ids=case["token_ids"], image_data=case["url"], sampling_params=PARAMS)[
                "output_ids"
            ]
        )
        for case in cases
    ]
    engine.shutdown()
    return said


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
