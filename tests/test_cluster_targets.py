"""Graphs for the operators and charts of others: their schemas, their rules, and what they cannot be."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import kubernetes_validate
import pytest
import yaml
from rendering import (
    CONTAINERS,
    GRAPHS,
    IN_IMAGES,
    ONE_POD,
    SCHEMAS,
    graph_of,
    name_of,
    objects,
    plan_of,
    rendered,
)

from dynamo_core.deploy import Graph
from dynamo_core.deploy.graph import read_graph
from dynamo_core.errors import UserError
from dynamo_core.targets import Files, Rendering, find_target
from dynamo_core.testing.processes import PORTS, Running, Stack
from dynamo_frontend.frontend import Deployment as Frontend
from dynamo_mocker.worker import Deployment as MockerWorker

pytest_plugins = ["dynamo_core.testing.plugin"]

SCHEMA_OF = {
    "aibrix": "aibrix-stormservices.v1alpha1.json",
    "dynamo": "dynamo-dynamographdeployments.v1beta1.json",
    "dynamo-v1alpha1": "dynamo-dynamographdeployments.v1alpha1.json",
    "kserve": "kserve-llminferenceservices.v1alpha2.json",
    "llm-d": "llm-d-modelservice-values.schema.json",
    "production-stack": "production-stack-values.schema.json",
}
OPERATOR = {
    "DYN_NAMESPACE": "prod-g",
    "DYN_COMPONENT": "worker",
    "DYN_PARENT_DGD_K8S_NAME": "g",
    "DYN_PARENT_DGD_K8S_NAMESPACE": "prod",
}
"""What Dynamo's operator sets in every pod, and below what it sets in those of one kind; POD_… aside. Read
from its public source."""
OPERATOR_WORKER = OPERATOR | {
    "DYN_SYSTEM_ENABLED": "true",
    "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": '["generate"]',
    "DYN_SYSTEM_PORT": "9090",
    "DYN_HEALTH_CHECK_ENABLED": "false",
    "DYN_NAMESPACE_WORKER_SUFFIX": "1a2b3c4d",
    "NIXL_TELEMETRY_ENABLE": "n",
}
OPERATOR_FRONTEND = OPERATOR | {
    "DYN_COMPONENT": "frontend",
    "DYNAMO_PORT": "8000",
    "DYN_HTTP_PORT": "8000",
    "DYN_NAMESPACE_PREFIX": "prod-g",
    "DYN_NAMESPACE_PREFIX_STRICT": "true",
}
AGG = next(path for path in GRAPHS if name_of(path) == "mocker/agg")
DISAGG = next(path for path in GRAPHS if name_of(path) == "mocker/disagg")


@cache
def validator(target: str) -> jsonschema.Draft202012Validator:
    """Knows every field of the target's own kind, and refuses all others; see `tools/schemas.py`."""
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / SCHEMA_OF[target]).read_text()))


def own(target: str, files: Files) -> Any:
    """What is for the target itself, rather than for plain Kubernetes."""
    found = objects(files)
    if target == "aibrix":
        return next(one for one in found if one["kind"] == "StormService")
    return found[0]


def graph_in(folder: Path, text: str, *overrides: str) -> Any:
    (folder / "graph.yaml").write_text(text)
    return read_graph(folder / "graph.yaml", overrides)


def refused(target: str, graph: Any) -> str:
    with pytest.raises(UserError) as caught:
        rendered(graph, target)
    return str(caught.value)


@pytest.mark.parametrize("target", SCHEMA_OF)
@pytest.mark.parametrize("path", GRAPHS, ids=name_of)
def test_every_field_is_one_that_the_target_knows(path: Path, target: str) -> None:
    if target in ONE_POD and path.stem != "agg":
        refused(target, graph_of(path))
        return
    validator(target).validate(own(target, rendered(graph_of(path), target)))


@pytest.mark.parametrize("target", SCHEMA_OF)
def test_the_schemas_know_no_other_fields(target: str) -> None:
    found = own(target, rendered(graph_of(AGG), target))
    inner = found["spec"] if "spec" in found else found["routing" if target == "llm-d" else "routerSpec"]
    inner["replicaz"] = 1
    with pytest.raises(jsonschema.ValidationError, match="replicaz"):
        validator(target).validate(found)


