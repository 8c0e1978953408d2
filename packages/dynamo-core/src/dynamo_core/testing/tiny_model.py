"""A model folder that is made in milliseconds: every token is one printable ASCII character.

Text and token ids map one to one, so that a test reads off the exact tokens from what a client saw.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

SPECIALS = ("<|pad|>", "<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
CHARACTERS = "".join(chr(code) for code in range(32, 127))
PAD, BOS, EOS = 0, 1, 2
VOCABULARY_SIZE = len(SPECIALS) + len(CHARACTERS)
CONTEXT_LENGTH = 2048
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def encode(text: str) -> list[int]:
    """The token ids of a text without special tokens."""
    return [len(SPECIALS) + CHARACTERS.index(character) for character in text]


def decode(token_ids: list[int]) -> str:
    """The text of token ids; special tokens are left out, as the frontend does."""
    return "".join(CHARACTERS[i - len(SPECIALS)] for i in token_ids if i >= len(SPECIALS))


def write_tiny_model(folder: Path) -> Path:
    """Write tokenizer, chat template and configuration of a two-layer Llama; no weights."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIALS[BOS],
            "eos_token": SPECIALS[EOS],
            "pad_token": SPECIALS[PAD],
            "model_max_length": CONTEXT_LENGTH,
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
        },
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": VOCABULARY_SIZE,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": CONTEXT_LENGTH,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
            "hidden_act": "silu",
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
        },
        "generation_config.json": {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1))
    return folder


def write_tiny_weights(folder: Path, *, seed: int = 0) -> Path:
    """Add random weights that an engine can load, 0.4 MB. Needs numpy and safetensors."""
    import numpy
    from safetensors.numpy import save_file

    config = json.loads((folder / "config.json").read_text())
    random = numpy.random.default_rng(seed)
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]

    def matrix(rows: int, columns: int) -> numpy.ndarray:
        return random.normal(0.0, 0.2, (rows, columns)).astype("float32")

    tensors = {
        "model.embed_tokens.weight": matrix(vocabulary, hidden),
        "lm_head.weight": matrix(vocabulary, hidden),
        "model.norm.weight": numpy.ones(hidden, "float32"),
    }
    shapes = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        for name, (rows, columns) in shapes.items():
            tensors[f"{prefix}.{name}.weight"] = matrix(rows, columns)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}.{norm}.weight"] = numpy.ones(hidden, "float32")
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def write_tiny_adapter(folder: Path, model: Path, *, seed: int, rank: int = 8) -> Path:
    """Write a LoRA adapter for a tiny model, with random weights that change what it says."""
    import numpy
    from safetensors.numpy import save_file

    config = json.loads((model / "config.json").read_text())
    random = numpy.random.default_rng(seed)
    heads = {"q_proj": config["num_attention_heads"], "v_proj": config["num_key_value_heads"]}
    tensors = {}
    for layer, module in itertools.product(range(config["num_hidden_layers"]), heads):
        shapes = {
            "lora_A": (rank, config["hidden_size"]),
            "lora_B": (heads[module] * config["head_dim"], rank),
        }
        for name, shape in shapes.items():
            key = f"base_model.model.model.layers.{layer}.self_attn.{module}.{name}.weight"
            tensors[key] = random.normal(0.0, 0.5, shape).astype("float32")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    about = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank, "bias": "none"}
    about |= {"target_modules": list(heads), "base_model_name_or_path": str(model)}
    (folder / "adapter_config.json").write_text(json.dumps(about, indent=1))
    return folder


def _tokenizer() -> dict[str, object]:
    """A tokenizer of single characters, in the format of Hugging Face's tokenizers library."""
    words = [*SPECIALS, *(_byte_level(character) for character in CHARACTERS)]
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": word, **added} for i, word in enumerate(SPECIALS)],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {word: i for i, word in enumerate(words)},
            "merges": [],
        },
    }


def _byte_level(character: str) -> str:
    """GPT-2's byte alphabet shows a space as U+0120 and leaves printable ASCII as it is."""
    return "\u0120" if character == " " else character
