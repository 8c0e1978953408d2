"""`dynamo config`, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from dynamo_core.deploy.installed import parsers

SCRIPTED = "dynamo_core.testing.scripted"
GRAPH = f"""\
Common:
  namespace: test
Frontend:
  component: dynamo_frontend
  http-port: 8001
Worker:
  component: {SCRIPTED}
  model: some/model
  replicas: 2
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write(tmp_path / "agg.yaml", GRAPH)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def config(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dynamo_core.cli.main", "config", *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_show_tells_every_value_and_its_source(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYN_ROUTER_MODE", "random")
    shown = config("show", graph, "--Worker.token-delay=0.5")
    assert (shown.returncode, shown.stderr) == (0, "")
    frontend, worker = shown.stdout.split("\nWorker: ")
    lines = [" ".join(line.split()) for line in frontend.splitlines()]
    assert lines[0] == f"Frontend: dynamo_frontend in {sys.executable}"
    assert f"http-port = 8001 {graph}:5" in lines
    assert f"namespace = test {graph}:2" in lines
    assert "router-mode = random DYN_ROUTER_MODE" in lines
    assert "component = frontend class Deployment" in lines
    assert "migration-limit = 3 default" in lines
    assert "token-delay = 0.5 --Worker.token-delay" in [
        " ".join(line.split()) for line in worker.splitlines()
    ]


