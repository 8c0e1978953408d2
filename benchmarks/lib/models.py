"""The models, and the flags that an engine serves them with: the same for every contestant."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = "tiny"
SMOLLM2 = "smollm2"
VLLM_FLAGS = (
    "--dtype", "float32", "--enforce-eager", "--block-size", "32",
    "--kv-cache-memory-bytes", "67108864", "--max-num-seqs", "64",
)  # fmt: skip
SGLANG_FLAGS = (
    "--device", "cpu", "--attention-backend", "torch_native", "--sampling-backend", "pytorch",
    "--disable-cuda-graph", "--mem-fraction-static", "0.2", "--max-total-tokens", "32768",
    "--max-running-requests", "64", "--skip-server-warmup", "--page-size", "16",
    "--sleep-on-idle",
)  # fmt: skip
FLAGS = {"vllm": VLLM_FLAGS, "sglang": SGLANG_FLAGS}
WRITE_TINY = (
    "import sys; from pathlib import Path; from dynamo_core.testing.tiny_model import *; "
    "write_tiny_weights(write_tiny_model(Path(sys.argv[1])))"
)


@dataclass(frozen=True)
class Model:
    name: str
    path: Path


def tiny(python: str, folder: Path) -> Model:
    """Random weights, 0.4 MB."""
    path = folder / TINY
    subprocess.run([python, "-c", WRITE_TINY, str(path)], check=True)
    return Model(TINY, path)


def smollm2(python: str, folder: Path) -> Model:
    """SmolLM2-135M-Instruct, made once into a folder that stays."""
    path = folder / SMOLLM2
    if not (path / "model.safetensors").exists():
        subprocess.run([python, str(ROOT / "examples/quickstart/smollm2.py"), str(path)], check=True)
    return Model(SMOLLM2, path)
