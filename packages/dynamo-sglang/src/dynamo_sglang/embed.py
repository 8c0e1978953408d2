"""Vectors from SGLang's embedding models.

Imports SGLang, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy
from sglang.srt.managers.io_struct import EmbeddingReqInput
from sglang.srt.managers.tokenizer_manager import TokenizerManager

from dynamo_core.handlers import EmbeddingRequest, Embeddings
from dynamo_sglang.convert import EngineLimits, check_tokens
from dynamo_sglang.errors import engine_errors


async def embed(
    manager: TokenizerManager,
    request: EmbeddingRequest,
    rid: str,
    about: Mapping[str, Any],
    *,
    limits: EngineLimits,
) -> Embeddings:
    """One vector for each text, all of them computed together; none if one is refused.

    `about` are further fields of SGLang's request.
    """
    texts = request["token_ids"]
    for text in texts:
        check_tokens(text, limits)
    asked = EmbeddingReqInput(
        input_ids=texts,
        dimensions=request.get("dimensions"),
        rid=[f"{rid}-{index}" for index in range(len(texts))],
        **about,
    )
    outputs = manager.generate_request(asked, None)
    try:
        with engine_errors():
            vectors = await anext(outputs)
    finally:
        await outputs.aclose()
    count = sum(map(len, texts))
    return {
        "embeddings": [_packed(vector["embedding"]) for vector in vectors],
        "prompt_tokens": count,
        "total_tokens": count,
    }


def _packed(vector: list[float]) -> str:
    return base64.b64encode(numpy.asarray(vector, "<f4").tobytes()).decode()