@pytest.mark.parametrize("target", SCHEMA_OF)
def test_everything_that_a_container_can_be_told(target: str, tmp_path: Path) -> None:
    """Where each target keeps it; its schema knows every field."""
    text = """\
Common:
  model: /models/tiny
  container: {image: "r/i:1", image-pull-secrets: [registry], image-pull-policy: Always}
Frontend: {component: dynamo_frontend}
Worker:
  component: dynamo_mocker.worker
  replicas: 3
  resources: {cpu: 4, memory: 8Gi}
  env: {SAY: '{{ x }}'}
  container:
    secrets: {HF_TOKEN: hugging-face/token}
    volumes: {/models: claim:models, /tmp/cache: scratch}
    shared-memory: 16Gi
    node-selector: {gpu: h100}
    tolerations: [{key: nvidia.com/gpu, operator: Exists}]
    service-account: robot
    labels: {team: a}
    annotations: {why: test}
"""
    files = rendered(graph_in(tmp_path, text), target)
    validator(target).validate(own(target, files))
    written = "".join(files.values())
    for wanted in ("registry", "Always", "hugging-face", "models", "16Gi", "h100", "nvidia.com/gpu", "8Gi"):
        assert wanted in written, wanted
    for wanted in ("team: a", "why: test", "replicas: 3", ": robot"):
        assert wanted in written, wanted
    container = dict(CONTAINERS[target](files))["worker"]
    said = next(one for one in container["env"] if one["name"] == "SAY")["value"]
    assert said == ('{{ "{{" }} x }}' if target in ("llm-d", "production-stack") else "{{ x }}")
    paths = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/models", "/tmp/cache"} <= paths  # noqa: S108
    assert ("/dev/shm" in paths) is not target.startswith("dynamo")  # noqa: S108 - the operator mounts it


@pytest.mark.parametrize("target", ["aibrix", "production-stack"])
def test_what_is_plain_kubernetes_is_valid(target: str) -> None:
    files = rendered(graph_of(DISAGG), target)
    found = objects(files)
    if target == "production-stack":
        found = yaml.safe_load(files["values.yaml"])["extraObjects"]
    plain = [one for one in found if one["kind"] not in ("StormService", "CustomResourceDefinition")]
    assert {"Service", "NetworkPolicy", "Role"} <= {one["kind"] for one in plain}
    for one in plain:
        kubernetes_validate.validate(one, "1.34", strict=True)


@pytest.mark.parametrize("target", [target for target in SCHEMA_OF if target != "kserve"])
def test_a_frontend_elsewhere(target: str, tmp_path: Path) -> None:
    """Whoever sends requests to a frontend is told its port."""
    text = (
        "Frontend: {component: dynamo_frontend, http-port: 8123}\n"
        "Worker: {component: dynamo_mocker.worker, model: m}\nCommon: {container: {image: i}}\n"
    )
    graph = graph_in(tmp_path, text)
    if target.startswith("dynamo"):
        said = refused(target, graph)
        assert f"Frontend: http-port 8123 (from {tmp_path}/graph.yaml:1), and the operator looks" in said
        assert "fix: leave http-port out, or give 8000" in said
    else:
        assert "8123" in "".join(rendered(graph, target).values())


