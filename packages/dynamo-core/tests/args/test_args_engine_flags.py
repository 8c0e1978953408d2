"""What core does not know goes to the engine's own parser, in order and unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from every_setting import WorkerSettings

from dynamo_core.args import DynamoFlexibleArgumentParser

REQUIRED = ["--model", "m", "--component", "c"]


def engine_args(argv: list[str]) -> list[str]:
    return DynamoFlexibleArgumentParser(WorkerSettings, engine="vLLM").parse([*REQUIRED, *argv]).engine_args


def from_file(folder: Path, text: str, argv: list[str] | None = None) -> list[str]:
    file = folder / "engine.yaml"
    file.write_text(text)
    return engine_args(["-f", str(file), *(argv or [])])


def test_flags_keep_their_order_whatever_stands_between_them() -> None:
    argv = ["--max-model-len", "4096", "--status-port", "5", "-tp", "2", "--enforce-eager", "--dtype=float32"]
    assert engine_args(argv) == ["--max-model-len", "4096", "-tp", "2", "--enforce-eager", "--dtype=float32"]


def test_lists_json_and_negative_numbers_of_the_command_line() -> None:
    argv = ["--sizes", "1", "2", "4", "--kv-transfer-config", '{"a": [1, 2]}', "--offset", "-1"]
    assert engine_args(argv) == argv


def test_an_abbreviation_of_ours_is_the_engines_own_flag() -> None:
    assert engine_args(["--mod", "x"]) == ["--mod", "x"]


def test_those_of_files_stand_first(tmp_path: Path) -> None:
    assert from_file(tmp_path, "dtype: float32\n", ["--dtype", "bfloat16"]) == [
        *("--dtype", "float32"),
        *("--dtype", "bfloat16"),
    ]


def test_files_in_their_order(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("seed: 2\n")
    assert from_file(tmp_path, "seed: 1\n", ["-f", str(other)]) == ["--seed", "1", "--seed", "2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max-model-len: 4096", ["--max-model-len", "4096"]),
        ("gpu-memory-utilization: 0.5", ["--gpu-memory-utilization", "0.5"]),
        ("dtype: float32", ["--dtype", "float32"]),
        ("enforce-eager: true", ["--enforce-eager"]),
        ("enable-prefix-caching: false", ["--no-enable-prefix-caching"]),
        ("sizes: [1, 2, 4]", ["--sizes", "1", "2", "4"]),
        ("revision:", []),
        (
            "kv-transfer-config: {kv_connector: X, n: 1}",
            ["--kv-transfer-config", '{"kv_connector": "X", "n": 1}'],
        ),
    ],
)
def test_a_key_of_a_file_becomes_words(tmp_path: Path, text: str, words: list[str]) -> None:
    assert from_file(tmp_path, f"{text}\n") == words


def test_a_list_of_mappings_becomes_json(tmp_path: Path) -> None:
    flag, *items = from_file(tmp_path, "lora-modules: [{name: a, path: b}]\n")
    assert flag == "--lora-modules"
    assert [json.loads(item) for item in items] == [{"name": "a", "path": "b"}]


def test_a_key_of_the_component_replaces_the_common_one(tmp_path: Path) -> None:
    text = "Common:\n  max-model-len: 1\nmax-model-len: 2\n"
    assert from_file(tmp_path, text)[-2:] == ["--max-model-len", "2"]


def test_without_an_engine_they_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        DynamoFlexibleArgumentParser(WorkerSettings).parse([*REQUIRED, "--enforce-eager"])
    assert exited.value.code == 2
    assert "unknown flag '--enforce-eager'" in capsys.readouterr().err


def test_show_config_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        engine_args(["--show-config", "--dtype", "float32"])
    assert exited.value.code == 0
    assert capsys.readouterr().out.splitlines()[-1].split("=")[1].strip() == "--dtype float32"
