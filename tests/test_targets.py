"""Every example as every target: the same components with the same words."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from rendering import (
    GRAPHS,
    IN_IMAGES,
    ONE_POD,
    ROOT,
    SCHEMAS,
    commands,
    graph_of,
    name_of,
    objects,
    plan_of,
    rendered,
)

from dynamo_core.args.origins import Located, Origin
from dynamo_core.deploy.graph import GraphConfig, read_graph
from dynamo_core.errors import UserError
from dynamo_core.targets import find_target, target_names

VERSIONS = ("1.31", "1.33", "1.34")
"""Of Kubernetes; `preStop.sleep` is known to each."""
OWN = """\
import argparse

from dynamo_core.args import DynamoFlexibleArgumentParser, Engine, GpuSettings
from dynamo_core.args.engine import multiplied
from dynamo_core.deploy import BaseDeployment


class Deployment(BaseDeployment):
    name = "own"
    resources = {"gpu": 1}


def build_parser():
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--tp", type=int)
    return own


def parser():
    engine = Engine("Own", build_parser, gpus=lambda options: multiplied(options, "tp"))
    return DynamoFlexibleArgumentParser(GpuSettings, Deployment, engine=engine)
"""


@pytest.fixture(scope="module", params=GRAPHS, ids=name_of)
def graph(request: pytest.FixtureRequest) -> GraphConfig:
    return graph_of(request.param)


def options(words: list[str]) -> dict[str, str]:
    """The flags of an argv; in none of these has one no value."""
    return dict(zip(words[::2], words[1::2], strict=True))


def cases() -> Iterator[Any]:
    """Every example with every target; those that run pods of one kind can express the simple ones only."""
    for path in GRAPHS:
        for target in target_names():
            if target not in ONE_POD or path.stem == "agg":
                case = f"{name_of(path)}-{target}"
                yield pytest.param(path, target, id=case)


@pytest.mark.parametrize(("path", "target"), cases())
def test_every_target_starts_what_serve_starts(path: Path, target: str) -> None:
    """The same module with the same words, but for what the target's site tells, addresses, ports that were
    chosen, and GPUs."""
    graph, site = graph_of(path), find_target(target).site()
    told = {f"--{key}" for key in site.settings}
    free = {*told, "--rpc-host", "--status-port", "--kv-transfer-port", "--gpus"}
    local = {process.section.lower(): list(process.argv) for process in plan_of(graph, None).processes}
    found = dict(commands(target, rendered(graph, target)))
    assert found.keys() == local.keys()
    for section, argv in found.items():
        expected = local[section]
        assert argv[0] == ("python" if target in IN_IMAGES else sys.executable)
        assert argv[1:3] == expected[1:3]
        mine, theirs = options(argv[3:]), options(expected[3:])
        assert {k: v for k, v in mine.items() if k not in free} == {
            k: v for k, v in theirs.items() if k not in free
        }
        assert {k: v for k, v in mine.items() if k in told} == {
            f"--{key}": str(value) for key, value in site.settings.items() if f"--{key}" in mine
        }


@pytest.mark.parametrize("target", target_names())
def test_the_user_counts_more_than_the_target(target: str) -> None:
    site = find_target(target).site()
    graph = graph_of(ROOT / "examples" / "mocker" / "agg.yaml")
    common = {key: Located(f"mine-{key}", Origin("file", "graph.yaml:2")) for key in site.settings}
    informed = site.informed(GraphConfig(graph.source, {**graph.common, **common}, graph.sections))
    assert {key: informed.common[key].value for key in site.settings} == {
        key: f"mine-{key}" for key in site.settings
    }
    assert all(site.informed(graph).common[key].origin == site.origin for key in site.settings)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(graph: GraphConfig, version: str) -> None:
    found = objects(rendered(graph, "kubernetes"))
    assert {"Deployment", "Service", "NetworkPolicy", "Role"} <= {one["kind"] for one in found}
    for one in found:
        if one["kind"] != "CustomResourceDefinition":
            kubernetes_validate.validate(one, version, strict=True)


def test_compose_knows_every_key(graph: GraphConfig) -> None:
    schema = yaml.safe_load((SCHEMAS / "compose-spec.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(rendered(graph, "compose")["compose.yaml"]), schema)


def test_systemd_takes_every_unit(graph: GraphConfig, tmp_path: Path) -> None:
    files = rendered(graph, "systemd")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["/usr/bin/systemd-analyze", "verify", "--recursive-errors=no", *(tmp_path / name for name in files)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_unit_asks_for_secrets_that_only_this_shell_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_ENDPOINTS", "http://me:hf_1234@etcd.example:2379")
    file = tmp_path / "graph.yaml"
    file.write_text("Worker: {component: dynamo_mocker.worker, model: m, discovery-backend: etcd}\n")
    text = rendered(read_graph(file), "systemd")["g-worker-0.service"]
    assert "mode 600: ETCD_ENDPOINTS\n" in text
    assert "EnvironmentFile=%E/g/worker-0.env\n" in text
    assert "hf_1234" not in text


@pytest.fixture
def with_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A graph of two workers of an engine that takes two GPUs each."""
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "Worker:\n  component: own\n  replicas: 2\n  tp: 2\n  container: {image: i}\n"


