"""Components that do not fit together are told of before anything is started, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_deploy_plan import plan_of, problems

SCRIPTED = "dynamo_core.testing.scripted"
FRONTEND = "Frontend: {component: dynamo_frontend}\n"
COMPONENT = """\
from dynamo_core.args import (
    ComponentSettings, DecodeSettings, DynamoFlexibleArgumentParser, Engine, KvEventSettings, ModelSettings,
    RoutedSettings, RuntimeSettings
)
from dynamo_core.deploy import BaseDeployment
import argparse


class WorkerSettings({groups}ModelSettings, ComponentSettings, RuntimeSettings):
    "A worker"


class Deployment(BaseDeployment):
    name = "{name}"
    role = "{role}"
    {default}


def build_parser():
    engine = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    engine.add_argument("--block-size", type=int)
    return engine


def parser():
    engine = Engine("Engine", build_parser, block_size="block-size")
    return DynamoFlexibleArgumentParser(WorkerSettings, Deployment, engine=engine)


def main():
    parser().parse()
"""


def component(folder: Path, name: str, role: str = "worker", *, groups: str = "", default: str = "") -> str:
    """A throwaway component with more groups of settings; returns what its section says of it."""
    source = COMPONENT.replace("{name}", name).replace("{role}", role)
    source = source.replace("{groups}", groups).replace("{default}", default)
    (folder / f"{name}.py").write_text(source)
    return f"component: {name}.py"


def test_components_that_would_never_meet(tmp_path: Path) -> None:
    """P06: found before anything starts."""
    text = (
        "Frontend: {component: dynamo_frontend, discovery-path: /a}\n"
        f"Worker: {{component: {SCRIPTED}, model: m, discovery-path: /b, request-plane: nats}}\n"
    )
    file = tmp_path / "graph.yaml"
    assert problems(tmp_path, text).splitlines() == [
        f"Frontend and Worker would never meet: discovery-path is /a (from {file}:1) for Frontend, "
        f"/b (from {file}:2) for Worker",
        "  fix: give discovery-path once, under Common",
        "Frontend and Worker would never meet: request-plane is tcp (from default) for Frontend, "
        f"nats (from {file}:2) for Worker",
        "  fix: give request-plane once, under Common",
    ]


def test_what_nobody_uses_need_not_agree(tmp_path: Path) -> None:
    text = (
        "Common: {discovery-backend: etcd}\n"
        "Frontend: {component: dynamo_frontend, discovery-path: /a}\n"
        f"Worker: {{component: {SCRIPTED}, model: m, discovery-path: /b, nats-server: nats://else:1}}\n"
    )
    assert len(plan_of(tmp_path, text).processes) == 2


def test_etcd_passwords_are_not_shown(tmp_path: Path) -> None:
    text = (
        "Common: {discovery-backend: etcd}\n"
        "Frontend: {component: dynamo_frontend, etcd-endpoints: 'http://me:hunter2@a:1'}\n"
        f"Worker: {{component: {SCRIPTED}, model: m, etcd-endpoints: 'http://me:hunter3@a:1'}}\n"
    )
    found = problems(tmp_path, text)
    assert "etcd-endpoints is (hidden)" in found
    assert "hunter" not in found


def test_a_frontend_whose_workers_are_elsewhere(tmp_path: Path) -> None:
    text = (
        "Frontend: {component: dynamo_frontend, namespace: here}\n"
        f"Worker: {{component: {SCRIPTED}, model: m, namespace: there}}\n"
    )
    file = tmp_path / "graph.yaml"
    assert problems(tmp_path, text) == (
        f"Frontend serves the models of namespace here (from {file}:1), but no worker of this graph "
        f"is there: Worker in there (from {file}:2)\n  fix: give namespace once, under Common"
    )
    assert plan_of(tmp_path, text, "--Frontend.namespace=dynamo")  # sees the models of all


@pytest.mark.parametrize(("role", "other"), [("decode", "prefill"), ("prefill", "decode")])
def test_half_a_pair(tmp_path: Path, role: str, other: str) -> None:
    """P10 (ai-dynamo #12821, #10027)."""
    half = f"Half: {{{component(tmp_path, 'half', role)}, model: m}}\n"
    assert problems(tmp_path, FRONTEND + half) == (
        f"Half is the {role} half of a pair and has no {other} for m\n"
        f"  fix: add a section with the {other} component of the same engine and model"
    )
    whole = half + f"Other: {{{component(tmp_path, 'other', other)}, model: m}}\n"
    assert len(plan_of(tmp_path, FRONTEND + whole).processes) == 3
    different = half + f"Other: {{{component(tmp_path, 'other', other)}, model: n}}\n"
    assert len(problems(tmp_path, FRONTEND + different).splitlines()) == 4


def test_one_name_for_two_models(tmp_path: Path) -> None:
    text = "".join(
        f"{name}: {{{component(tmp_path, name.lower())}, model: {model}, served-model-name: same}}\n"
        for name, model in (("One", "a"), ("Two", "b"))
    )
    file = tmp_path / "graph.yaml"
    assert problems(tmp_path, text) == (
        f"One and Two both serve same, from different models: a (from {file}:1) and b (from {file}:2)\n"
        "  fix: give one of them another served-model-name"
    )


def test_one_model_with_two_block_sizes(tmp_path: Path) -> None:
    text = "".join(
        f"{name}: {{{component(tmp_path, name.lower())}, model: m, block-size: {size}}}\n"
        for name, size in (("One", 16), ("Two", 32))
    )
    assert problems(tmp_path, text) == (
        "One and Two both serve m, with KV blocks of 16 and 32 tokens; a router counts in one size\n"
        "  fix: give both the same block size"
    )
    assert plan_of(tmp_path, text, "--Two.block-size=16")


def test_two_models_under_one_address(tmp_path: Path) -> None:
    """The runtime sends a request for a model to any instance of its endpoint."""
    text = f"Small: {{component: {SCRIPTED}, model: small}}\nLarge: {{component: {SCRIPTED}, model: large}}\n"
    assert problems(tmp_path, text) == (
        "Small and Large serve different models, small and large, under one address, "
        "dynamo.scripted.generate; requests for one would reach the other\n"
        "  fix: give one of them another name, as in Large: {name: large}"
    )
    small, large = plan_of(tmp_path, text, "--Large.name=large").processes
    assert "--component" not in small.argv
    assert large.argv[large.argv.index("--component") + 1] == "large"


def test_kv_routing_needs_workers_that_tell(tmp_path: Path) -> None:
    """P07 (ai-dynamo #11473, #12095): found before anything starts."""
    frontend = "Frontend: {component: dynamo_frontend, router-mode: kv}\n"
    workers = f"Silent: {{{component(tmp_path, 'silent')}, model: m}}\n"
    workers += (
        f"Loud: {{{component(tmp_path, 'loud', groups='RoutedSettings, ')}, model: m, kv-events: true}}\n"
    )
    assert problems(tmp_path, frontend + workers) == (
        "Frontend routes by what is in the workers' KV caches (router-mode kv, from "
        f"{tmp_path}/graph.yaml:1), but Silent publishes no KV events\n"
        "  fix: give router-mode: kv once, under Common; or choose another router-mode, or workers that "
        "publish KV events"
    )
    assert plan_of(tmp_path, FRONTEND + workers)


def test_kv_routing_by_guesses_needs_nobody_to_tell(tmp_path: Path) -> None:
    worker = f"Worker: {{{component(tmp_path, 'silent')}, model: m}}\n"
    assert plan_of(
        tmp_path,
        f"Frontend: {{component: dynamo_frontend, router-mode: kv, router-kv-events: false}}\n{worker}",
    )


def test_conditional_disaggregation_needs_decode_workers_that_tell(tmp_path: Path) -> None:
    loud = component(tmp_path, "loud", "prefill", groups="RoutedSettings, ")
    text = (
        "Common: {router-mode: kv, model: m}\nFrontend: {component: dynamo_frontend, conditional-disagg: 9}\n"
    )
    text += f"Prefill: {{{loud}}}\n"
    decode = f"Decode: {{{component(tmp_path, 'quiet', 'decode')}}}\n"
    told = problems(tmp_path, text + decode)
    assert "but Decode publishes no KV events" in told
    assert "give router-mode: kv once, under Common, and kv-events: true to Decode; or" in told
    groups = "KvEventSettings, "
    decode = f"Decode: {{{component(tmp_path, 'quiet', 'decode', groups=groups)}, kv-events: true}}\n"
    assert plan_of(tmp_path, text + decode)


def test_a_frontend_that_would_pass_its_router_by(tmp_path: Path) -> None:
    text = "Router: {component: dynamo_frontend.router, workers: workers.scripted.generate}\n"
    text += f"Worker: {{component: {SCRIPTED}, model: m, namespace: workers}}\n"
    assert problems(tmp_path, FRONTEND + text) == (
        "Frontend would pass Router by: in namespace dynamo (from class Deployment) it serves the models of "
        "all, and so finds the workers of Router itself\n"
        "  fix: give Frontend the namespace of Router, routed"
    )
    assert plan_of(tmp_path, "Frontend: {component: dynamo_frontend, namespace: routed}\n" + text)


def test_one_setting_makes_workers_tell_and_the_frontend_listen(tmp_path: Path) -> None:
    """P07 (ai-dynamo #11473)."""
    worker = component(tmp_path, "loud", groups="RoutedSettings, ")
    plan = plan_of(tmp_path, f"Common: {{router-mode: kv}}\n{FRONTEND}Worker: {{{worker}, model: m}}\n")
    modes = [process.argv[process.argv.index("--router-mode") + 1] for process in plan.processes]
    assert modes == ["kv", "kv"]


def test_a_decode_worker_that_waits_for_another_name(tmp_path: Path) -> None:
    """P10 (ai-dynamo #10027)."""
    prefill = f"Prefill: {{{component(tmp_path, 'first', 'prefill')}, model: m}}\n"
    half = component(
        tmp_path, "second", "decode", groups="DecodeSettings, ", default='prefill_component = "one"'
    )
    assert problems(tmp_path, f"{prefill}Decode: {{{half}, model: m}}\n") == (
        "Decode would wait for ever for prefill-component one (from class Deployment), but Prefill is first "
        "(from class Deployment)\n"
        "  fix: give Decode the name of its prefill component as prefill-component"
    )
    assert plan_of(tmp_path, f"{prefill}Decode: {{{half}, model: m, prefill-component: first}}\n")


def test_one_port_for_two(tmp_path: Path) -> None:
    text = "One: {component: dynamo_frontend, http-port: 9000}\nTwo: {component: dynamo_frontend}\n"
    file = tmp_path / "graph.yaml"
    assert problems(tmp_path, text, "--Two.http-port=9000") == (
        f"Two.http-port (from --Two.http-port) and One.http-port (from {file}:1) are the same port, 9000"
    )
    assert plan_of(tmp_path, text, "--Two.http-port=9001")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    text = f"Worker:\n  component: {SCRIPTED}\n  model: /no/such/folder\n"
    assert problems(tmp_path, text) == (
        f"Worker: --model: there is no folder /no/such/folder (from {tmp_path}/graph.yaml:3)\n"
        "  fix: check the path"
    )


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    text = (
        "Frontend: {component: dynamo_frontend, http-prt: 1, router-mode: kv}\n"
        f"Worker: {{component: {SCRIPTED}, model: /no/such/folder, replicas: many, restart: maybe}}\n"
    )
    assert "restart must be one of never, on-failure, always, found 'maybe'" in problems(tmp_path, text)
    found = problems(tmp_path, text.replace(", restart: maybe", ""))
    for part in ("unknown key 'http-prt'", "there is no folder", "replicas must be a whole number"):
        assert part in found


@pytest.mark.parametrize("value", ["0", "soon", "-1", ".inf"])
def test_a_deadline_is_a_time(tmp_path: Path, value: str) -> None:
    found = problems(tmp_path, f"Frontend: {{component: dynamo_frontend, start-timeout: {value}}}\n")
    assert "start-timeout must be a number of seconds above 0, found " in found
