"""A graph as a Python object says the same as a file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_deploy_plan import ask

from dynamo_core.deploy import BaseDeployment, Graph
from dynamo_core.deploy.graph import read_graph
from dynamo_core.deploy.plan import make_plan
from dynamo_core.deploy.process import Plan
from dynamo_core.errors import UserError
from dynamo_core.testing.scripted import Deployment as Scripted
from dynamo_frontend.frontend import Deployment as Frontend

MODULE = """\
from dynamo_core.deploy import Graph
from dynamo_core.testing.scripted import Deployment as Scripted
from dynamo_frontend.frontend import Deployment as Frontend


class Worker(Scripted):
    replicas = 2
    token_delay = 0.5


graph = Graph(Frontend, Worker, common={"model": "m", "namespace": "ns"})
small = Graph(Frontend)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the package `graphs`, as the current one."""
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "agg.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "graphs"]:
        del sys.modules[name]


def plan_of(source: str, *overrides: str, files: tuple[Path, ...] = ()) -> Plan:
    return make_plan(read_graph(source, overrides, files), ask=ask, ports=iter(range(20500, 20600)))


def test_it_is_the_same_plan_as_a_files(here: Path) -> None:
    (here / "agg.yaml").write_text(
        "Common: {model: m, namespace: ns}\n"
        "Frontend: {component: dynamo_frontend.frontend}\n"
        "Worker: {component: dynamo_core.testing.scripted, replicas: 2, token-delay: 0.5}\n"
    )
    assert plan_of("graphs.agg:graph").processes == plan_of("agg.yaml").processes


def test_files_and_flags_override_it(here: Path) -> None:
    first, second = here / "first.yaml", here / "second.yaml"
    first.write_text("Common: {model: other}\nWorker: {token-delay: 0.25, replicas: 3}\n")
    second.write_text("Worker: {replicas: 1}\n")
    plan = plan_of("graphs.agg:graph", "--Worker.token-delay=0.125", files=(first, second))
    (worker,) = plan.processes[1:]
    words = dict(zip(worker.argv[3::2], worker.argv[4::2], strict=True))
    assert (words["--model"], words["--token-delay"]) == ("other", "0.125")


def test_a_file_may_override_a_file_and_add_a_section(tmp_path: Path) -> None:
    base, more = tmp_path / "base.yaml", tmp_path / "sub" / "more.yaml"
    more.parent.mkdir()
    (more.parent / "own.py").write_text("if __name__ == '__main__':\n    pass\n")
    base.write_text("Frontend: {component: dynamo_frontend, http-port: 9000}\n")
    more.write_text("Frontend: {http-port: 9001}\nOwn: {component: own.py}\n")
    frontend, own = plan_of(str(base), files=(more,)).processes
    assert frontend.ports == {"http-port": 9001}
    assert own.argv[1] == str(more.parent / "own.py")


def test_a_file_with_a_section_that_is_nowhere(tmp_path: Path) -> None:
    base, more = tmp_path / "base.yaml", tmp_path / "more.yaml"
    base.write_text("Frontend: {component: dynamo_frontend}\n")
    more.write_text("Fronted: {http-port: 9001}\n")
    with pytest.raises(UserError, match=r"more.yaml:1: section Fronted has no component:"):
        plan_of(str(base), files=(more,))


def test_what_a_class_says_is_less_than_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYN_TOKEN_DELAY", "0.75")
    worker = plan_of("graphs.agg:graph").processes[1]
    assert worker.argv[worker.argv.index("--token-delay") + 1] == "0.75"


def test_names_of_sections() -> None:
    class Large(Scripted):
        name = "large"

    graph = Graph(Frontend, Scripted, Large, Other=Scripted)
    assert list(graph.sections) == ["Frontend", "Scripted", "Large", "Other"]
    tree = graph.tree("here")
    assert tree["Large"]["component"].value == "dynamo_core.testing.scripted"
    assert tree["Large"]["name"].value == "large"
    assert list(tree["Other"]) == ["component"]


def test_what_is_no_graph() -> None:
    with pytest.raises(TypeError, match="two components are called Frontend: name them"):
        Graph(Frontend, Frontend)
    with pytest.raises(TypeError, match="made of deployment classes, found 'Frontend'"):
        Graph("Frontend")  # type: ignore[arg-type]


def test_a_class_of_no_component() -> None:
    class Alone(BaseDeployment):
        name = "alone"

    with pytest.raises(UserError, match="Alone belongs to no component"):
        Graph(Alone).tree("here")


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        (
            "graphs.agg:grph",
            "graphs.agg:grph: grph is no dynamo_core.deploy.Graph\n  fix: give one of graph, small",
        ),
        ("graphs.absent:graph", "graphs.absent:graph: there is no module graphs.absent in "),
        ("nowhere:graph", "nowhere:graph: there is no module nowhere in "),
    ],
)
def test_a_reference_that_leads_nowhere(here: Path, reference: str, problem: str) -> None:
    with pytest.raises(UserError) as raised:
        read_graph(reference)
    assert str(raised.value).startswith(problem)
