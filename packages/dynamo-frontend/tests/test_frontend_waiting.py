"""A frontend without a model says where it looks and what it sees."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Running, Stack
from dynamo_frontend.waiting import INTERVAL, PATIENCE

PREFILL = """
from dynamo_core.runtime import model
from dynamo_core.testing import scripted

async def register(endpoint, card, **_):
    from dynamo import _core
    await _core.register_model(
        _core.ModelInput.Tokens, _core.ModelType.Empty, endpoint, card.model_path, card.name,
        kv_cache_block_size=16, worker_type=_core.WorkerType.Prefill, needs=[[_core.WorkerType.Decode]],
        self_host_metadata=False,
    )

model.register = register
scripted.main()
"""
WARNING = r"WARNING dynamo_frontend.waiting: no model is ready for this frontend of namespace (.*)"


@pytest.fixture
def own_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A default discovery folder that nobody else uses."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path / f"dynamo-{os.getuid()}"


def wait_for_warning(frontend: Running, timeout: float = PATIENCE + 3) -> str:
    return frontend.wait_for_line(WARNING, timeout)[1]


def warnings(frontend: Running) -> int:
    return sum("WARNING dynamo_frontend.waiting" in line for line in frontend.lines)


def test_right_after_the_start(stack: Stack, own_default: Path) -> None:
    """P06: a frontend that meets nobody says where it looks, and what it sees elsewhere."""
    frontend = stack.frontend()
    frontend.wait_for_line("listening on")
    started = time.monotonic()
    said = wait_for_warning(frontend)
    assert PATIENCE - 1 < time.monotonic() - started < PATIENCE + 1.5
    assert said == (
        f"dynamo, which looks in file {stack.discovery}: nothing is registered there; a worker is once its "
        "engine has loaded, if it was given the same discovery settings"
    )
    stack.scripted()
    frontend.wait_for_line("ready: scripted")
    assert warnings(frontend) == 1


def test_models_of_another_namespace(stack: Stack, own_default: Path) -> None:
    """P06: a frontend that meets nobody says where it looks, and what it sees elsewhere."""
    stack.scripted("--namespace", "other").wait_for_line("is ready")
    frontend = stack.frontend("--namespace", "mine")
    assert wait_for_warning(frontend) == (
        f"mine, which looks in file {stack.discovery}: there are models of other namespaces here: "
        "scripted (namespace other); give frontend and workers the same --namespace"
    )


def test_a_model_in_the_default_folder(stack: Stack, own_default: Path, tiny_model: Path) -> None:
    """P06: a frontend that meets nobody says where it looks, and what it sees elsewhere."""
    with Stack(own_default.parent, tiny_model) as other:
        other.discovery = own_default
        other.scripted().wait_for_line("is ready")
        said = wait_for_warning(stack.frontend())
        assert said.endswith(f"; the default folder {own_default} has scripted (namespace dynamo)")


def test_half_a_pair(stack: Stack, own_default: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.py"
    half.write_text(PREFILL)
    words = [half, "--model", stack.model, "--served-model-name", "m", "--discovery-path", stack.discovery]
    stack.running.append(Running([sys.executable, *map(str, words)]))
    stack.running[0].wait_for_line("is ready")
    assert wait_for_warning(stack.frontend()).endswith(
        ": it knows m (namespace dynamo), but cannot serve it: a prefill worker needs a decode worker"
    )


def test_a_worker_that_was_killed(stack: Stack, own_default: Path) -> None:
    frontend, worker = stack.frontend(), stack.scripted()
    stack.wait_ready()
    time.sleep(PATIENCE + 1)
    assert warnings(frontend) == 0
    worker.process.kill()
    worker.wait()
    stack.running.remove(worker)
    stack.wait_ready(healthy=False)
    wait_for_warning(frontend, PATIENCE + 2 * INTERVAL)
    time.sleep(PATIENCE + 1)
    assert warnings(frontend) == 1
    assert frontend.stop() == 0


def test_over_https(stack: Stack, own_default: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=example.org", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    wait_for_warning(stack.frontend("--tls-cert-path", certificate, "--tls-key-path", key))
