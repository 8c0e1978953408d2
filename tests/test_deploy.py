"""`dynamo deploy` against a double of an API server that enforces the schemas over real HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import ApiServer, api_server

from dynamo_core.testing.terminal import Terminal

ROOT = Path(__file__).resolve().parents[1]
GRAPH = """\
Common: {container: {image: "registry.example/mocker:1"}}
Frontend: {component: dynamo_frontend}
Worker: {component: dynamo_mocker.worker, model: m, replicas: 2}
"""


class Deploying:
    """A graph, a cluster, and the command between them."""

    def __init__(self, folder: Path, api: ApiServer, kubeconfig: Path) -> None:
        self.file = folder / "g.yaml"
        self.file.write_text(GRAPH)
        self.api = api
        self.kubeconfig = kubeconfig

    def run(self, *words: str, given: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dynamo_core.cli.main", "deploy", str(self.file)]
        flags = () if "--kubeconfig" in words else ("--kubeconfig", str(self.kubeconfig))
        return subprocess.run(
            [*command, *flags, *words],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def ready(self) -> None:
        """From now on whatever is applied is ready when it is looked at for the second time."""
        self.api.status = lambda live, looks: status_of(live, ready=looks > 1)


def status_of(live: dict[str, Any], *, ready: bool) -> dict[str, Any]:
    spec = live.get("spec", {})
    if live["kind"] == "Deployment":
        count = spec["replicas"]
        return {"replicas": count, "updatedReplicas": count, "readyReplicas": count if ready else 0}
    if live["kind"] == "DynamoGraphDeployment":
        parts = {
            one["name"]: {"replicas": one["replicas"], "readyReplicas": one["replicas"] if ready else 0}
            for one in spec["components"]
        }
        return {"state": "successful" if ready else "pending", "components": parts}
    return {}


@pytest.fixture
def deploying(tmp_path: Path) -> Iterator[Deploying]:
    with api_server(tmp_path) as (api, kubeconfig):
        yield Deploying(tmp_path, api, kubeconfig)


def test_a_graph_is_shown_applied_and_waited_for(deploying: Deploying) -> None:
    deploying.ready()
    done = deploying.run("--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("double, namespace prod, graph g\n")
    for line in (
        "+ CustomResourceDefinition dynamoworkermetadatas.nvidia.com",
        "+ Deployment g-worker",
        "+ Service g-frontend",
        "+ RoleBinding g-discovery",
        "g-worker: 0 of 2 ready",
        "g-worker: 2 of 2 ready",
    ):
        assert f"{line}\n" in done.stdout
    assert {"deployments/g-frontend", "deployments/g-worker", "services/g-worker"} <= deploying.api.names()
    rendered = subprocess.run(
        [sys.executable, "-m", "dynamo_core.cli.main", "render", "kubernetes", str(deploying.file)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    wanted = next(
        one
        for one in yaml.safe_load_all(rendered.replace("# ----", "---\n#"))
        if one and one["kind"] == "Deployment" and one["metadata"]["name"] == "g-worker"
    )
    assert deploying.api.applied["prod", "deployments", "g-worker"]["dynamo"] == wanted


def test_a_second_time_only_the_difference(deploying: Deploying) -> None:
    deploying.ready()
    assert deploying.run("--yes").returncode == 0
    again = deploying.run("--dry-run")
    assert again.stdout.splitlines()[1:] == ["nothing changes"]
    changed = deploying.run("--dry-run", "--Worker.replicas=3")
    assert changed.stdout.splitlines()[1:] == [
        "~ Deployment g-worker",
        "    -  replicas: 2",
        "    +  replicas: 3",
    ]
    assert deploying.api.live(("prod", "deployments", "g-worker"))["spec"]["replicas"] == 2


def test_what_a_graph_no_longer_has_is_deleted(deploying: Deploying) -> None:
    deploying.ready()
    assert deploying.run("--yes").returncode == 0
    deploying.api.own(("prod", "services", "others"), "kubectl", other_service("others"))
    deploying.file.write_text(GRAPH.replace("replicas: 2", "replicas: 1"))
    done = deploying.run("--yes")
    assert "- PodDisruptionBudget g-worker\n" in done.stdout
    assert "poddisruptionbudgets/g-worker" not in deploying.api.names()
    assert {"deployments/g-worker", "services/others"} <= deploying.api.names()


def test_everything_is_deleted_and_nothing_else(deploying: Deploying) -> None:
    deploying.ready()
    assert deploying.run("--yes").returncode == 0
    deploying.api.own(("prod", "services", "others"), "kubectl", other_service("others"))
    deploying.api.lingering = 3
    done = deploying.run("--delete", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "- Deployment g-frontend\n" in done.stdout
    assert done.stdout.endswith("gone\n")
    left = {"services/others", "customresourcedefinitions/dynamoworkermetadatas.nvidia.com"}
    assert deploying.api.names() == left
    assert deploying.run("--delete").stdout.splitlines()[1:] == ["nothing changes"]


def other_service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "g"}},
        "spec": {"ports": [{"port": 1}]},
    }


def test_dynamos_operator(deploying: Deploying) -> None:
    deploying.ready()
    done = deploying.run("--yes", "--target", "dynamo")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()[1:]
    assert lines == [
        "+ DynamoGraphDeployment g",
        "frontend: 0 of 1 ready",
        "worker: 0 of 2 ready",
        "g (pending): 0 of 1 ready",
        "frontend: 1 of 1 ready",
        "worker: 2 of 2 ready",
        "g (successful): 1 of 1 ready",
    ]
    assert deploying.api.names() == {"dynamographdeployments/g"}


def test_a_conflict_names_field_and_owner(deploying: Deploying) -> None:
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "g-worker"},
        "spec": {"replicas": 7},
    }
    deploying.api.own(("prod", "deployments", "g-worker"), "autoscaler", theirs)
    done = deploying.run("--yes", "--no-wait")
    assert done.returncode == 2
    assert "Deployment g-worker: others have set what the graph says differently" in done.stderr
    assert '.spec.replicas (conflict with "autoscaler")' in done.stderr
    assert "--force-conflicts" in done.stderr
    assert deploying.api.names() == {"deployments/g-worker"}  # nothing was applied
    assert deploying.run("--yes", "--no-wait", "--force-conflicts").returncode == 0
    assert deploying.api.live(("prod", "deployments", "g-worker"))["spec"]["replicas"] == 2


def test_pods_that_refuse_their_settings_are_not_waited_for(deploying: Deploying) -> None:
    deploying.api.status = lambda live, looks: status_of(live, ready=False)
    ended = {"terminated": {"exitCode": 2, "reason": "Error"}}
    deploying.api.pods = [
        pod("g-worker-1", lastState=ended, state={"waiting": {"reason": "CrashLoopBackOff"}})
    ]
    done = deploying.run("--yes")
    assert done.returncode == 1
    assert (
        "g-worker-1: it refuses its settings (exit code 2); see kubectl logs --previous g-worker-1"
        in done.stdout
    )
    assert "not ready: g-frontend, g-worker; it stays as it is, dynamo deploy --delete" in done.stdout


def test_pods_that_are_replaced_are_no_news(deploying: Deploying) -> None:
    """The way out of wrong settings is to deploy right ones; the old pods are there until then."""
    deploying.ready()
    ended = {"terminated": {"exitCode": 2, "reason": "Error"}}
    deploying.api.old_pods = [pod("g-worker-0", lastState=ended)]
    done = deploying.run("--yes")
    assert done.returncode == 0
    assert "g-worker-0" not in done.stdout


def test_kinds_are_somebody_elses_work_where_nobody_may_look(deploying: Deploying) -> None:
    deploying.ready()
    deploying.api.forbidden = {"customresourcedefinitions"}
    done = deploying.run("--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "CustomResourceDefinition" not in done.stdout


def test_what_keeps_pods_from_starting_is_told(deploying: Deploying) -> None:
    deploying.api.status = lambda live, looks: status_of(live, ready=False)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    unscheduled = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/3 nodes: insufficient nvidia.com/gpu",
    }
    deploying.api.pods = [
        pod("g-frontend-1", state=waiting),
        pod("g-worker-1", conditions=[unscheduled]),
        pod("g-worker-2", lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, restartCount=4),
    ]
    done = deploying.run("--yes", "--timeout", "0.1")
    assert done.returncode == 1
    assert "  g-frontend-1: ImagePullBackOff: Back-off pulling image\n" in done.stdout
    assert "  g-worker-1: not scheduled: 0/3 nodes: insufficient nvidia.com/gpu\n" in done.stdout
    assert "  g-worker-2: ended with 137 (OOMKilled), started 4 times again\n" in done.stdout


def pod(name: str, conditions: Any = (), **container: Any) -> dict[str, Any]:
    statuses = [{"image": "i", **container}] if container else []
    return {
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "g"}},
        "status": {"conditions": list(conditions), "containerStatuses": statuses},
    }


class TestAsking:
    def test_nobody_there(self, deploying: Deploying) -> None:
        done = deploying.run()
        assert done.returncode == 2
        assert "nobody is there to say yes\n  fix: give --yes, or --dry-run" in done.stderr
        assert deploying.api.names() == set()

    @pytest.mark.parametrize(("answer", "is_applied"), [("y", True), ("n", False), ("", False)])
    def test_somebody_there(self, deploying: Deploying, answer: str, is_applied: bool) -> None:
        argv = [sys.executable, "-m", "dynamo_core.cli.main", "deploy", deploying.file]
        with Terminal([*argv, "--kubeconfig", deploying.kubeconfig, "--no-wait"]) as terminal:
            terminal.wait_for(r"\+ Deployment g-worker", 30)
            terminal.wait_for(r"apply this\? \[y/N\] ")
            terminal.send(f"{answer}\n")
            assert terminal.wait() == (0 if is_applied else 1)
        assert bool(deploying.api.names()) is is_applied


class TestWhatIsWrong:
    """One message each, exit code 2, and nothing applied."""

    def refused(self, deploying: Deploying, *words: str, **env: str) -> str:
        done = deploying.run("--yes", *words, **env)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert deploying.api.names() == set()
        return done.stderr

    def test_an_object_that_the_server_refuses(self, deploying: Deploying) -> None:
        said = self.refused(deploying, "--Worker.container.tolerations=[{keyy: a}]")
        assert "Deployment g-worker: the API server says 422 to /apis/apps/v1/namespaces/prod/" in said
        assert "keyy" in said

    def test_an_operator_that_is_not_there(self, deploying: Deploying) -> None:
        deploying.api.unknown = {"nvidia.com"}
        said = self.refused(deploying, "--target", "dynamo")
        assert (
            "the cluster does not know /apis/nvidia.com/v1beta1/namespaces/prod/dynamographdeployments"
            in said
        )

    def test_a_token_that_is_not_taken(self, deploying: Deploying) -> None:
        text = deploying.kubeconfig.read_text().replace("let-me-in", "wrong")
        deploying.kubeconfig.write_text(text)
        said = self.refused(deploying)
        assert "the API server says 401" in said
        assert "fix: log in again" in said
        assert "wrong" not in said

    def test_a_server_that_is_not_there(self, deploying: Deploying, tmp_path: Path) -> None:
        config = yaml.safe_load(deploying.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
        deploying.kubeconfig.write_text(yaml.safe_dump(config))
        said = self.refused(deploying)
        assert "no answer from the API server of double: " in said
        assert "Connection refused" in said

    def test_a_kubeconfig_that_is_none(self, deploying: Deploying) -> None:
        deploying.kubeconfig.write_text("a: [")
        assert "no cluster is configured: " in self.refused(deploying)

    def test_a_right_that_is_missing(self, deploying: Deploying) -> None:
        deploying.api.forbidden = {"deployments"}
        said = self.refused(deploying)
        assert "the API server says 403 to /apis/apps/v1/namespaces/prod/deployments" in said
        assert "fix: ask for the right" in said

    def test_no_cluster(self, deploying: Deploying, tmp_path: Path) -> None:
        said = self.refused(deploying, "--kubeconfig", str(tmp_path / "none"))
        assert "no cluster is configured: " in said

    def test_a_context_that_there_is_not(self, deploying: Deploying) -> None:
        assert "no cluster is configured: " in self.refused(deploying, "--context", "nowhere")

    @pytest.mark.parametrize("target", ["compose", "llm-d", "slurm"])
    def test_a_target_that_is_applied_otherwise(self, deploying: Deploying, target: str) -> None:
        said = self.refused(deploying, "--target", target)
        assert f"target {target} makes no objects for a cluster: " in said
        assert f"fix: dynamo render {target} writes the files" in said

    def test_a_graph_that_cannot_be_rendered(self, deploying: Deploying) -> None:
        deploying.file.write_text("Worker: {component: dynamo_mocker.worker, model: m}\n")
        assert "Worker: no image is given" in self.refused(deploying)
