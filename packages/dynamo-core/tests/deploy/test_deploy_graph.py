"""Reading a serve file and what the command line changes in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dynamo_core.args import Origin
from dynamo_core.deploy.graph import GraphConfig, Section, read_graph
from dynamo_core.errors import UserError

GRAPH = """\
Common:
  model: some/model
  namespace: test
Frontend:
  component: dynamo_frontend
  http-port: 8001
Worker:
  component: my_worker.worker
  python: .venv/bin/python
  replicas: 2
  env: {HF_HOME: /models, COUNT: 3}
  sizes: [1, 2]
Own:
  component: parts/own.py
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "graph.yaml"
    path.write_text(GRAPH)
    return path


def section(graph: GraphConfig, name: str) -> Section:
    return next(section for section in graph.sections if section.name == name)


def problems(file: Path, *words: str) -> str:
    try:
        graph = read_graph(file, words)
    except UserError as error:
        return str(error)
    return "\n".join(problem for section in graph.sections for problem in section.problems)


def test_sections_in_their_order(file: Path) -> None:
    graph = read_graph(file)
    assert [section.name for section in graph.sections] == ["Frontend", "Worker", "Own"]
    assert {key: located.value for key, located in graph.common.items()} == {
        "model": "some/model",
        "namespace": "test",
    }
    assert graph.common["namespace"].origin == Origin("file", f"{file}:3")


def test_values_and_what_is_said_of_the_process(file: Path) -> None:
    graph = read_graph(file)
    frontend, worker = section(graph, "Frontend"), section(graph, "Worker")
    assert frontend.values["http-port"].value == 8001
    assert frontend.values["http-port"].origin == Origin("file", f"{file}:6")
    assert (frontend.python, frontend.env, frontend.replicas) == (sys.executable, {}, None)
    assert set(worker.values) == {"sizes"}
    assert worker.env == {"HF_HOME": "/models", "COUNT": "3"}
    assert worker.replicas is not None
    assert worker.replicas.value == 2


def test_paths_are_relative_to_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    graph = read_graph(file)
    assert section(graph, "Own").component == str(file.parent / "parts/own.py")
    assert section(graph, "Worker").python == str(file.parent / ".venv/bin/python")
    assert section(graph, "Worker").component == "my_worker.worker"


def test_a_relative_file_gives_absolute_paths(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    graph = read_graph(Path("graph.yaml"))
    assert section(graph, "Own").component == str(file.parent / "parts/own.py")
    assert section(graph, "Worker").python == str(file.parent / ".venv/bin/python")


def test_an_interpreter_that_is_a_link_stays_one(file: Path) -> None:
    link = file.parent / ".venv/bin/python"
    link.parent.mkdir(parents=True)
    link.symlink_to(sys.executable)
    assert section(read_graph(file), "Worker").python == str(link)


@pytest.mark.parametrize("words", [["--Worker.sizes=[3]"], ["--Worker.sizes", "[3]"]])
def test_an_override_in_one_word_or_two(file: Path, words: list[str]) -> None:
    located = section(read_graph(file, words), "Worker").values["sizes"]
    assert located.value == [3]
    assert located.origin == Origin("flag", "--Worker.sizes")


def test_overrides_of_everything(file: Path) -> None:
    words = [
        *("--Worker.replicas", "4", "--Worker.eager", "--Common.model=other/model", "--Worker.offset", "-1"),
        *(
            "--Frontend.http-port",
            "8002",
            "--Frontend.component=front.py",
            "--Worker.env",
            "{A: b}",
            "--Own.last",
        ),
    ]
    graph = read_graph(file, words)
    worker, frontend = section(graph, "Worker"), section(graph, "Frontend")
    assert worker.replicas is not None
    assert worker.replicas.value == 4
    assert worker.values["eager"].value is True
    assert worker.values["offset"].value == "-1"
    assert worker.env == {"A": "b"}
    assert graph.common["model"].value == "other/model"
    assert frontend.values["http-port"].value == "8002"
    assert frontend.component == str(file.parent / "front.py")
    assert section(graph, "Own").values["last"].value is True


def test_common_can_be_given_on_the_command_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text("Worker:\n  component: worker\n")
    assert read_graph(file, ["--Common.model=m"]).common["model"].value == "m"


def test_a_value_may_hold_an_equals_sign(file: Path) -> None:
    assert section(read_graph(file, ["--Worker.filter=a=b"]), "Worker").values["filter"].value == "a=b"


def test_a_misspelt_section(file: Path) -> None:
    assert (
        problems(file, "--Worke.replicas=2") == "--Worke.replicas=2: no section 'Worke'; did you mean Worker?"
    )


def test_what_is_no_override(file: Path) -> None:
    expected = "unexpected argument 'replicas=2'; overrides look like --Worker.replicas=2"
    assert problems(file, "replicas=2") == expected


@pytest.mark.parametrize("text", ["{", "@x", "a: b: c", "[1"])
def test_an_override_that_is_no_yaml(file: Path, text: str) -> None:
    assert problems(file, f"--Worker.env={text}").startswith("--Worker.env")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "{file}: the file names no component"),
        ("Common:\n  model: m\n", "{file}: the file names no component"),
        (
            "Worker:\n  replicas: 2\n",
            "{file}: section Worker has no component:\n  fix: name the module, as for `python -m`",
        ),
        (
            "Worker:\n  component: w\nhttp-port: 8000\n",
            "{file}:3: http-port must be a section with keys of its own, found a number\n"
            "  fix: write settings for all components under Common:",
        ),
        (
            "Worker:\n  component: w\n  env: [A]\n",
            "{file}:3: env must be a mapping of names to values, found a list",
        ),
        (
            "Worker:\n  component: w\n  component: v\n",
            "{file}:3: 'component' is given twice, first on line 2\n  fix: keep one of the two",
        ),
        ("Worker: [\n", "{file}:2: not valid YAML: expected the node content, but found '<stream end>'"),
    ],
)
def test_mistakes_of_a_file(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text(text)
    assert problems(file) == expected.format(file=file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert problems(missing).startswith(f"cannot read {missing}: No such file or directory")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text("A:\n  replicas: 1\nB:\n  component: b\n  env: 5\n")
    found = problems(file, "--C.replicas=2", "word")
    for part in (
        "no section 'C'",
        "unexpected argument 'word'",
        "section A has no component",
        f"{file}:5: env must",
    ):
        assert part in found


def test_references_to_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS", "/models")
    path = tmp_path / "graph.yaml"
    path.write_text("Common: {model: '${MODELS}/a'}\nWorker: {component: w, size: '${SIZE:-3}'}\n")
    graph = read_graph(path)
    assert graph.common["model"].value == "/models/a"
    assert section(graph, "Worker").values["size"].value == "3"
    path.write_text("Worker:\n  component: ${NO_SUCH_VARIABLE}\n")
    with pytest.raises(UserError, match=r"graph\.yaml:2: component: .* is not set"):
        read_graph(path)
