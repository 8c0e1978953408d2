"""From a graph to processes: exactly what is started."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dynamo_core.args.parser import Values
from dynamo_core.deploy.asking import run
from dynamo_core.deploy.describe import Description, describe, describe_here
from dynamo_core.deploy.graph import read_graph
from dynamo_core.deploy.plan import make_plan
from dynamo_core.deploy.process import Plan, Process
from dynamo_core.errors import UserError
from dynamo_core.serve.preflight import check_ports

PYTHON = sys.executable
SCRIPTED = "dynamo_core.testing.scripted"
ENGINE_COMPONENT = """\
import argparse

from dynamo_core.args import ComponentSettings, DynamoFlexibleArgumentParser, Engine, RuntimeSettings
from dynamo_core.deploy import BaseDeployment


class EngineSettings(ComponentSettings, RuntimeSettings):
    "An engine's worker"


class Deployment(BaseDeployment):
    name = "engine"
    replicas = 2


def build_parser():
    engine = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    engine.add_argument("--max-model-len", type=int)
    engine.add_argument("--sizes", type=int, nargs="+")
    engine.add_argument("--eager", action="store_true")
    engine.add_argument("--late", type=int)
    engine.add_argument("--hf-token")
    return engine


def parser():
    return DynamoFlexibleArgumentParser(EngineSettings, Deployment, engine=Engine("Engine", build_parser))
"""


async def ask(component: str, python: str, values: Values, env: Mapping[str, str]) -> Description:
    """Asks this interpreter where there is something to ask; a process per test would be slow."""
    try:
        return describe_here(component, values)
    except ImportError:
        return await describe(component, python, values, env)


def plan_of(folder: Path, text: str, *overrides: str) -> Plan:
    file = folder / "graph.yaml"
    file.write_text(text)
    return make_plan(read_graph(file, overrides), ask=ask, ports=iter(range(20500, 20600)))


def problems(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as raised:
        plan_of(folder, text, *overrides)
    return str(raised.value)


@pytest.fixture
def engine_component(tmp_path: Path) -> Path:
    path = tmp_path / "engine.py"
    path.write_text(ENGINE_COMPONENT)
    return path


def test_argv_exactly(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        f"""\
Common: {{model: some/model, namespace: test, http-host: localhost}}
Frontend:
  component: dynamo_frontend
  http-port: 8001
Worker:
  component: {SCRIPTED}
  trace: true
  token-delay: 0.5
  replicas: 2
  env: {{A: b c}}
