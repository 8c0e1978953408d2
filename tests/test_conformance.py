"""The conformance kit tells an engine that keeps its promises from one that does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CUSTOM = ROOT / "examples" / "custom_engine"
sys.path.insert(0, str(ROOT / "tools"))

import conformance  # noqa: E402


def kit(
    tmp_path: Path, engine: str, *words: str, path: Path | None = None
) -> tuple[int, dict[str, Any], str]:
    """Exit code, outcomes by promise and output of a run on `engine`, which is found in `path`."""
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "pytest", "--pyargs", "dynamo_core.testing.conformance"]
    result = subprocess.run(
        [*command, "--engine", engine, "--conformance-json", str(file), *words],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(path or ""), "PYTEST_ADDOPTS": ""},
        check=False,
    )
    rows = json.loads(file.read_text())["promises"] if file.exists() else {}
    return (
        result.returncode,
        {name: row["outcome"] for name, row in rows.items()},
        result.stdout + result.stderr,
    )


def test_the_example_of_an_engine_of_ones_own_passes(tmp_path: Path) -> None:
    code, outcomes, output = kit(tmp_path, "custom_engine", path=CUSTOM / "src")
    assert code == 0, output
    assert outcomes["streaming-order"] == "kept"
    assert outcomes["choices"] == "refused by name"
    assert outcomes["hand-over"] == "does not apply"
    assert "A stream says what the whole answer says, in order" in output


def test_the_example_is_short() -> None:
    files = [path for path in CUSTOM.rglob("*") if path.suffix in (".py", ".toml")]
    assert sum(len(path.read_text().splitlines()) for path in files) < 120


def test_the_scripted_engine_passes(tmp_path: Path) -> None:
    code, outcomes, output = kit(tmp_path, "dynamo_core.testing")
    assert code == 0, output
    assert outcomes["kv-events"] == outcomes["migration"] == outcomes["drain"] == "kept"


def copy_of_the_example(tmp_path: Path, *changes: tuple[str, str], toml: str = "") -> Path:
    """The example's package with something wrong in it."""
    package = tmp_path / "wrong" / "custom_engine"
    package.mkdir(parents=True)
    for file in (CUSTOM / "src" / "custom_engine").glob("*.*"):
        text = file.read_text()
        if file.name == "worker.py":
            for old, new in changes:
                assert old in text
                text = text.replace(old, new)
        (package / file.name).write_text(text + (toml if file.suffix == ".toml" else ""))
    return package.parent


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ((('chunk["completion_usage"]', "chunk['engine_data']"),), "chunks"),
        ((('random.Random(options.get("seed"))', "random.Random()"),), "seeds"),
        ((("if last in ends or count", "if count"), ("and not (count and last in ends)", "")), "stop-tokens"),
        ((("if asked:", "if False:"),), "logprobs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_an_engine_is_found(
    tmp_path: Path, changes: tuple[tuple[str, str], ...], broken: str
) -> None:
    wrong = copy_of_the_example(tmp_path, *changes)
    code, outcomes, output = kit(tmp_path, "custom_engine", "-k", broken.replace("-", "_"), path=wrong)
    assert code == 1, output
    assert outcomes[broken] == "broken"


def test_a_promise_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    wrong = copy_of_the_example(tmp_path, toml='telepathy = "not yet"\n')
    code, _, output = kit(tmp_path, "custom_engine", path=wrong)
    assert code == 4
    assert "does-not-apply names telepathy, which is no promise of the kit" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--engine", "no_such_engine"), "there is no package no_such_engine"),
        (("--engine", "dynamo_core"), "dynamo_core does not say how to start its engine for tests"),
    ],
)
def test_an_engine_that_cannot_be_tested(tmp_path: Path, words: tuple[str, str], message: str) -> None:
    code, _, output = kit(tmp_path, words[1])
    assert code == 4
    assert message in output
    assert "Traceback" not in output


def test_the_page_is_what_the_results_say() -> None:
    assert (ROOT / "docs" / "conformance.md").read_text() == conformance.page()
