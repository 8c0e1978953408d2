"""Vectors from vLLM's pooling models.

Imports vLLM, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import asyncio
import base64

from vllm.inputs.engine import tokens_input
from vllm.lora.request import LoRARequest
from vllm.pooling_params import PoolingParams
from vllm.v1.engine.async_llm import AsyncLLM

from dynamo_core.handlers import EmbeddingRequest, Embeddings
from dynamo_vllm.errors import engine_errors


async def embed(
    engine: AsyncLLM, request: EmbeddingRequest, request_id: str, lora: LoRARequest | None
) -> Embeddings:
    """One vector for each text, all of them computed together; none if one is refused."""
    texts = request["token_ids"]
    tasks = [
        asyncio.ensure_future(_vector(engine, text, request.get("dimensions"), f"{request_id}-{index}", lora))
        for index, text in enumerate(texts)
    ]
    try:
        vectors = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    count = sum(map(len, texts))
    return {"embeddings": vectors, "prompt_tokens": count, "total_tokens": count}


async def _vector(
    engine: AsyncLLM, text: list[int], dimensions: int | None, request_id: str, lora: LoRARequest | None
) -> str:
    params = PoolingParams(task="embed", dimensions=dimensions)
    with engine_errors():
        async for output in engine.encode(tokens_input(text), params, request_id, lora):
            numbers = output.outputs.data.numpy().astype("<f4")
    return base64.b64encode(numbers.tobytes()).decode()