""",
    )
    frontend, *workers = plan.processes
    assert frontend == Process(
        "Frontend/0",
        (
            PYTHON,
            "-m",
            "dynamo_frontend",
            *("--http-host", "localhost", "--http-port", "8001", "--namespace", "test"),
        ),
        ports={"http-port": 8001},
        hosts={"http-port": "localhost"},
        ready_url="http://localhost:8001/health",
        address="http://localhost:8001",
        drain_timeout=30.0,
        ready_key="http-port",
        role="frontend",
    )
    assert [worker.name for worker in workers] == ["Worker/0", "Worker/1"]
    for number, worker in enumerate(workers):
        port = str(20500 + number)
        assert worker.argv == (
            *(PYTHON, "-m", SCRIPTED, "--token-delay", "0.5", "--trace"),
            *("--model", "some/model", "--namespace", "test", "--status-port", port),
        )
        assert worker.env == {"A": "b c"}
        assert worker.ready_url == f"http://127.0.0.1:{port}/health"


def test_a_section_beats_what_is_common(tmp_path: Path) -> None:
    text = "Common: {namespace: common}\nFrontend: {component: dynamo_frontend, namespace: own}\n"
    (process,) = plan_of(tmp_path, text).processes
    assert process.argv == (PYTHON, "-m", "dynamo_frontend", "--namespace", "own")


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        ("", "http://127.0.0.1:8000/health"),
        (", http-host: 0.0.0.0", "http://127.0.0.1:8000/health"),
        (", http-host: '::1'", "http://[::1]:8000/health"),
    ],
)
def test_where_a_frontend_tells_that_it_is_ready(tmp_path: Path, flags: str, url: str) -> None:
    (process,) = plan_of(tmp_path, f"Frontend: {{component: dynamo_frontend{flags}}}\n").processes
    assert process.ready_url == url
    assert "--status-port" not in process.argv


def test_a_status_port_that_is_given_stays(tmp_path: Path) -> None:
    text = f"Worker: {{component: {SCRIPTED}, model: m, status-port: 7777}}\n"
    (process,) = plan_of(tmp_path, text).processes
    assert process.argv[-2:] == ("--status-port", "7777")
    assert process.ready_url == "http://127.0.0.1:7777/health"


@pytest.mark.parametrize("given", [0, -1])
def test_no_status_port_or_any_becomes_one_that_can_be_asked(tmp_path: Path, given: int) -> None:
    text = f"Worker: {{component: {SCRIPTED}, model: m, status-port: {given}}}\n"
    (process,) = plan_of(tmp_path, text).processes
    assert process.argv[-2:] == ("--status-port", "20500")
    assert process.argv.count("--status-port") == 1  # a flag given twice is refused
    assert process.ready_url == "http://127.0.0.1:20500/health"


def test_status_ports_are_free_and_distinct(tmp_path: Path) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text(f"Worker: {{component: {SCRIPTED}, model: m, replicas: 4}}\n")
    ports = [process.argv[-1] for process in make_plan(read_graph(file), ask=ask).processes]
    assert len(set(ports)) == 4
    assert all(1024 < int(port) < 32768 for port in ports)


@pytest.fixture
def prefill_component(tmp_path: Path) -> Path:
    """One that hands KV caches over, with an engine that may have ranks."""
    source = ENGINE_COMPONENT.replace("RuntimeSettings", "TransferSettings").replace(
        'Engine("Engine", build_parser)',
        'Engine("Engine", build_parser, gpus=lambda options: options.get("late"))',
    )
    path = tmp_path / "prefill.py"
    path.write_text(source)
    return path


def ports_of(plan: Plan) -> list[list[int]]:
    """Every port of each process."""
    return [
        [port for key, first in p.ports.items() for port in range(first, first + p.port_counts.get(key, 1))]
        for p in plan.processes
    ]


def test_kv_transfer_ports_are_allotted_like_all_others(tmp_path: Path, prefill_component: Path) -> None:
    """P03 (ai-dynamo #7366, #4121, #12821): two prefill workers on one machine do not clash."""
    plan = plan_of(tmp_path, f"Prefill: {{component: {prefill_component.name}}}\n")
    first, second = plan.processes
    assert (first.ports, second.ports) == (
        {"kv-transfer-port": 20500, "status-port": 20501},
        {"kv-transfer-port": 20502, "status-port": 20503},
    )
    assert first.argv[-4:] == ("--kv-transfer-port", "20500", "--status-port", "20501")
    assert first.hosts["kv-transfer-port"] == "127.0.0.1"
    hosts = "rpc-host: 192.0.2.1, kv-transfer-host: 192.0.2.2"
    elsewhere = plan_of(tmp_path, f"Prefill: {{component: {prefill_component.name}, {hosts}}}\n")
    assert elsewhere.processes[0].hosts["kv-transfer-port"] == "192.0.2.2"


def test_ranks_have_ports_of_their_own(tmp_path: Path, prefill_component: Path) -> None:
    """The first one is told; the engine counts on from there."""
    plan = plan_of(tmp_path, f"Prefill: {{component: {prefill_component.name}, late: 3, replicas: 2}}\n")
    ports = ports_of(plan)
    assert [len(found) for found in ports] == [4, 4]
    assert len({port for found in ports for port in found}) == 8
    assert plan.processes[1].port_ranges == {"kv-transfer-port": "20504-20506", "status-port": "20507"}


def test_a_kv_transfer_port_that_is_given(tmp_path: Path, prefill_component: Path) -> None:
    """How many an engine takes from there is its own affair: only the one that is named is checked."""
    text = f"Prefill: {{component: {prefill_component.name}, kv-transfer-port: 9000, late: 2, replicas: 1}}\n"
    (process,) = plan_of(tmp_path, text).processes
    assert process.ports["kv-transfer-port"] == 9000
    assert process.port_counts == {}
    found = problems(tmp_path, text, "--Prefill.replicas=2")
    assert "Prefill: 2 replicas cannot share kv-transfer-port 9000" in found


def test_a_taken_kv_transfer_port_names_its_holder(tmp_path: Path, prefill_component: Path) -> None:
    """P03, also where it is one of several."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = Process(
            "Prefill/0",
            ("p",),
            ports={"kv-transfer-port": port - 1},
            port_counts={"kv-transfer-port": 2},
            hosts={"kv-transfer-port": "127.0.0.1"},
        )
        with pytest.raises(UserError) as raised:
            check_ports(Plan("graph", (process,)))
    message = rf"port {port} is in use by .* \(process {os.getpid()}, user .*\)\n"
    assert re.search(f"{message}  fix: .*choose another --Prefill.kv-transfer-port", str(raised.value))


def test_a_port_that_is_taken_at_another_address_is_not_chosen(tmp_path: Path) -> None:
    """A component may listen at any address of this machine."""
    file = _write(tmp_path, f"Worker: {{component: {SCRIPTED}, model: m}}\n")

    def chosen() -> int:
        return make_plan(read_graph(file), ask=ask).processes[0].ports["status-port"]

    port = chosen()
    with socket.create_server(("127.0.0.2", port)):
        assert chosen() != port


def test_an_engines_section_lets_its_flags_through(tmp_path: Path, engine_component: Path) -> None:
    flags = "  max-model-len: 64\n  sizes: [1, 2]\n  eager: true\n"
    text = f"Engine:\n  component: {engine_component.name}\n{flags}"
    plan = plan_of(tmp_path, text, "--Engine.late=1")
    assert [process.name for process in plan.processes] == ["Engine/0", "Engine/1"]
    assert plan.processes[0].argv == (
        *(
            PYTHON,
            str(engine_component),
            "--max-model-len",
            "64",
            "--sizes",
            "1",
            "2",
            "--eager",
            "--late",
            "1",
        ),
        *("--status-port", "20500"),
    )


def test_a_secret_of_the_engine_is_not_put_into_a_command(tmp_path: Path, engine_component: Path) -> None:
    text = f"Engine:\n  component: {engine_component.name}\n  hf-token: hunter2\n"
    found = problems(tmp_path, text)
    assert "hunter2" not in found
    assert found.startswith(f"Engine: {tmp_path / 'graph.yaml'}:3: hf-token is a secret, and flags are seen")


def test_replicas_of_the_class_can_be_overridden(tmp_path: Path, engine_component: Path) -> None:
    text = f"Engine: {{component: {engine_component.name}}}\n"
    assert len(plan_of(tmp_path, text, "--Engine.replicas=3").processes) == 3
    assert plan_of(tmp_path, text, "--Engine.replicas=0").processes == ()


@pytest.mark.parametrize("value", ["-1", "1.5", "true", "many"])
def test_replicas_must_be_a_whole_number(tmp_path: Path, value: str) -> None:
    text = f"Frontend:\n  component: dynamo_frontend\n  replicas: {value}\n"
    found = problems(tmp_path, text)
    assert found.startswith("Frontend: replicas must be a whole number, found ")
    assert found.endswith(f"(from {tmp_path / 'graph.yaml'}:3)")


def test_an_unknown_key(tmp_path: Path) -> None:
    found = problems(tmp_path, "Frontend:\n  component: dynamo_frontend\n  http_port: 1\n")
    file = tmp_path / "graph.yaml"
    assert found.startswith(f"Frontend: {file}:3: unknown key 'http_port'; did you mean http-port")


def test_an_unknown_key_of_the_command_line(tmp_path: Path) -> None:
    found = problems(tmp_path, "Frontend: {component: dynamo_frontend}\n", "--Frontend.http-prt=1")
    assert found.startswith("Frontend: --Frontend.http-prt: unknown key 'http-prt'; did you mean http-port")


def test_a_common_key_that_no_component_knows(tmp_path: Path) -> None:
    found = problems(tmp_path, "Common:\n  name-space: x\nFrontend: {component: dynamo_frontend}\n")
    assert f"{tmp_path / 'graph.yaml'}:2: unknown key 'name-space'; did you mean namespace?" in found


def test_a_component_that_cannot_be_imported_and_all_other_problems(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "Absent: {component: no_such_module_here}\nB: {component: dynamo_frontend, frob: 1, replicas: a}\n",
    )
    assert f"Absent: cannot import no_such_module_here in {PYTHON}: " in found
    assert "No module named 'no_such_module_here'" in found
    assert "unknown key 'frob'" in found
    assert "replicas must be a whole number" in found


def test_mistakes_of_the_graph_and_of_its_components_are_told_at_once(tmp_path: Path) -> None:
    text = (
        f"Worker:\n  component: {SCRIPTED}\n  restart: maybe\n  start-timeout: soon\n  env: {{A: [1]}}\n"
        "  replicas: many\n  tokn-delay: 1\n"
    )
    found = problems(tmp_path, text)
    for line, part in (
        (3, "restart must be one of never, on-failure, always, found 'maybe'"),
        (4, "start-timeout must be a number of seconds above 0, found 'soon'"),
        (5, "env: A with a list is no name and value of a variable"),
        (7, "unknown key 'tokn-delay'"),
    ):
        assert f"graph.yaml:{line}: {part}" in found
    assert "replicas must be a whole number, found 'many'" in found


def test_visible_devices_under_env(tmp_path: Path) -> None:
    """Only where it is placement that chooses the devices of the section."""
    section = f"component: {SCRIPTED}, env: {{CUDA_VISIBLE_DEVICES: 2,3}}, model: m"
    found = problems(tmp_path, f"Worker: {{{section}, resources: {{gpu: 1}}}}\n".replace("2,3", "'2,3'"))
    assert (
        f"Worker: env has CUDA_VISIBLE_DEVICES '2,3' (from {tmp_path}/graph.yaml:1), but its GPUs are chosen "
        "from all that are visible here, and given as --gpus\n"
        "  fix: name them with gpus:, or set resources: {gpu: 0} for an engine without a GPU"
    ) in found
    own = tmp_path / "own.py"
    own.write_text("")
    plan = plan_of(tmp_path, "Own: {component: own.py, env: {CUDA_VISIBLE_DEVICES: '2,3'}}\n")
    assert plan.processes[0].env == {"CUDA_VISIBLE_DEVICES": "2,3"}


def test_a_ctrl_c_wakes_those_who_ask() -> None:
    """Without a wake-up descriptor, one that comes just before the event loop waits is not seen."""

    async def descriptor() -> int:
        found = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(found)
        return found

    assert run(descriptor()) >= 0

    async def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        run(interrupted())


def test_a_ctrl_c_while_the_loop_is_made_waits_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a loop would complain when it is collected, of itself and of what it has never begun."""
    made = asyncio.events.new_event_loop

    def interrupted() -> asyncio.AbstractEventLoop:
        signal.raise_signal(signal.SIGINT)
        return made()

    monkeypatch.setattr("asyncio.events.new_event_loop", interrupted)
    begun = []

    async def asking() -> None:
        begun.append(True)
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        run(asking())
    assert begun
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("value", ["abc", "''", "true", "[1]"])
def test_a_port_that_is_none(tmp_path: Path, value: str) -> None:
    found = problems(tmp_path, f"Frontend:\n  component: dynamo_frontend\n  http-port: {value}\n")
    assert f"{tmp_path / 'graph.yaml'}:3" in found


def test_the_port_that_a_deployment_class_gives_is_asked(tmp_path: Path, engine_component: Path) -> None:
    engine_component.write_text(ENGINE_COMPONENT.replace("replicas = 2", "status_port = 7001"))
    (process,) = make_plan(
        read_graph(_write(tmp_path, f"Engine: {{component: {engine_component.name}}}\n"))
    ).processes
    assert process.ready_url == "http://127.0.0.1:7001/health"


def test_a_secret_is_no_part_of_a_command(tmp_path: Path) -> None:
    text = (
        "Frontend: {component: dynamo_frontend, request-plane: nats, nats-server: 'nats://me:hunter2@host'}\n"
    )
    (process,) = plan_of(tmp_path, text).processes
    assert "hunter2" not in process.command()


@pytest.mark.parametrize(
    "word", ["a b", "it's", '"', "$HOME", "`id`", "a;b", "*", "", "{a: 1}", "ä", "\\", "a\nb", "-"]
)
def test_a_command_can_be_pasted_into_bash(tmp_path: Path, word: str) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text("import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ['PROBE']]))\n")
    process = Process("P/0", (PYTHON, str(probe), "--word", word), {"PROBE": word})
    result = subprocess.run(
        ["/bin/bash", "-c", process.command()], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == [["--word", word], word]


def test_a_value_that_looks_like_a_flag_reaches_its_setting(tmp_path: Path) -> None:
    text = f"Worker: {{component: {SCRIPTED}, model: m, served-model-name: --odd, fail-start: -x}}\n"
    (process,) = plan_of(tmp_path, text).processes
    shown = subprocess.run([*process.argv, "--show-config"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "= --odd " in shown.stdout


def test_a_value_of_the_wrong_type_is_told_with_its_line(tmp_path: Path) -> None:
    """YAML takes Norway's `no` for a truth value; the child would only see a strange flag."""
    found = problems(tmp_path, f"Worker:\n  component: {SCRIPTED}\n  namespace: no\n")
    assert f"{tmp_path / 'graph.yaml'}:3" in found


def test_descriptions_come_from_the_sections_interpreter(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def record(component: str, python: str, values: Values, env: Mapping[str, str]) -> Description:
        asked.append((component, python))
        return Description()

    file = _write(tmp_path, "A: {component: a, python: here/python}\nB: {component: b}\n")
    plan = make_plan(read_graph(file), ask=record)
    assert sorted(asked) == [("a", str(tmp_path / "here/python")), ("b", PYTHON)]
    assert [process.argv[0] for process in plan.processes] == [str(tmp_path / "here/python"), PYTHON]


def _write(folder: Path, text: str) -> Path:
    file = folder / "graph.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("name", ["DYN_HTTP_PORT", "DYN_DRAIN_TIMEOUT"])
def test_a_variable_that_is_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "abc")
    found = problems(tmp_path, "Frontend: {component: dynamo_frontend}\n")
    assert f"found 'abc' (from {name})" in found


def test_the_environment_beats_the_file_as_it_does_when_a_component_is_started_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYN_HTTP_PORT", "7001")
    text = "Frontend: {component: dynamo_frontend, http-port: 7002}\n"
    assert plan_of(tmp_path, text).processes[0].argv[-2:] == ("--http-port", "7001")


def test_a_flag_that_gives_the_default_beats_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYN_HTTP_PORT", "7001")
    (process,) = plan_of(
        tmp_path, "Frontend: {component: dynamo_frontend}\n", "--Frontend.http-port=8000"
    ).processes
    assert process.argv[-2:] == ("--http-port", "8000")