def test_gpus(with_gpus: str, tmp_path: Path) -> None:
    """Kubernetes is told how many; compose which, as two containers would otherwise have the same ones."""
    (tmp_path / "graph.yaml").write_text(with_gpus)
    graph = read_graph(tmp_path / "graph.yaml")
    (deployment,) = [one for one in objects(rendered(graph, "kubernetes")) if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 2
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    services = yaml.safe_load(rendered(graph, "compose")["compose.yaml"])["services"]
    devices = [s["deploy"]["resources"]["reservations"]["devices"][0] for s in services.values()]
    assert [device["device_ids"] for device in devices] == [["0", "1"], ["2", "3"]]
    for command in (container["args"], *(service["command"] for service in services.values())):
        assert "--gpus" not in command


class TestWhatCannotBeRendered:
    """Every reason at once, each with component, setting, source and fix; no file is written."""

    @staticmethod
    def refused(folder: Path, target: str, text: str, *overrides: str) -> str:
        file = folder / "graph.yaml"
        file.write_text(text)
        with pytest.raises(UserError) as caught:
            rendered(read_graph(file, overrides), target)
        return str(caught.value).replace(str(folder), "")

    @pytest.mark.parametrize("target", IN_IMAGES)
    def test_without_an_image(self, tmp_path: Path, target: str) -> None:
        said = self.refused(tmp_path, target, "Frontend: {component: dynamo_frontend}\n")
        assert said.startswith("Frontend: no image is given, and ")
        assert "fix: give container: {image: REGISTRY/NAME:TAG}" in said

    @pytest.mark.parametrize("target", IN_IMAGES)
    def test_a_secret_that_nobody_has(self, tmp_path: Path, target: str) -> None:
        text = "Worker: {component: dynamo_mocker.worker, model: m, env: {HF_TOKEN: hf_1234}}\n"
        said = self.refused(tmp_path, target, text, "--Worker.container.image=i")
        assert "Worker: HF_TOKEN would be in nobody's reach" in said
        assert "as container: {secrets: {HF_TOKEN: SECRET/KEY}}" in said
        assert "hf_1234" not in said

    @pytest.mark.parametrize("target", IN_IMAGES)
    def test_a_secret_that_only_this_shell_has(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
    ) -> None:
        monkeypatch.setenv("NATS_SERVER", "nats://me:hf_1234@nats.example")
        text = (
            "Common: {container: {image: i}}\nFrontend: {component: dynamo_frontend}\n"
            "Worker: {component: dynamo_mocker.worker, model: m}\n"
        )
        (tmp_path / "graph.yaml").write_text(text)
        assert rendered(read_graph(tmp_path / "graph.yaml"), target)  # which does not use NATS
        said = self.refused(tmp_path, target, text, "--Common.event-plane=nats")
        assert "Worker: NATS_SERVER would be in nobody's reach" in said
        assert "hf_1234" not in said
        kept = "--Common.container.secrets={NATS_SERVER: nats/url}"
        files = rendered(read_graph(tmp_path / "graph.yaml", ["--Common.event-plane=nats", kept]), target)
        assert "NATS_SERVER" in "".join(files.values())
        assert "hf_1234" not in "".join(files.values())

    @pytest.mark.parametrize("target", IN_IMAGES)
    def test_a_component_that_is_a_file_of_this_machine(self, tmp_path: Path, target: str) -> None:
        source = ROOT / "packages/dynamo-mocker/src/dynamo_mocker/worker.py"
        said = self.refused(
            tmp_path, target, f"Worker: {{component: {source}, model: m, container: {{image: i}}}}\n"
        )
        assert f"Worker: its component is the file {source}, which no image has" in said

    @pytest.mark.parametrize("target", ["systemd", "procfile", "slurm"])
    def test_a_model_that_is_not_on_this_machine(self, tmp_path: Path, target: str) -> None:
        said = self.refused(tmp_path, target, "Worker: {component: dynamo_mocker.worker, model: /no/model}\n")
        assert "Worker: --model: there is no folder /no/model (from /graph.yaml:1)" in said

    def test_gpus_that_the_cluster_chooses(self, with_gpus: str, tmp_path: Path) -> None:
        said = self.refused(tmp_path, "kubernetes", f"{with_gpus}  gpus: 0,1,2,3\n")
        assert "Worker: /graph.yaml:6: gpus is '0,1,2,3', but target kubernetes chooses the devices" in said
        assert "fix: leave gpus out and say how many" in said

    @pytest.mark.parametrize(
        ("written", "named"),
        [
            ("{imgae: i}", "/graph.yaml:4: unknown key container.imgae; did you mean image?"),
            ("{image: a b}", "/graph.yaml:4: container.image 'a b' is not what it takes"),
            (
                "{secrets: {TOKEN: hf_1234}}",
                "container.secrets is not what it takes\n  fix: give a variable's",
            ),
            ("{volumes: {models: claim:m}}", "container.volumes {'models': 'claim:m'} is not what it takes"),
            ("{volumes: {/models: models}}", "with claim:NAME, host:/PATH, memory or scratch"),
            ("{shared-memory: lots}", "container.shared-memory 'lots' is not what it takes"),
            ("image", "container must be a mapping, found 'image'"),
        ],
    )
    @pytest.mark.parametrize("where", ["Common", "Worker"])
    def test_a_container_that_is_none(self, tmp_path: Path, where: str, written: str, named: str) -> None:
        lines = {"Common": "\n", "Worker": "\n  component: dynamo_mocker.worker\n  model: m\n"}
        lines["Worker"] = "\n  component: dynamo_mocker.worker\n  model: m\n"
        texts = {name: f"{name}:{keys}" for name, keys in lines.items() if name in ("Worker", where)}
        if where == "Common":
            texts["Common"] = "Common:\n  model: m\n\n"
        texts[where] += f"  container: {written}\n"
        said = self.refused(tmp_path, "kubernetes", "".join(texts.values()))
        assert named in said
        assert "hf_1234" not in said

    def test_a_target_that_there_is_not(self) -> None:
        with pytest.raises(UserError, match="there is no target 'kubernets'\n  fix: did you mean kubernetes"):
            find_target("kubernets")


def test_the_target_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "targets.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (declared,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_targets.py").write_text(source)
    info = tmp_path / "my_targets-1.dist-info"
    info.mkdir()
    points = declared.replace('[project.entry-points."dynamo.targets"]', "[dynamo.targets]").replace('"', "")
    (info / "entry_points.txt").write_text(points)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-targets\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "shell" in target_names()
    files = rendered(graph_of(ROOT / "examples" / "mocker" / "agg.yaml"), "shell")
    assert files["graph.sh"].count(" -m dynamo_") == 2


