"""Every example runs, in every way that a component can be started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Running, Stack

pytest_plugins = ["dynamo_core.testing.plugin"]

ROOT = Path(__file__).resolve().parent.parent
HELLO = ROOT / "examples" / "hello"
GRAPHS = sorted((ROOT / "examples").glob("*/*.yaml"))
WAYS = {
    "python FILE": lambda name: [str(HELLO / f"{name}.py")],
    "python -m MODULE": lambda name: ["-m", f"examples.hello.{name}"],
}


@pytest.mark.parametrize("way", WAYS)
def test_hello_started_by_hand(tmp_path: Path, way: str) -> None:
    def start(name: str, *flags: str) -> Running:
        command = [sys.executable, *WAYS[way](name), "--discovery-path", str(tmp_path / "d"), *flags]
        return Running(command)

    running = [start("backend", "--pause", "0"), start("middle", "--mark", "?")]
    try:
        client = start("client", "--text", "one two")
        assert client.wait() == 0
        assert [line for line in client.lines if line.endswith("?")] == ["ONE?", "TWO?"]
    finally:
        for process in running:
            process.close()


def test_hello_served(tmp_path: Path) -> None:
    flags = [f"--{name}.discovery-path={tmp_path / 'd'}" for name in ("Backend", "Middle", "Client")]
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(HELLO / "hello.yaml"), *flags]
    server = Running([*command, "--Client.text=one two", "--Middle.mark=+"])
    assert server.wait(30) == 0
    assert [line.split(" | ")[1] for line in server.lines if line.endswith("+")] == ["ONE+", "TWO+"]


def test_mocker_served(stack: Stack) -> None:
    file = ROOT / "examples" / "mocker" / "agg.yaml"
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(file)]
    command += [f"--Common.model={stack.model}", f"--Common.discovery-path={stack.discovery}"]
    server = Running([*command, f"--Frontend.http-port={stack.port}", "--Worker.served-model-name=mock"])
    stack.running.append(server)
    server.wait_for_line("ready after")
    message = {"role": "user", "content": "hi"}
    answer = stack.client().chat.completions.create(model="mock", messages=[message], max_tokens=5)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


@pytest.mark.parametrize("file", GRAPHS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_graph_can_be_planned(file: Path) -> None:
    """Engine packages are installed here without their engines: planning needs none."""
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(file), "--dry-run"]
    command += ["--Common.model=FOLDER"] if file.parent.name == "quickstart" else []
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) >= 2