class TestOperator:
    """Dynamo's own: what it brings along, and what it refuses."""

    @pytest.mark.parametrize(
        ("target", "types"),
        [
            ("dynamo", [("frontend", None), ("prefill", None), ("decode", None)]),
            ("dynamo-v1alpha1", [("frontend", None), ("worker", "prefill"), ("worker", "decode")]),
        ],
    )
    def test_roles(self, target: str, types: list[tuple[str, str | None]]) -> None:
        spec = own(target, rendered(graph_of(DISAGG), target))["spec"]
        if target == "dynamo":
            found = [(one["type"], None) for one in spec["components"]]
        else:
            services = spec["services"].values()
            found = [(one["componentType"], one.get("subComponentType")) for one in services]
        assert found == types

    @pytest.mark.parametrize("target", ["dynamo", "dynamo-v1alpha1"])
    def test_no_account_of_ours_and_no_second_shared_memory(self, target: str) -> None:
        written = rendered(graph_of(DISAGG), target)["g.yaml"]
        assert "ccount" not in written
        assert "runtimeVersionOverride: 1.6.1" in written
        assert all(container["name"] == "main" for _, container in CONTAINERS[target]({"g.yaml": written}))

    def test_gpus_in_the_older_form(self, tmp_path: Path) -> None:
        text = (
            "Worker: {component: dynamo_mocker.worker, model: m, container: {image: i}, "
            "resources: {cpu: 2, memory: 4Gi}}\n"
        )
        service = own("dynamo-v1alpha1", rendered(graph_in(tmp_path, text), "dynamo-v1alpha1"))
        found = service["spec"]["services"]["worker"]
        assert found["resources"] == {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}
        assert "resources" not in found["extraPodSpec"]["mainContainer"]

    def test_more_components_than_it_takes(self, tmp_path: Path) -> None:
        sections = "".join(f"W{n}: {{component: dynamo_mocker.worker, model: m}}\n" for n in range(26))
        graph = graph_in(tmp_path, f"Common: {{container: {{image: i}}}}\n{sections}")
        assert "the graph has 26 components, and the operator takes 25" in refused("dynamo", graph)

    def test_names_that_are_too_long(self) -> None:
        target = find_target("dynamo")
        plan = plan_of(graph_of(AGG), "dynamo")
        with pytest.raises(UserError, match=r"Frontend: the names n{40} and frontend have more than 45"):
            target.render(Rendering(plan, "n" * 40, "dynamo render"))

    @pytest.mark.parametrize("target", ["dynamo", "dynamo-v1alpha1"])
    def test_with_etcd_it_is_told_so(self, target: str, tmp_path: Path) -> None:
        text = (
            "Common: {discovery-backend: etcd, etcd-endpoints: 'http://etcd:2379', "
            "container: {image: i, secrets: {ETCD_ENDPOINTS: etcd/url}}}\n"
            "Worker: {component: dynamo_mocker.worker, model: m}\n"
        )
        found = own(target, rendered(graph_in(tmp_path, text), target))
        assert found["metadata"]["annotations"] == {"nvidia.com/dynamo-discovery-backend": "etcd"}
        validator(target).validate(found)


class TestNamespaces:
    """The operator tells each component a namespace, in DYN_NAMESPACE; `docs/targets.md` says who wins."""

    WORKER = "Worker: {component: dynamo_mocker.worker, model: m, container: {image: i}"

    def environment(self, folder: Path, text: str) -> dict[str, tuple[list[str], list[str]]]:
        """By component: the values of DYN_NAMESPACE in its container, and those of its flag."""
        files = rendered(graph_in(folder, text), "dynamo")
        found = {}
        for name, container in CONTAINERS["dynamo"](files):
            words = container["args"]
            flags = [words[i + 1] for i, word in enumerate(words) if word == "--namespace"]
            found[name] = ([e["value"] for e in container["env"] if e["name"] == "DYN_NAMESPACE"], flags)
        return found

    def test_a_graph_that_names_none_takes_the_operators(self, tmp_path: Path) -> None:
        assert self.environment(tmp_path, f"{self.WORKER}}}\n") == {"worker": ([], [])}

    def test_a_namespace_that_is_written_stays(self, tmp_path: Path) -> None:
        text = f"{self.WORKER}, namespace: mine}}\n"
        assert self.environment(tmp_path, text) == {"worker": ([], ["mine"])}

    def test_components_keep_their_names(self) -> None:
        """The operator would call all workers `worker`, and so give them one address."""
        found = CONTAINERS["dynamo"](rendered(graph_of(DISAGG), "dynamo"))
        names = [e["value"] for _, one in found for e in one["env"] if e["name"] == "DYN_COMPONENT"]
        assert names == ["frontend", "mocker-prefill", "mocker-decode"]

    def test_one_that_a_class_declares_stays_as_well(self, tmp_path: Path) -> None:
        """The router's is `routed`, which nobody wrote; the operator's would hide it from its frontend."""
        text = (
            "Common: {container: {image: i}}\n"
            "Frontend: {component: dynamo_frontend, namespace: routed}\n"
            "Router: {component: dynamo_frontend.router, workers: workers.mocker.generate}\n"
            "Worker: {component: dynamo_mocker.worker, model: m, namespace: workers}\n"
        )
        assert self.environment(tmp_path, text) == {
            "frontend": ([], ["routed"]),
            "router": (["routed"], []),
            "worker": ([], ["workers"]),
        }


