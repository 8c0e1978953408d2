"""What the documentation tells people to type works: each command of each page is known here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Stack

pytest_plugins = ["dynamo_core.testing.plugin"]

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("examples/**/*.md"),
    *ROOT.glob("packages/*/README.md"),
]
RUN_ELSEWHERE = {
    "python3 -m pip install tox && tox run -e quickstart": "tests/test_quickstart.py, and tox itself",
    "tox run": "this very run",
    "pip install tox": "this very run",
    "curl": "tests/test_quickstart.py",
    "pip install": "tests/test_packages.py",
    "pip uninstall": "tools/install_engine.py leaves the same packages out",
    "python3 examples/hello": "tests/test_examples.py",
    "git ": "a release, which no test makes",
    "DYN_DRAIN_TIMEOUT=60 dynamo-vllm-worker": "packages/dynamo-vllm/tests/test_vllm_documentation.py",
    "dynamo-vllm-worker --help=engine": "packages/dynamo-vllm/tests/test_vllm_documentation.py",
    "dynamo-vllm-worker --help=max-model-len": "packages/dynamo-vllm/tests/test_vllm_documentation.py",
    "python tools/reference.py": "below, with --check",
    "dynamo ps agg": "tests/test_operating.py",
    "dynamo logs agg": "tests/test_operating.py",
    "dynamo restart agg": "tests/test_operating.py",
    "dynamo stop agg": "tests/test_operating.py",
}
"""Commands by how they begin, and where they are run."""

MODULES = {
    "dynamo-frontend": "dynamo_frontend",
    "dynamo-router": "dynamo_frontend.router",
    "dynamo-mocker-worker": "dynamo_mocker.worker",
    "dynamo-mocker-prefill": "dynamo_mocker.prefill",
    "dynamo-mocker-decode": "dynamo_mocker.decode",
    "dynamo-echo-worker": "dynamo_mocker.echo",
    "dynamo-vllm-worker": "dynamo_vllm.worker",
    "dynamo-vllm-prefill": "dynamo_vllm.prefill",
    "dynamo-vllm-decode": "dynamo_vllm.decode",
    "dynamo-sglang-worker": "dynamo_sglang.worker",
    "dynamo-sglang-prefill": "dynamo_sglang.prefill",
    "dynamo-sglang-decode": "dynamo_sglang.decode",
    "dynamo-trtllm-worker": "dynamo_trtllm.worker",
    "dynamo-trtllm-prefill": "dynamo_trtllm.prefill",
    "dynamo-trtllm-decode": "dynamo_trtllm.decode",
}


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("   #")[0].strip().removesuffix(" &") for line in lines if line.strip()]


ALL = [(page, command) for page in PAGES for command in commands(page)]
HERE = [
    pytest.param(command, id=f"{page.relative_to(ROOT)}: {command[:60]}")
    for page, command in ALL
    if not command.startswith(tuple(RUN_ELSEWHERE)) and not command.startswith("tox run")
]


@pytest.mark.parametrize("command", HERE)
def test_a_documented_command_is_understood(command: str, tmp_path: Path, tiny_model: Path) -> None:
    """What would start something is run with `--show-config`, `--dry-run` or `--collect-only`; all else as
    it stands."""
    words = shlex.split(command.replace("FOLDER", str(tiny_model)))
    if words[0] == "dynamo" and words[1] not in ("serve", "run"):
        result = _run("dynamo_core.cli.main", *words[1:])
    elif words[:2] in (["dynamo", "serve"], ["dynamo", "run"]):
        if words[1] == "serve" and not (ROOT / words[2]).exists() and ":" not in words[2]:
            words[2] = str(tmp_path / "graph.yaml")
            Path(words[2]).write_text("Frontend:\n  component: dynamo_frontend\n")
        result = _run("dynamo_core.cli.main", *words[1:], "--dry-run")
    elif words[0] == "pytest":
        result = _run("pytest", *words[1:], "--collect-only")
    else:
        asks = any(word.startswith("--help") for word in words)
        result = _run(MODULES[words[0]], *words[1:], *([] if asks else ["--show-config"]))
    assert result.returncode == 0, result.stderr


def test_the_requests_of_the_page_on_routing_are_answered(stack: Stack) -> None:
    """Its Python, with this stack's port and model."""
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "routing.md").read_text(), re.DOTALL)
    stack.frontend("--router-mode", "kv")
    name = "Qwen/Qwen3-0.6B"
    stack.start("dynamo_mocker.worker", "--model", stack.model, "--served-model-name", name)
    stack.wait_ready()
    source = source.replace("http://127.0.0.1:8000", stack.url)
    source += "assert again.usage.completion_tokens == 5\nprint(answer.model_extra['nvext'])\n"
    result = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "kv_hit_rate" in result.stdout


def test_the_reference_is_current() -> None:
    """A page per component, written by `python tools/reference.py`."""
    command = [sys.executable, str(ROOT / "tools/reference.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_every_tox_environment_that_is_named_exists() -> None:
    named = {
        name
        for _, command in ALL
        for names in re.findall(r"tox run -e ([\w,]+)", command)
        for name in names.split(",")
    }
    existing = set(re.findall(r"^\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text(), re.MULTILINE))
    assert named <= existing


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def _run(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
