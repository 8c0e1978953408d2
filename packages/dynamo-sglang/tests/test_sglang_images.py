"""What SGLang's workers say about images is what SGLang says alone."""

from __future__ import annotations

from pathlib import Path

from dynamo_core.testing.image_checks import ImagePairChecks
from dynamo_core.testing.tiny_vision import TOKENS, write_tiny_gemma3


class TestSglangImages(ImagePairChecks):
    """The checks are core's; conftest.py says how to start SGLang."""

    script = Path(__file__).with_name("images_alone.py")
    flags = ("--enable-multimodal",)  # SGLang serves this family as text without
    tokens_per_image = TOKENS + 2

    def write_model(self, folder: Path) -> int:
        return write_tiny_gemma3(folder)
