"""Models that look at images, as small as `tiny_model`, with random weights: one for each way in which the
engines here can do so without a GPU. Needs transformers and torch.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

from dynamo_core.testing.tiny_model import BOS, EOS, PAD, SPECIALS, VOCABULARY_SIZE, encode, write_tiny_model

SIDE = 32
"""Pixels of an image's side: four patches of eight, of which a model makes a square of two tokens."""
TOKENS = 4
_VISION = {
    "image_size": SIDE,
    "patch_size": 8,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_PIXELS = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}IMAGE{% endif %}{% endfor %}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def data_url(colour: str) -> str:
    """An image of one colour."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def prompt(image: int, text: str) -> list[int]:
    """The chat of one message with an image and a text, as the frontend makes tokens of it; `image` is the
    token that stands for the image."""
    user, assistant, end = (SPECIALS.index(word) for word in ("<|user|>", "<|assistant|>", "<|end|>"))
    return [BOS, user, image, *encode(text), end, assistant]


def write_tiny_idefics3(folder: Path, *, seed: int = 0) -> int:
    """Write an Idefics3, and return the token that stands for an image."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    words = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    write_tiny_model(folder)
    text = _text_config(folder, words)
    image = VOCABULARY_SIZE
    config = Idefics3Config(
        text_config={**text, "model_type": "llama"},
        vision_config=_VISION,
        image_token_id=image,
        scale_factor=2,
        pad_token_id=PAD,
    )
    _random_weights(Idefics3ForConditionalGeneration(config), seed).save_pretrained(folder)
    processor = {"processor_class": "Idefics3Processor", "image_seq_len": TOKENS}
    image_processor = {
        "image_processor_type": "Idefics3ImageProcessor",
        "size": {"longest_edge": SIDE},
        "max_image_size": {"longest_edge": SIDE},
        "do_image_splitting": False,
        **_PIXELS,
    }
    _write_processor(folder, words, words[0], {}, processor, image_processor)
    return image


def write_tiny_gemma3(folder: Path, *, seed: int = 0) -> int:
    """Write a Gemma 3, and return the token that stands for an image."""
    from safetensors.torch import load_file, save_file
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    words = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    write_tiny_model(folder)
    image, begin, end = range(VOCABULARY_SIZE, VOCABULARY_SIZE + len(words))
    text = {**_text_config(folder, words), "query_pre_attn_scalar": 32, "tie_word_embeddings": True}
    config = Gemma3Config(
        text_config=text,
        vision_config={**_VISION, "model_type": "siglip_vision_model", "vision_use_head": False},
        mm_tokens_per_image=TOKENS,
        image_token_index=image,
        boi_token_index=begin,
        eoi_token_index=end,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    _random_weights(Gemma3ForConditionalGeneration(config), seed).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    renamed = {_gemma3_name(name): tensor for name, tensor in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    processor = {"processor_class": "Gemma3Processor", "image_seq_length": TOKENS}
    image_processor = {
        "image_processor_type": "Gemma3ImageProcessor",
        "size": {"height": SIDE, "width": SIDE},
        **_PIXELS,
    }
    told = {**words, "extra_special_tokens": words}
    _write_processor(folder, list(words.values()), words["boi_token"], told, processor, image_processor)
    return begin


def _text_config(folder: Path, words: Sized) -> dict[str, Any]:
    """The shape of the tiny Llama, with further words."""
    told = _read(folder / "config.json")
    of_the_whole = ("architectures", "model_type", "torch_dtype", "hidden_act", "rope_theta")
    return {k: v for k, v in told.items() if k not in of_the_whole} | {
        "vocab_size": VOCABULARY_SIZE + len(words)
    }


def _gemma3_name(name: str) -> str:
    """As published checkpoints have it; transformers itself has moved on."""
    part, _, rest = name.removeprefix("model.").partition(".")
    inner = {"vision_tower": "vision_model.", "language_model": "model."}.get(part, "")
    return f"{part}.{inner}{rest.removeprefix(inner)}"


def _random_weights(model: Any, seed: int) -> Any:
    """Embeddings are small, so that what is said does not depend on the last token alone."""
    import torch

    torch.manual_seed(seed)
    embeddings = model.get_input_embeddings().weight
    for weights in model.parameters():
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, std=0.02 if weights is embeddings else 0.2)
    return model.float()


def _write_processor(
    folder: Path,
    words: Sequence[str],
    image: str,
    told: dict[str, Any],
    processor: dict[str, Any],
    image_processor: dict[str, Any],
) -> None:
    """What makes tokens of a chat with images, and pixels of the images; `words` are new tokens, and `image`
    the one that the chat template puts for an image."""
    tokenizer = _read(folder / "tokenizer.json")
    about = tokenizer["added_tokens"][0]
    for place, word in enumerate(words, VOCABULARY_SIZE):
        tokenizer["added_tokens"].append({**about, "id": place, "content": word})
        tokenizer["model"]["vocab"][word] = place
    files = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {
            **_read(folder / "tokenizer_config.json"),
            "processor_class": processor["processor_class"],
            "chat_template": _TEMPLATE.replace("IMAGE", image),
            **told,
        },
        "processor_config.json": processor,
        "preprocessor_config.json": image_processor,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1))


def _read(file: Path) -> Any:
    return json.loads(file.read_text())