def started(stack: Stack, container: dict[str, Any], env: dict[str, str]) -> Running:
    """A container's command on this machine, with what only a pod has replaced: its folder, its address, the
    API server, and ports that are this pod's alone."""
    flag, module, *words = container["args"]
    assert (container["command"], flag) == (["python"], "-m")
    flags = dict(zip(words[::2], words[1::2], strict=True))
    replaced = {"--discovery-path", "--discovery-backend"}
    flags = {key: value for key, value in flags.items() if key not in replaced}
    flags |= dict.fromkeys((key for key in flags if key.endswith("-host")), "127.0.0.1")
    flags |= {"--http-port": str(stack.port)} if "frontend" in module else {"--status-port": str(next(PORTS))}
    own = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    return stack.start(module, *itertools.chain(*flags.items()), env=env | own)


@pytest.mark.parametrize("target", ["dynamo", "dynamo-v1alpha1", *ONE_POD])
def test_what_is_rendered_really_answers(target: str, tmp_path: Path, tiny_model: Path) -> None:
    """For the operator with the variables that it sets: the graph is found in its namespace, and the rest
    changes nothing."""
    folder = f"{{{tiny_model}: claim:m}}"
    text = (
        f"Common: {{container: {{image: i, volumes: {folder}}}}}\nFrontend: {{component: dynamo_frontend}}\n"
        f"Worker: {{component: dynamo_mocker.worker, model: {tiny_model}, served-model-name: tiny}}\n"
    )
    containers = dict(CONTAINERS[target](rendered(graph_in(tmp_path, text), target)))
    is_operators = target not in ONE_POD
    with Stack(tmp_path, tiny_model) as stack:
        worker = started(stack, containers["worker"], OPERATOR_WORKER if is_operators else {})
        started(stack, containers["frontend"], OPERATOR_FRONTEND if is_operators else {})
        space = "prod-g" if is_operators else "dynamo"
        worker.wait_for_line(rf"{space}\.mocker\.generate is ready")
        stack.wait_ready()
        answer = stack.client().completions.create(model="tiny", prompt=[10, 11, 12], max_tokens=4)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 4


class TestOnePod:
    """A frontend and a worker in each pod, and nothing else."""

    @pytest.mark.parametrize("target", ONE_POD)
    def test_its_components_meet_where_nobody_else_looks(self, target: str) -> None:
        found = dict(CONTAINERS[target](rendered(graph_of(AGG), target)))
        for container in found.values():
            args = container["args"]
            assert args[args.index("--discovery-path") + 1] == "/run/dynamo/discovery"
            assert "--rpc-host" not in args  # loopback is the pod's own
            assert "/run/dynamo" in {mount["mountPath"] for mount in container["volumeMounts"]}

    @pytest.mark.parametrize("target", ONE_POD)
    def test_replicas_are_pods_and_share_no_port(self, target: str, tmp_path: Path) -> None:
        text = (
            "Common: {container: {image: i}}\nFrontend: {component: dynamo_frontend}\n"
            "Worker: {component: dynamo_mocker.worker, model: m, replicas: 3, status-port: 9123}\n"
        )
        files = rendered(graph_in(tmp_path, text), target)
        assert "replicas: 3" in "".join(files.values())
        ports = [port["containerPort"] for _, one in CONTAINERS[target](files) for port in one["ports"]]
        assert ports == [8000, 9123]

    @pytest.mark.parametrize("target", ONE_POD)
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("Frontend: {component: dynamo_frontend, replicas: 2}", "Frontend: it has 2 replicas, and "),
            (
                "Frontend: {component: dynamo_frontend, router-mode: kv}",
                "Frontend: router-mode kv (from FILE:1) chooses among workers",
            ),
            (
                "Frontend: {component: dynamo_frontend, discovery-backend: kubernetes}",
                "Frontend: with discovery-backend kubernetes (from FILE:1) a frontend finds the workers of",
            ),
            ("", "the graph has 0 frontend sections, and a pod of "),
            (
                "Frontend: {component: dynamo_frontend}\nOther: {component: dynamo_mocker.worker, model: m}",
                "the graph has 2 worker sections, and a pod of ",
            ),
        ],
    )
    def test_what_it_cannot_be(self, target: str, text: str, said: str, tmp_path: Path) -> None:
        worker = (
            "Worker: {component: dynamo_mocker.worker, model: m, kv-events: true}\n"
            "Common: {container: {image: i}}\n"
        )
        graph = graph_in(tmp_path, f"{text}\n{worker}")
        if "kubernetes" in text:
            graph = graph_in(tmp_path, f"{text}\n{worker}", "--Worker.discovery-backend=kubernetes")
        assert said in refused(target, graph).replace(f"{tmp_path}/graph.yaml", "FILE")

    @pytest.mark.parametrize("target", ONE_POD)
    def test_halves(self, target: str) -> None:
        said = refused(target, graph_of(DISAGG))
        assert "Prefill: it is a prefill worker, and " in said
        assert "Decode: it is a decode worker, and " in said
        assert said.count("fix: render the target kubernetes or dynamo") == 2

    @pytest.mark.parametrize("target", ONE_POD)
    @pytest.mark.parametrize(
        ("model", "volumes", "uri"),
        [
            ("Qwen/Qwen3-0.6B", "{}", "hf://Qwen/Qwen3-0.6B"),
            ("/models/tiny", "{/models: claim:store}", "pvc://store/tiny"),
            ("/models", "{/models: claim:store}", "pvc://store/"),
            ("/models-a/tiny", "{/models: claim:store}", None),
        ],
    )
    def test_models(self, target: str, model: str, volumes: str, uri: str | None, tmp_path: Path) -> None:
        text = (
            "Frontend: {component: dynamo_frontend, container: {image: i}}\n"
            f"Worker: {{component: dynamo_mocker.worker, model: {model}, "
            f"container: {{image: i, volumes: {volumes}}}}}\n"
        )
        graph = graph_in(tmp_path, text)
        if uri is None:
            said = refused(target, graph)
            assert f"Worker: model {model} (from {tmp_path}/graph.yaml:2) is a folder that no volume" in said
        else:
            assert f"uri: {uri}\n" in "".join(rendered(graph, target).values())


