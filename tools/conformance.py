"""Writes docs/conformance.md from the results in docs/conformance, which the kit has written:

    pytest --pyargs dynamo_core.testing.conformance --engine dynamo_vllm \\
      --conformance-json docs/conformance/vllm.json
    python tools/conformance.py
"""

from __future__ import annotations

import json
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
SIGNS = {"kept": "yes", "broken": "**broken**", "refused by name": "400", "does not apply": "–"}
TEXT = """\
# What each engine keeps of BaseWorker's promises

Made by `python tools/conformance.py` from real runs of the conformance kit on a machine without a GPU; the
commands are in that file. *yes*: kept. *400*: the engine does not have it, and says so to the client by
name. *–*: it cannot apply, for the reason below. dynamo_trtllm ran on its double, never on the real engine;
dynamo_core.testing is the scripted engine. dynamo_mocker makes its answers up, so that only their length is
compared.
"""


def page() -> str:
    """The page as it should be."""
    results = [json.loads(path.read_text()) for path in sorted((DOCS / "conformance").glob("*.json"))]
    names = [result["engine"] for result in results]
    promises = {name: row["promise"] for result in results for name, row in result["promises"].items()}
    lines = [TEXT, f"| promise | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for name, promise in promises.items():
        cells = [SIGNS[result["promises"][name]["outcome"]] for result in results]
        lines.append(f"| {promise} | {' | '.join(cells)} |")
    for result in results:
        reasons = [row for row in result["promises"].values() if row["reason"]]
        if reasons:
            lines += ["", f"## {result['engine']}", ""]
            lines += [f"- {row['promise']}: {row['reason']}" for row in reasons]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    (DOCS / "conformance.md").write_text(page())
