"""What vLLM's workers say about images is what vLLM says alone."""

from __future__ import annotations

from pathlib import Path

from dynamo_core.testing.image_checks import ImagePairChecks
from dynamo_core.testing.tiny_vision import TOKENS, write_tiny_idefics3


class TestVllmImages(ImagePairChecks):
    """The checks are core's; conftest.py says how to start vLLM."""

    script = Path(__file__).with_name("images_alone.py")
    tokens_per_image = TOKENS + 3

    def write_model(self, folder: Path) -> int:
        return write_tiny_idefics3(folder)