@pytest.mark.parametrize("target", [target for target in IN_IMAGES if target != "compose"])
def test_a_meeting_place_that_other_pods_do_not_see(target: str, tmp_path: Path) -> None:
    text = (
        "Common: {discovery-backend: file, container: {image: i}}\nFrontend: {component: dynamo_frontend}\n"
        "Worker: {component: dynamo_mocker.worker, model: m}\n"
    )
    graph = graph_in(tmp_path, text)
    if target in ONE_POD:
        assert rendered(graph, target)
    else:
        said = refused(target, graph)
        assert f"Worker: discovery-backend file (from {tmp_path}/graph.yaml:1) is not seen by other" in said


def test_production_stack_needs_a_frontend(tmp_path: Path) -> None:
    graph = graph_in(tmp_path, "Worker: {component: dynamo_mocker.worker, model: m, container: {image: i}}\n")
    assert "the graph has no frontend" in refused("production-stack", graph)


def test_the_router_of_production_stack_is_told_where_the_frontend_is() -> None:
    values = own("production-stack", rendered(graph_of(AGG), "production-stack"))
    router = values["routerSpec"]
    assert router["staticBackends"] == "http://g-frontend:8000"
    assert router["staticModels"] == "Qwen/Qwen3-0.6B"
    services = [one["metadata"]["name"] for one in values["extraObjects"] if one["kind"] == "Service"]
    assert "g-frontend" in services