@pytest.mark.parametrize(("style", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_show_for_machines(graph: Path, style: str, load: object) -> None:
    shown = config("show", graph, "--format", style, "--changed")
    data = load(shown.stdout)  # type: ignore[operator]
    assert data["Frontend"]["values"] == {
        "http-port": {"value": 8001, "source": "file", "where": f"{graph}:5", "column": 3},
        "namespace": {"value": "test", "source": "file", "where": f"{graph}:2", "column": 3},
    }


def test_serve_shows_the_same(graph: Path) -> None:
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(graph), "--show-config"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout == config("show", graph).stdout


def test_show_masks_secrets(graph: Path) -> None:
    shown = config("show", graph, "--Common.nats-server", "nats://me:hunter2@host")
    assert "********" in shown.stdout
    assert "hunter2" not in shown.stdout + shown.stderr


def test_check_starts_nothing_and_counts(graph: Path) -> None:
    checked = config("check", graph)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == f"{graph}: ok, 2 components, 3 processes\n"


def test_check_tells_the_problems_of_every_file(graph: Path, tmp_path: Path) -> None:
    wrong = write(tmp_path / "wrong.yaml", GRAPH.replace("8001", "http").replace("model:", "modle:"))
    checked = config("check", wrong, graph, tmp_path / "missing.yaml")
    assert checked.returncode == 2
    assert checked.stdout == f"{graph}: ok, 2 components, 3 processes\n"
    assert checked.stderr.splitlines() == [
        f"{wrong}: error",
        "  Frontend: http-port: input should be a valid integer, unable to parse string as an integer; "
        f"found 'http' (from {wrong}:5)",
        f"  Worker: {wrong}:8: unknown key 'modle'; did you mean model?",
        "  Worker: --model is required: give the flag, or set DYN_MODEL",
        f"{tmp_path / 'missing.yaml'}: error",
        f"  cannot read {tmp_path / 'missing.yaml'}: No such file or directory",
        "    fix: check the path and its permissions",
    ]


def test_diff_tells_what_differs_in_effect(graph: Path, tmp_path: Path) -> None:
    text = GRAPH.replace("8001", "8002").replace("replicas: 2", "replicas: 3\n  env: {A: b}")
    other = write(
        tmp_path / "other.yaml", text + "  drain-timeout: 30\nExtra: {component: dynamo_frontend}\n"
    )
    found = config("diff", graph, other)
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.splitlines() == [
        f"Frontend.http-port: 8001 ({graph}:5) -> 8002 ({other}:5)",
        "Worker.replicas: 2 -> 3",
        "Worker.env.A: not given -> b",
        "Extra: no section -> a section",
    ]


def test_diff_of_a_default_that_is_written_out_is_nothing(graph: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.yaml", GRAPH + "  token-delay: 0\n  endpoint: generate\n")
    found = config("diff", graph, other)
    assert (found.returncode, found.stdout) == (0, "")


def test_diff_masks_secrets(graph: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.yaml", GRAPH + "  nats-server: nats://me:hunter2@host\n")
    found = config("diff", graph, other)
    assert found.stdout.startswith("Worker.nats-server: nats://127.0.0.1:4222 (default) -> ******** (")


def test_schema_takes_the_graph_and_refuses_mistakes(graph: Path) -> None:
    answer = config("schema", graph)
    assert answer.returncode == 0, answer.stderr
    validator = jsonschema.Draft7Validator(json.loads(answer.stdout))
    assert validator.is_valid(yaml.safe_load(GRAPH))
    assert not validator.is_valid(yaml.safe_load(GRAPH.replace("http-port", "http-prot")))
    assert not validator.is_valid(yaml.safe_load(GRAPH.replace("8001", "0")))


def test_schema_of_all_that_is_installed() -> None:
    answer = config("schema")
    assert answer.returncode == 0, answer.stderr
    assert '"const": "dynamo_frontend"' in answer.stdout


def test_env_lists_what_is_read_and_set() -> None:
    shown = config("env")
    assert shown.returncode == 0, shown.stderr
    assert "DYN_HTTP_PORT\n    read by dynamo-frontend: Port of the OpenAI API.\n" in shown.stdout
    assert "\nDYN_EVENT_PLANE_HOST\n    set by " in shown.stdout
    assert "\nETCD_ENDPOINTS\n    read and set by " in shown.stdout
    assert "\nDYN_LOGGING_JSONL\n    set by " in shown.stdout
    assert "\nNO_COLOR\n    read by every command: no colours in help\n" in shown.stdout
    everything = config("env", "--all").stdout
    assert "  DYN_TCP_POOL_SIZE\n" in everything


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the following arguments are required: COMMAND\n  fix: see dynamo config --help"),
        (("show",), "the following arguments are required: GRAPH\n  fix: see dynamo config show --help"),
        (("shwo", "x"), "argument COMMAND: invalid choice: 'shwo'"),
        (("env", "--Worker.x=1"), "unexpected argument '--Worker.x=1'"),
        (("show", "nowhere.yaml"), "cannot read nowhere.yaml: No such file or directory"),
    ],
)
def test_mistakes(words: tuple[str, ...], message: str) -> None:
    result = config(*words)
    assert result.returncode == 2
    assert result.stderr.startswith(f"dynamo config: error: {message}")
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m dynamo_core.cli.main config env --all | head -n 1"
    result = subprocess.run(
        ["/bin/bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stderr == ""


def test_secrets_in_an_environment_are_shown_nowhere(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "hunter2")
    file = write(tmp_path / "secret.yaml", GRAPH + "  env: {HF_TOKEN: '${MINE}', PLAIN: word}\n")
    command = [sys.executable, "-m", "dynamo_core.cli.main", "serve", str(file), "--dry-run"]
    planned = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert 'PLAIN=word HF_TOKEN="$HF_TOKEN" ' in planned
    compared = config("diff", graph, file).stdout
    assert "Worker.env.HF_TOKEN: not given -> ********" in compared
    assert "hunter2" not in planned + compared


def test_diff_tells_another_module(graph: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.yaml", GRAPH.replace("dynamo_frontend", "dynamo_frontend.frontend"))
    assert (
        "Frontend.module: dynamo_frontend -> dynamo_frontend.frontend" in config("diff", graph, other).stdout
    )


def test_a_flat_file_is_refused_without_its_secret(tmp_path: Path) -> None:
    result = config("check", write(tmp_path / "flat.yaml", "nats-server: nats://u:hunter2@h\n"))
    assert result.returncode == 2
    assert "nats-server must be a section with keys of its own, found text" in result.stderr
    assert "hunter2" not in result.stderr


def test_an_override_given_twice(graph: Path) -> None:
    result = config("show", graph, "--Worker.token-delay=1", "--Worker.token-delay=2")
    assert result.returncode == 2
    assert "--Worker.token-delay is given twice with different values; keep one of the two" in result.stderr


def test_a_file_does_not_talk_to_the_terminal(tmp_path: Path) -> None:
    text = 'Frontend:\n  component: dynamo_frontend\n  namespace: "a\\e[31mb"\n'
    shown = config("show", write(tmp_path / "escape.yaml", text)).stdout
    assert "\033" not in shown
    assert r"a\x1b[31mb" in shown
    mistaken = config("check", write(tmp_path / "mistake.yaml", text + '  "\\e[2J": 1\n')).stderr
    assert "\033" not in mistaken


def test_a_broken_component_of_somebody_else_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {
        "bad": "no_such.module",
        "odd": "json:main",
        "empty": "json.tool",
        "frontend": "dynamo_frontend",
    }
    monkeypatch.setattr("dynamo_core.deploy.installed.components", lambda: installed)
    problems: list[str] = []
    assert list(parsers(problems)) == ["frontend"]
    assert [problem.split(" is left out: ")[0] for problem in problems] == ["bad", "odd", "empty"]
