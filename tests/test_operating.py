"""docs/operating.md does what it says, command by command."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Running, Stack

pytest_plugins = ["dynamo_core.testing.plugin"]

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "operating.md").read_text()
DYNAMO = str(Path(sys.executable).with_name("dynamo"))


def block(language: str, containing: str) -> str:
    found = [b for b in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if containing in b]
    assert len(found) == 1
    return str(found[0])


def dynamo(command: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = [DYNAMO, *shlex.split(command)[1:], *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def test_a_graph_in_the_background(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    start, ps, logs, restart, stop = (
        block("bash", "--detach").replace("FOLDER", str(stack.model)).splitlines()
    )

    started = dynamo(
        start, f"--Frontend.http-port={stack.port}", f"--Common.discovery-path={stack.discovery}"
    )
    assert started.returncode == 0, started.stderr
    try:
        assert started.stdout.endswith("agg runs in the background: dynamo logs agg, dynamo stop agg\n")
        assert stack.healthy()

        processes = dynamo(ps).stdout
        assert re.search(rf"^Frontend/0 +ready .* http {stack.port}$", processes, re.MULTILINE)
        assert re.search(r"^Worker/0 +ready ", processes, re.MULTILINE)

        following = Running([DYNAMO, *shlex.split(logs)[1:]])
        following.wait_for_line("ready after")
        of_workers, of_one = (dynamo(f"dynamo logs agg {name}").stdout for name in ("Worker", "Worker/0"))
        assert of_workers.replace("Worker/0 | ", "") == of_one
        assert (
            "no log of Wrker\n  fix: there are Frontend/0, Worker/0, serve\n"
            in dynamo("dynamo logs agg Wrker").stderr
        )
        restarted = dynamo(restart)
        assert restarted.returncode == 0, restarted.stderr
        assert restarted.stdout.endswith("Worker/0 is ready\n")
    finally:
        stopped = dynamo(stop)
    assert (stopped.returncode, stopped.stdout) == (0, "agg is stopped\n")
    assert following.wait() == 0
    assert following.lines[-1].endswith("exit code 0: asked by dynamo stop")
    assert "exit code 0" in dynamo("dynamo logs agg -n 1").stdout
    assert not stack.healthy()


def test_a_detached_graph_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "part.py").write_text("if __name__ == '__main__':\n    raise SystemExit('error: no luck')\n")
    (tmp_path / "bad.yaml").write_text(
        "Part: {component: part.py}\nFrontend: {component: dynamo_frontend, http-port: 0}\n"
    )
    wrong = dynamo(f"dynamo serve {tmp_path / 'bad.yaml'} --detach")
    assert wrong.returncode == 2
    assert "Frontend: http-port: " in wrong.stderr
    (tmp_path / "bad.yaml").write_text("Frontend: {component: dynamo_frontend}\nPart: {component: part.py}\n")
    failed = dynamo(
        f"dynamo serve {tmp_path / 'bad.yaml'} --detach", f"--Frontend.discovery-path={tmp_path}/d"
    )
    assert failed.returncode == 1
    assert "Part/0 ended with exit code 1; its last words: error: no luck" in failed.stdout
    nothing = dynamo("dynamo stop")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "no graph is named, and none is running" in nothing.stderr


def test_the_python_graph(tmp_path: Path) -> None:
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "agg.py").write_text(block("python", "Graph(Frontend, Worker"))
    command = [DYNAMO, "serve", "graphs.agg:graph", "--dry-run"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    frontend, *workers = [line.split()[1:] for line in result.stdout.splitlines()]
    assert frontend == ["-m", "dynamo_frontend.frontend"]
    for worker in workers:
        assert worker[:2] == ["-m", "dynamo_vllm.worker"]
        assert worker[worker.index("--max-model-len") + 1] == "4096"
    assert len(workers) == 2