class TestAutoscaling:
    GRAPH = (
        "Common: {{container: {{image: i}}}}\nFrontend: {{component: dynamo_frontend}}\n"
        "Worker: {{component: dynamo_mocker.worker, model: m, container: {{autoscale: {}}}}}\n"
    )

    def scaler(self, folder: Path, target: str, wanted: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        found = objects(rendered(graph_in(folder, self.GRAPH.format(wanted)), target))
        kinds = ("HorizontalPodAutoscaler", "ScaledObject")
        (scaler,) = (one for one in found if one["kind"] in kinds)
        return scaler, found

    def test_by_the_clusters_own(self, tmp_path: Path) -> None:
        scaler, found = self.scaler(tmp_path, "kubernetes", "{max: 8, average: 2.5}")
        for version in ("1.31", "1.34"):
            kubernetes_validate.validate(scaler, version, strict=True)
        spec = scaler["spec"]
        assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 8)
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "g-worker"}
        (metric,) = spec["metrics"]
        assert metric["pods"] == {
            "metric": {"name": "dynamo_core_requests_waiting"},
            "target": {"type": "AverageValue", "averageValue": "2500m"},
        }
        counts = {
            one["metadata"]["name"]: one["spec"].get("replicas")
            for one in found
            if one["kind"] == "Deployment"
        }
        assert counts == {"g-frontend": 1, "g-worker": None}
        assert "PodDisruptionBudget" in {one["kind"] for one in found}

    def test_by_keda(self, tmp_path: Path) -> None:
        scaler, _ = self.scaler(tmp_path, "kubernetes", "{min: 0, max: 4, prometheus: 'http://p:9090'}")
        assert scaler["apiVersion"] == "keda.sh/v1alpha1"
        assert (scaler["spec"]["minReplicaCount"], scaler["spec"]["maxReplicaCount"]) == (0, 4)
        (trigger,) = scaler["spec"]["triggers"]
        assert trigger["type"] == "prometheus"
        assert trigger["metadata"] == {
            "serverAddress": "http://p:9090",
            "query": 'sum(dynamo_core_requests_waiting{pod=~"g-worker-.*"})',
            "threshold": "4",
        }

    @pytest.mark.parametrize("target", ["dynamo", "dynamo-v1alpha1"])
    def test_through_the_operator(self, tmp_path: Path, target: str) -> None:
        scaler, (graph, *_) = self.scaler(tmp_path, target, "{max: 8}")
        assert scaler["spec"]["scaleTargetRef"]["kind"] == "DynamoGraphDeploymentScalingAdapter"
        assert scaler["spec"]["scaleTargetRef"]["name"] == "g-worker"
        validator(target).validate(graph)
        assert (
            "scalingAdapter:" in rendered(graph_in(tmp_path, self.GRAPH.format("{max: 8}")), target)["g.yaml"]
        )

    @pytest.mark.parametrize("target", ["aibrix", *ONE_POD])
    def test_where_it_is_not_written(self, tmp_path: Path, target: str) -> None:
        assert "Worker: container.autoscale is not written for" in refused(
            target, graph_in(tmp_path, self.GRAPH.format("{max: 8}"))
        )

    @pytest.mark.parametrize(
        "wanted",
        ["{}", "{max: 0}", "{max: 2, min: 3}", "{max: 2, min: 0}", "{max: 2, mni: 1}", "3", "{max: many}"],
    )
    def test_what_is_none(self, tmp_path: Path, wanted: str) -> None:
        said = refused("kubernetes", graph_in(tmp_path, self.GRAPH.format(wanted)))
        assert f"Worker: {tmp_path}/graph.yaml:3: container.autoscale " in said
        assert "fix: give {max: N, min: N, metric: NAME, average: NUMBER, prometheus: URL}" in said


def test_a_prometheus_elsewhere_may_read_the_status_ports(tmp_path: Path) -> None:
    container = "container: {image: i, scraped-from: monitoring}"
    text = f"Worker: {{component: dynamo_mocker.worker, model: m, {container}}}\n"
    found = objects(rendered(graph_in(tmp_path, text), "kubernetes"))
    policies = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "NetworkPolicy"}
    (rule,) = policies["g-worker-metrics"]["ingress"]
    assert rule["ports"] == [{"port": 9090}]
    (there,) = rule["from"]
    assert there == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


class TestPython:
    """`to_kubernetes`: the same objects from Python."""

    def test_a_graph(self) -> None:
        class Worker(MockerWorker):
            container: ClassVar = {"image": "i"}
            replicas = 2

        class Front(Frontend):
            container: ClassVar = {"image": "i"}

        found = Graph(Frontend=Front, Worker=Worker, common={"model": "m"}).to_kubernetes("g")
        counts = {
            one["metadata"]["name"]: one["spec"]["replicas"] for one in found if one["kind"] == "Deployment"
        }
        assert counts == {"g-frontend": 1, "g-worker": 2}

    def test_one_component(self) -> None:
        class Alone(MockerWorker):
            container: ClassVar = {"image": "i"}

        names = [one["metadata"]["name"] for one in Alone.to_kubernetes("g", model="m")]
        assert "g-alone" in names
