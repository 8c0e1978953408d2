"""`dynamo doctor` on things that are really broken."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamo_core.args import RuntimeSettings
from dynamo_core.cli.doctor import as_text, summary
from dynamo_core.deploy.gpus import Gpu, GpuProcess, Inventory
from dynamo_core.doctor import CHECKS, Finding, diagnose, machine
from dynamo_core.testing.processes import Stack
from dynamo_core.testing.servers import PASSWORD, USER, Etcd

Dynamo = Callable[..., subprocess.CompletedProcess[str]]
Findings = dict[str, list[dict[str, str]]]


@pytest.fixture
def findings(dynamo: Dynamo) -> Callable[..., Findings]:
    """What `dynamo doctor --json` finds, by subject."""

    def run(*flags: object, env: dict[str, Any] | None = None) -> Findings:
        done = dynamo("doctor", "--json", *flags, env=env)
        data = json.loads(done.stdout)
        assert done.stderr == ""
        assert done.returncode == (1 if data["counts"]["error"] else 0)
        found: Findings = {}
        for finding in data["findings"]:
            found.setdefault(finding["subject"], []).append(finding)
        return found

    return run


def test_text_says_what_json_says(tmp_path: Path, dynamo: Dynamo) -> None:
    flags = ("--discovery-path", tmp_path / "absent")
    data = json.loads(dynamo("doctor", "--json", *flags).stdout)
    shown = dynamo("doctor", *flags, env={"NO_COLOR": None, "FORCE_COLOR": None}).stdout
    expected = [as_text(Finding(**finding), is_coloured=False) for finding in data["findings"]]
    assert shown.splitlines()[:-2] == "\n".join(expected).splitlines()
    assert shown.splitlines()[-1] == summary([Finding(**finding) for finding in data["findings"]]).strip()
    assert not (tmp_path / "absent").exists()


def test_colour_where_it_is_wanted(dynamo: Dynamo) -> None:
    assert "\x1b[32mok      \x1b[0m Python" in dynamo("doctor", env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b" not in dynamo("doctor", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout


def test_this_installation(findings: Callable[..., Findings]) -> None:
    found = findings()
    for subject in ("Python", "dynamo-core", "ai-dynamo-runtime", "Rust runtime", "uvloop", "environment"):
        assert [finding["level"] for finding in found[subject]] == ["ok"], found[subject]
    assert found["etcd"][0]["text"] == "not needed: discovery is file"
    assert found["NATS"][0]["text"] == "not needed: requests go over tcp, events over zmq"


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Install a component's package of somebody else; returns the environment that has it."""

    def install(*requires: str, code: str = "", python: str = ">=3.8") -> dict[str, str]:
        folder = tmp_path / "site"
        info = folder / "acme_worker-2.0.dist-info"
        info.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", "Name: acme-worker", "Version: 2.0", f"Requires-Python: {python}"]
        lines += [f"Requires-Dist: {text}" for text in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text("[dynamo.components]\nacme-worker = acme_worker\n")
        (folder / "acme_worker.py").write_text(code or "from dynamo_core.testing.scripted import parser\n")
        return {"PYTHONPATH": str(folder)}

    return install


def test_a_package_that_fits(package: Callable[..., Any], findings: Callable[..., Findings]) -> None:
    env = package("psutil>=5", "pytest>=7", 'absent>=1; extra == "more"', 'old; python_version < "3"')
    found = findings(env=env)["acme-worker"]
    assert [(each["level"], each["text"]) for each in found] == [
        ("ok", f"2.0 with pytest {pytest.__version__}"),
        ("ok", "acme_worker"),
    ]


def test_a_pin_that_does_not_hold(package: Callable[..., Any], findings: Callable[..., Findings]) -> None:
    found = findings(env=package("pytest==1.0", "acme-engine>=3"))["acme-worker"]
    assert found[0] == {
        "level": "error",
        "subject": "acme-worker",
        "text": f"2.0 needs pytest==1.0, found pytest {pytest.__version__}",
        "fix": 'pip install "pytest==1.0"',
    }
    assert found[1]["text"] == "2.0 needs acme-engine>=3, which is not installed"


def test_an_engine_under_another_name(
    package: Callable[..., Any], findings: Callable[..., Findings], tmp_path: Path
) -> None:
    env = package("acme-engine>=3")
    info = tmp_path / "site" / "acme_engine_cpu-3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-engine-cpu\nVersion: 3.1\n")
    (info / "top_level.txt").write_text("acme_engine\n")
    found = findings(env=env)["acme-worker"]
    assert (found[0]["level"], found[0]["text"]) == ("ok", "2.0 with acme-engine-cpu 3.1")


