"""Prompts with images, for models that take them. Imports vLLM."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from vllm.inputs import TokensPrompt
from vllm.multimodal.media import MediaConnector

from dynamo_core.errors import InvalidArgument
from dynamo_core.handlers.media import image_urls
from dynamo_core.handlers.types import Request

if TYPE_CHECKING:
    from vllm.config.multimodal import MultiModalConfig
    from vllm.inputs.engine import EngineInput
    from vllm.v1.engine.async_llm import AsyncLLM


class ImagePrompts:
    """Fetches the images of requests and has vLLM's processor for the model put them into their prompts."""

    def __init__(self, engine: AsyncLLM, config: MultiModalConfig) -> None:
        self._renderer = engine.renderer
        self._domains = frozenset(engine.model_config.allowed_media_domains or ())
        self._connector = MediaConnector(config.media_io_kwargs, allowed_media_domains=list(self._domains))

    @classmethod
    def of(cls, engine: AsyncLLM) -> ImagePrompts | None:
        """None if the loaded model takes no images."""
        config = engine.model_config.multimodal_config
        if config is None or config.get_limit_per_prompt("image") == 0:
            return None
        takes_images = "image" in engine.renderer.get_mm_processor().info.supported_mm_limits
        return cls(engine, config) if takes_images else None

    async def prompt(self, request: Request) -> EngineInput:
        """The prompt with as many tokens for each image as the model gives it; all else that vLLM computes of
        it happens in its own threads. Raises `InvalidArgument`."""
        urls = image_urls(request, domains=self._domains)
        images = await asyncio.gather(*(self._fetch(place, url) for place, url in enumerate(urls, 1)))
        prompt = TokensPrompt(prompt_token_ids=request["token_ids"], multi_modal_data={"image": images})
        if salt := (request.get("routing") or {}).get("cache_salt"):
            prompt["cache_salt"] = salt
        (rendered,) = await self._renderer.render_cmpl_async([prompt])
        return rendered

    async def _fetch(self, place: int, url: str) -> Any:
        try:
            return await self._connector.fetch_image_async(url)
        except Exception as error:  # whatever HTTP, base64 and image libraries make of what a client sent
            raise InvalidArgument(f"image {place} of the request cannot be read: {error}") from error
