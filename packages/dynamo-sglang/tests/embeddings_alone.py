"""SGLang alone with an embedding model: reads texts as lists of tokens from stdin, prints their vectors as
one JSON list.

python embeddings_alone.py MODEL
"""

from __future__ import annotations

import asyncio
import json
import sys

import sglang
from reference import FLAGS
from sglang.srt.managers.io_struct import EmbeddingReqInput


async def main(model: str, texts: list[list[int]]) -> list[list[float]]:
    engine = sglang.Engine(model_path=model, is_embedding=True, **FLAGS)
    vectors = await anext(engine.tokenizer_manager.generate_request(EmbeddingReqInput(input_ids=texts)))
    engine.shutdown()
    return [vector["embedding"] for vector in vectors]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], json.load(sys.stdin)))))