def test_another_python(package: Callable[..., Any], findings: Callable[..., Findings]) -> None:
    (found,) = findings(env=package(python=">=4"))["Python"]
    assert found["level"] == "error"
    assert found["text"].endswith("but acme-worker needs >=4")


@pytest.mark.parametrize("code", ["import acme_engine", "raise SystemError('no')", "parser = None"])
def test_a_component_that_cannot_be_imported(
    package: Callable[..., Any], findings: Callable[..., Findings], code: str
) -> None:
    found = findings(env=package(code=code))["acme-worker"][-1]
    assert found["level"] == "error"
    assert found["text"].startswith("acme_worker is no component: ")


def test_a_runtime_that_does_not_load(tmp_path: Path, findings: Callable[..., Findings]) -> None:
    (tmp_path / "dynamo").mkdir()
    (tmp_path / "dynamo" / "__init__.py").write_text("")
    (found,) = findings(env={"PYTHONPATH": str(tmp_path)})["Rust runtime"]
    assert found["level"] == "error"
    assert "does not load: ModuleNotFoundError: No module named 'dynamo._core'" in found["text"]


def test_a_port_that_is_taken(findings: Callable[..., Findings]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = findings(env={"DYN_HTTP_PORT": str(port)})[f"HTTP port {port}"]
    assert found["level"] == "warning"
    assert found["text"].startswith(f"port {port} is in use by ")
    assert f"(process {os.getpid()}, user " in found["text"]
    assert found["fix"] == "stop that process, or choose another --http-port"


def test_a_low_limit_of_open_files() -> None:
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}))
from dynamo_core.cli.doctor import main
main([])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (
        "open files           up to 1024, which a frontend exhausts with 512 requests in flight\n"
        "         fix: ulimit -n 65536\n"
    ) in done.stdout


def test_little_shared_memory_and_little_room() -> None:
    settings = RuntimeSettings()
    (found,) = machine.shared_memory(settings, "/proc")  # a file system of no size
    assert (found.level, found.text) == (
        "warning",
        "0.0 GiB; engines of several processes want at least 1 GiB",
    )
    (found,) = machine.shared_memory(settings, "/absent")
    assert (found.level, found.text) == ("warning", "cannot be looked at: No such file or directory")
    (found,) = machine.temporary_folder(settings, "/proc")
    assert (found.level, found.text) == ("warning", "0.0 GiB free in /proc")


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of the driver's answer; the driver itself is asked in the tests of `deploy.gpus`."""
    free = Gpu("0", "GPU-a", "NVIDIA H100", total=80 * 2**30)
    busy = Gpu("1", "GPU-b", "NVIDIA H100", 80 * 2**30, 70 * 2**30, (GpuProcess(7, "python", "eve"),))
    inventory = Inventory((free, busy), driver="570.133.20", left_out=("GPU 2: lost",))
    monkeypatch.setattr("dynamo_core.deploy.gpus.visible_gpus", lambda: inventory)
    assert [(found.level, found.text) for found in machine.gpus(RuntimeSettings())] == [
        ("ok", "570.133.20"),
        ("ok", "0 (NVIDIA H100), 80.0 GiB, free"),
        ("warning", "1 (NVIDIA H100), 80.0 GiB, in use by python (process 7, user eve)"),
        ("warning", "GPU 2: lost"),
    ]
    monkeypatch.setattr(
        "dynamo_core.deploy.gpus.visible_gpus", lambda: Inventory(has_driver=False, why="why")
    )
    assert [(found.level, found.text) for found in machine.gpus(RuntimeSettings())] == [("ok", "none; why")]


def test_a_folder_that_everyone_can_write_to(tmp_path: Path, findings: Callable[..., Findings]) -> None:
    tmp_path.chmod(0o777)
    (found,) = findings("--discovery-path", tmp_path)["discovery folder"]
    assert found == {
        "level": "error",
        "subject": "discovery folder",
        "text": f"discovery folder {tmp_path} is writable by everyone; others could redirect requests",
        "fix": f"chmod go-w {tmp_path}, or give another --discovery-path",
    }


def test_what_dead_processes_left_behind(stack: Stack, findings: Callable[..., Findings]) -> None:
    worker = stack.scripted()
    worker.wait_for_line("is ready")
    flags = ("--discovery-path", stack.discovery)
    (found,) = findings(*flags)["discovery folder"]
    assert (found["level"], found["text"]) == ("ok", f"{stack.discovery}, 1 process")
    worker.stop(signal.SIGKILL)
    for file in stack.discovery.glob("v1/*/*"):
        os.utime(file, times=(time.time() - 60,) * 2)
    (found,) = findings(*flags)["discovery folder"]
    assert found["level"] == "warning"
    assert f"{stack.discovery} has what 1 process left that is gone" in found["text"]


