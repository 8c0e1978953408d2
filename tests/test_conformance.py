"""The conformance kit tells an engine that keeps its promises from one that does not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dynamo_core.testing.conformance.kit import Result, outcomes, run_kit

ROOT = Path(__file__).resolve().parent.parent
CUSTOM = ROOT / "examples" / "custom_engine"
sys.path.insert(0, str(ROOT / "tools"))

import conformance  # noqa: E402


def custom(tmp_path: Path, source: Path, *words: str) -> Result:
    """A run on the package custom_engine in `source`."""
    return run_kit("custom_engine", tmp_path, *words, env={"PYTHONPATH": str(source)})


def test_the_example_of_an_engine_of_ones_own_passes(tmp_path: Path) -> None:
    result = custom(tmp_path, CUSTOM / "src")
    assert result.code == 0, result.output
    assert result.outcomes["streaming-order"] == "kept"
    assert result.outcomes["choices"] == "refused by name"
    assert result.outcomes["hand-over"] == "does not apply"
    assert "A stream says what the whole answer says, in order" in result.output


def test_the_example_is_short() -> None:
    files = [path for path in CUSTOM.rglob("*") if path.suffix in (".py", ".toml")]
    assert sum(len(path.read_text().splitlines()) for path in files) < 120


def test_the_scripted_engine_keeps_what_the_documentation_says(tmp_path: Path) -> None:
    result = run_kit("dynamo_core.testing", tmp_path)
    assert result.code == 0, result.output
    assert result.outcomes == outcomes(ROOT / "docs" / "conformance" / "scripted.json")


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
    result = custom(tmp_path, wrong, "-k", broken.replace("-", "_"))
    assert result.code == 1, result.output
    assert result.outcomes[broken] == "broken"


def test_a_promise_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    wrong = copy_of_the_example(tmp_path, toml='telepathy = "not yet"\n')
    result = custom(tmp_path, wrong)
    assert result.code == 4
    assert "does-not-apply names telepathy, which is no promise of the kit" in result.output


def test_a_skip_without_a_reason_fails(tmp_path: Path) -> None:
    """As of a promise that needs what the engine's machine does not have."""
    plugin = tmp_path / "not_today.py"
    plugin.write_text("import pytest\n\ndef pytest_runtest_setup(item):\n    pytest.skip('not today')\n")
    words = ("-k", "streaming_order or hand_over", "-p", "not_today")
    env = {"PYTHONPATH": f"{CUSTOM / 'src'}{os.pathsep}{tmp_path}"}
    result = run_kit("custom_engine", tmp_path, *words, env=env)
    assert result.code == 1, result.output
    assert result.outcomes == {"streaming-order": "broken", "hand-over": "does not apply"}
    assert "skipped without a reason in custom_engine's conformance.toml" in result.output


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("no_such_engine", "there is no package no_such_engine"),
        ("dynamo_core", "dynamo_core does not say how to start its engine for tests"),
    ],
)
def test_an_engine_that_cannot_be_tested(tmp_path: Path, package: str, message: str) -> None:
    result = run_kit(package, tmp_path)
    assert result.code == 4
    assert message in result.output
    assert "Traceback" not in result.output


def test_the_page_is_what_the_results_say() -> None:
    assert (ROOT / "docs" / "conformance.md").read_text() == conformance.page()
