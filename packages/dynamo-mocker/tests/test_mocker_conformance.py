"""The mocker under the conformance kit."""

from __future__ import annotations

from pathlib import Path

from dynamo_core.testing.conformance.kit import outcomes, run_kit

DOCUMENTED = Path(__file__).resolve().parents[3] / "docs" / "conformance" / "mocker.json"


def test_it_keeps_what_the_documentation_says(tmp_path: Path) -> None:
    result = run_kit("dynamo_mocker", tmp_path)
    assert result.code == 0, result.output
    assert result.outcomes == outcomes(DOCUMENTED)