def test_words_that_a_form_would_replace_stay_as_they_are(tmp_path: Path) -> None:
    word = "$(POD_NAME) %h $X"
    (tmp_path / "graph.yaml").write_text(
        "Worker: {component: dynamo_mocker.worker, model: m, container: {image: i},\n"
        f"  served-model-name: '{word}', env: {{SAY: '{word}'}}}}\n"
    )
    graph = read_graph(tmp_path / "graph.yaml")
    (one,) = (one for one in objects(rendered(graph, "kubernetes")) if one["kind"] == "Deployment")
    (container,) = one["spec"]["template"]["spec"]["containers"]
    assert word.replace("$(", "$$(") in container["args"]
    assert {"name": "SAY", "value": word.replace("$(", "$$(")} in container["env"]
    assert container["args"][-1] == "$(POD_IP)"
    (service,) = yaml.safe_load(rendered(graph, "compose")["compose.yaml"])["services"].values()
    assert word.replace("$", "$$") in service["command"]
    unit = rendered(graph, "systemd")["g-worker-0.service"]
    assert f'"{word.replace("%", "%%").replace("$", "$$")}"' in unit
    assert f'Environment="SAY={word.replace("%", "%%")}"' in unit


def test_only_the_port_for_clients_is_open() -> None:
    found = objects(rendered(graph_of(ROOT / "examples" / "mocker" / "agg.yaml"), "kubernetes"))
    policies = [one["spec"] for one in found if one["kind"] == "NetworkPolicy"]
    whole = {"app.kubernetes.io/part-of": "g"}
    assert [policy["podSelector"]["matchLabels"] for policy in policies] == [
        whole,
        {**whole, "app.kubernetes.io/name": "frontend"},
    ]
    assert [policy["ingress"] for policy in policies] == [
        [{"from": [{"podSelector": {"matchLabels": whole}}]}],
        [{"ports": [{"port": 8000}]}],
    ]


