"""Every example runs, in every way that a component can be started."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from dynamo_core.testing.processes import Running, Stack

pytest_plugins = ["dynamo_core.testing.plugin"]

ROOT = Path(__file__).resolve().parent.parent
HELLO = ROOT / "examples" / "hello"
GRAPHS = sorted((ROOT / "examples").glob("*/*.yaml"))
ENGINES = ("vllm", "sglang", "trtllm", "mocker")
SIZES = ("max-model-len", "context-length", "max-seq-len", "page-size")
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


def serve(stack: Stack, file: Path) -> Running:
    """`dynamo serve` a graph of simulated workers, and wait until it is ready."""
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(file)]
    command += [f"--Common.model={stack.model}", f"--Common.discovery-path={stack.discovery}"]
    command += ["--Common.served-model-name=mock", f"--Frontend.http-port={stack.port}"]
    server = Running(command)
    stack.running.append(server)
    server.wait_for_line("ready after", 40)
    stack.wait_ready()
    return server


@pytest.mark.parametrize("name", ["agg", "agg_router", "disagg", "disagg_router"])
def test_mocker_served(stack: Stack, name: str) -> None:
    serve(stack, ROOT / "examples" / "mocker" / f"{name}.yaml")
    seen = set()
    for _ in range(5):
        answer = stack.client().completions.create(
            model="mock",
            prompt="x" * 200,
            max_tokens=5,
            extra_body={"nvext": {"extra_fields": ["worker_id"]}},
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 5
        assert answer.model_extra is not None
        workers = answer.model_extra["nvext"]["worker_id"]
        assert (workers["prefill_worker_id"] != workers["decode_worker_id"]) is name.startswith("disagg")
        seen.add(workers["prefill_worker_id"])
        time.sleep(0.3)
    assert len(seen) == 1  # of two, where there is a router


def test_a_custom_router_served(stack: Stack) -> None:
    """Long prompts go to one half of the workers, short ones to the other."""
    server = serve(stack, ROOT / "examples" / "custom_router" / "custom_router.yaml")
    ports = re.findall(r"dynamo_mocker\.worker .*--status-port (\d+)", server.output)
    assert len(ports) == 4

    def answered() -> list[float]:
        found = []
        for port in ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
                metrics = response.read().decode()
            counts = re.findall(
                r"^dynamo_component_requests_total\{.*generate.*\} (\S+)$", metrics, re.MULTILINE
            )
            found.append(sum(map(float, counts)))
        return found

    def ask(prompt: str) -> None:
        stack.client().completions.create(model="mock", prompt=prompt, max_tokens=1)

    used = []
    for size in (1500, 100):
        before = answered()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number, size=size: ask(f"{number} {'x' * size}"), range(8)))
        used.append({port for port, now, then in zip(ports, answered(), before, strict=True) if now > then})
    assert len(used[0]) == len(used[1]) == 2
    assert not used[0] & used[1]


def shape(file: Path) -> dict[str, dict[str, object]]:
    """A graph without what differs from engine to engine: its name, and its words for sizes."""
    engine = f"dynamo_{file.parent.name}"
    return {
        section: {
            key: str(value).replace(engine, "ENGINE") for key, value in values.items() if key not in SIZES
        }
        for section, values in yaml.safe_load(file.read_text()).items()
    }


@pytest.mark.parametrize("kind", ["agg", "agg_router", "disagg", "disagg_router"])
def test_every_engine_has_the_same_graphs(kind: str) -> None:
    graphs = [shape(ROOT / "examples" / engine / f"{kind}.yaml") for engine in ENGINES]
    assert all(graph == graphs[0] for graph in graphs)


def test_a_custom_router_is_short() -> None:
    assert len((ROOT / "examples" / "custom_router" / "router.py").read_text().splitlines()) < 50


@pytest.mark.parametrize("file", GRAPHS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_graph_can_be_planned(file: Path) -> None:
    """Engine packages are installed here without their engines: planning needs none."""
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(file), "--dry-run"]
    command += ["--Common.model=FOLDER"] if file.parent.name == "quickstart" else []
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) >= 2