def test_variables_that_a_component_would_refuse(findings: Callable[..., Findings]) -> None:
    env = {"DYN_LOG_LEVLE": "debug", "DYN_TCP_RESPONSE_STREAM_HOST": "10.0.0.1", "DYN_ROUTER_MODE": "kv"}
    typo, conflict = findings(env=env)["environment"]
    assert typo["level"] == conflict["level"] == "error"
    assert typo["text"] == "DYN_LOG_LEVLE is set, but nothing reads it"
    assert "did you mean DYN_LOG_LEVEL" in typo["fix"]
    assert "DYN_TCP_RESPONSE_STREAM_HOST is set to '10.0.0.1'" in conflict["text"]
    assert conflict["fix"] == "unset DYN_TCP_RESPONSE_STREAM_HOST"


def test_a_setting_that_is_wrong_is_one_finding(findings: Callable[..., Findings]) -> None:
    found = findings(
        env={"DYN_DISCOVERY_BACKEND": "etdc", "DYN_REQUEST_PLANE": "nats", "NATS_SERVER": "127.0.0.1:1"}
    )
    (wrong,) = found["settings"]
    assert wrong["level"] == "error"
    assert wrong["text"].endswith("found 'etdc' (from DYN_DISCOVERY_BACKEND); did you mean etcd?")
    assert found["NATS"][0]["text"].startswith("NATS cannot be reached at 127.0.0.1:1")


def test_etcd(etcd: Etcd, findings: Callable[..., Findings]) -> None:
    flags = ("--discovery-backend", "etcd", "--etcd-endpoints")
    found = findings(*flags, etcd.url)
    assert (found["etcd"][0]["level"], found["etcd"][0]["text"]) == ("ok", f"{etcd.url} answers, 0 instances")
    assert found["discovery folder"][0]["text"] == "not needed: discovery is etcd"

    etcd.demand_password()
    (refused,) = findings(*flags, etcd.url)["etcd"]
    assert refused["level"] == "error"
    assert "set ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD" in refused["text"]

    url = f"http://{USER}:pa%3Ass%40w@127.0.0.1:{etcd.port}"
    passed_over, answer = findings(*flags, url)["etcd"]
    assert (passed_over["level"], answer["level"]) == ("error", "ok")
    assert passed_over["fix"] == "set ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD"
    assert "pa%3A" not in passed_over["text"]
    assert PASSWORD not in str(answer)

    (gone,) = findings(*flags, "http://127.0.0.1:1")["etcd"]
    assert gone["text"] == (
        "etcd cannot be read at http://127.0.0.1:1: Connection refused (from --etcd-endpoints)"
    )
    assert gone["fix"].endswith("--discovery-backend file needs no server")


def test_nats_that_is_there(findings: Callable[..., Findings]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"nats://u:secret@127.0.0.1:{server.getsockname()[1]}"
        (found,) = findings("--event-plane", "nats", "--nats-server", url)["NATS"]
    assert (found["level"], found["text"]) == ("ok", "can be reached")


def test_a_check_that_fails_is_an_error_and_the_others_go_on() -> None:
    def broken_check(_: RuntimeSettings) -> Iterator[Finding]:
        yield Finding("ok", "half", "of it")
        raise OSError(5, "Input/output error")

    def other(_: RuntimeSettings) -> Iterator[Finding]:
        yield Finding("ok", "other", "fine")

    assert list(diagnose(RuntimeSettings(), (broken_check, other))) == [
        Finding("ok", "half", "of it"),
        Finding("error", "broken check", "could not check: OSError: [Errno 5] Input/output error"),
        Finding("ok", "other", "fine"),
    ]


def test_every_check_survives_a_machine_without_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No metadata, no child processes, no folders: each check says something, none raises."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    installation = "dynamo_core.doctor.installation"
    for name in (f"{installation}.distribution", f"{installation}.version", f"{installation}.load"):
        monkeypatch.setattr(name, refuse)
    for name in ("subprocess.run", "os.statvfs", "resource.getrlimit"):
        monkeypatch.setattr(name, refuse)
    found = list(diagnose(RuntimeSettings(discovery_path=str(tmp_path / "absent"))))
    assert len(found) >= len(CHECKS)
    assert {finding.level for finding in found} >= {"ok", "error"}