@pytest.mark.parametrize("target", IN_IMAGES)
def test_files_of_an_image_need_not_be_here(tmp_path: Path, target: str) -> None:
    (tmp_path / "graph.yaml").write_text(
        "Common: {container: {image: i, volumes: {/models: claim:store}}}\n"
        "Frontend: {component: dynamo_frontend, tls-cert-path: /tls/a.crt, tls-key-path: /tls/a.key}\n"
        "Worker: {component: dynamo_mocker.worker, model: /models/tiny}\n"
    )
    graph = read_graph(tmp_path / "graph.yaml")
    if target == "production-stack":
        with pytest.raises(UserError, match="Frontend: it speaks TLS, and production-stack's router would"):
            rendered(graph, target)
        return
    written = "".join(rendered(graph, target).values())
    assert "/models/tiny" in written
    assert "/tls/a.crt" in written
    assert ("scheme: HTTPS" if target != "compose" else "https://") in written


class TestCommand:
    GRAPH = str(ROOT / "examples" / "mocker" / "agg.yaml")
    IMAGE = "--Common.container.image=i"

    @staticmethod
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dynamo_core.cli.main", "render", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def test_files_are_written(self, tmp_path: Path) -> None:
        done = self.run("kubernetes", self.GRAPH, self.IMAGE, "--name", "mine", "-o", str(tmp_path / "out"))
        assert (done.returncode, done.stderr) == (0, "")
        written = sorted((tmp_path / "out").iterdir())
        assert [path.name for path in written] == ["crd.yaml", "mine.yaml"]
        assert sorted(done.stdout.split()) == [str(path) for path in written]
        assert (
            f"# Made by: dynamo render kubernetes {self.GRAPH} {self.IMAGE} --name" in written[1].read_text()
        )

    @pytest.mark.parametrize(
        "form", ["--Worker.env={{HF_TOKEN: '{}'}}", "--Common.nats-server=nats://u:{}@h:1"]
    )
    def test_a_secret_of_the_command_line_stands_in_no_file(self, form: str) -> None:
        secret = form.format("hf_12''34")
        done = self.run("systemd", self.GRAPH, secret, "--Common.request-plane=nats")
        assert "hf_12" not in done.stdout + done.stderr
        assert done.returncode == 0, done.stderr
        assert "(hidden)" in done.stdout

    def test_help_lists_every_target(self) -> None:
        done = self.run("--help")
        assert done.returncode == 0
        lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
        assert {f"{name} {find_target(name).summary}" for name in target_names()} <= set(lines)

    def test_what_a_target_tells_is_shown_with_its_source(self) -> None:
        done = self.run("kubernetes", self.GRAPH, "--show-config")
        assert done.returncode == 0
        assert len(re.findall(r"discovery-backend += kubernetes +target kubernetes", done.stdout)) == 2

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["kubernets", GRAPH], "there is no target 'kubernets'\n  fix: did you mean kubernetes?"),
            (["kubernetes", GRAPH, IMAGE, "--name", "A b"], "name 'A b' is none that hosts and Kubernetes"),
            (["kubernetes", GRAPH], "Frontend: no image is given, and Kubernetes runs every component"),
            (
                ["kubernetes", GRAPH, IMAGE, "-o", "/dev/null/x"],
                "cannot write to /dev/null/x: Not a directory",
            ),
        ],
    )
    def test_mistakes(self, words: list[str], said: str) -> None:
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
