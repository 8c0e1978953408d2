"""The double of TensorRT-LLM under the conformance kit."""

from __future__ import annotations

from pathlib import Path

from dynamo_core.testing.conformance.kit import outcomes, run_kit

DOCUMENTED = Path(__file__).resolve().parents[3] / "docs" / "conformance" / "trtllm.json"


def test_the_double_keeps_what_the_documentation_says(tmp_path: Path, double: dict[str, str]) -> None:
    result = run_kit("dynamo_trtllm", tmp_path, env=double)
    assert result.code == 0, result.output
    assert result.outcomes == outcomes(DOCUMENTED)
