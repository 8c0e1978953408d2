"""Where components meet, and who else could get in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dynamo_core.errors import UserError
from dynamo_core.runtime.distributed import private_folder
from dynamo_core.runtime.watches import LIMIT, NEEDED
from dynamo_core.testing.processes import Running, Stack


def test_a_discovery_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    private_folder(folder)


@pytest.fixture
def foreign_folder(tmp_path: Path) -> Path:
    """A folder of somebody else; only root can make one, for everybody else root has many."""
    if os.getuid() != 0:
        return Path("/usr")
    folder = tmp_path / "foreign"
    folder.mkdir(mode=0o755)
    os.chown(folder, 12345, 12345)
    return folder


def test_a_folder_that_everyone_can_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UserError) as raised:
        private_folder(folder)
    assert str(raised.value) == (
        f"discovery folder {folder} is writable by everyone; others could redirect requests\n"
        f"  fix: chmod go-w {folder}, or give another --discovery-path"
    )


def test_somebody_elses_folder_is_refused(foreign_folder: Path) -> None:
    with pytest.raises(UserError) as raised:
        private_folder(foreign_folder)
    first, fix = str(raised.value).splitlines()
    owner = foreign_folder.stat().st_uid
    assert (
        first == f"discovery folder {foreign_folder} belongs to user {owner}; others could redirect requests"
    )
    assert fix == "  fix: give another --discovery-path"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot use discovery folder .*: File exists"):
        private_folder(tmp_path / "file")


def test_a_component_refuses_it_with_one_message(stack: Stack) -> None:
    stack.discovery.mkdir()
    stack.discovery.chmod(0o777)
    worker = stack.scripted()
    assert worker.wait() == 2
    assert worker.lines[-2] == (
        f"error: discovery folder {stack.discovery} is writable by everyone; others could redirect requests"
    )
    assert "Traceback" not in worker.output


def _models(stack: Stack) -> list[str]:
    return sorted(model.id for model in stack.client().models.list())


def _wait_for_models(stack: Stack, names: list[str], timeout: float = 10.0) -> None:
    """A frontend is ready with its first model; the second one may come later."""
    deadline = time.monotonic() + timeout
    while (found := _models(stack)) != names:
        assert time.monotonic() < deadline, f"{found} instead of {names} after {timeout} s"
        time.sleep(0.01)


@pytest.mark.setting("discovery_path")
def test_stacks_with_different_folders_do_not_meet(stack: Stack, tmp_path: Path, tiny_model: Path) -> None:
    with Stack(tmp_path / "other", tiny_model) as other:
        _start_both(stack, other)
        assert (_models(stack), _models(other)) == (["scripted"], ["elsewhere"])


@pytest.mark.setting("namespace")
def test_namespaces_of_one_folder_do_not_meet(stack: Stack, tmp_path: Path, tiny_model: Path) -> None:
    with Stack(tmp_path, tiny_model) as other:
        _start_both(stack, other, "--namespace", "here")
        assert (_models(stack), _models(other)) == (["scripted"], ["elsewhere"])


def test_a_frontend_in_the_runtimes_global_namespace_serves_all(
    stack: Stack, tmp_path: Path, tiny_model: Path
) -> None:
    with Stack(tmp_path, tiny_model) as other:
        _start_both(stack, other, "--namespace", "dynamo")
        _wait_for_models(stack, ["elsewhere", "scripted"])
        assert _models(other) == ["elsewhere"]


def _start_both(stack: Stack, other: Stack, *flags: str) -> None:
    """A graph for each; `flags` go to the first one."""
    stack.frontend(*flags)
    stack.scripted(*flags)
    other.frontend("--namespace", "elsewhere")
    own = ("--model", other.model, "--served-model-name", "elsewhere", "--namespace", "elsewhere")
    other.start("dynamo_core.testing.scripted", *own)
    stack.wait_ready()
    other.wait_ready()


def test_nothing_listens_beyond_this_machine(
    stack: Stack, component: Callable[..., Running], ask: Callable[..., list[Any]]
) -> None:
    frontend, worker = stack.frontend("--status-port", 0), stack.scripted("--status-port", 0)
    answers = component(stack, "answers.py")
    stack.wait_ready()
    answers.wait_for_line("generate is ready")
    stack.client().chat.completions.create(
        model="scripted", messages=[{"role": "user", "content": "hi"}], max_tokens=3
    )
    ask(stack, "test.answers.generate", [{"request": {"count": 1}}])
    for running in (frontend, worker, answers):
        sockets = psutil.Process(running.pid).net_connections(kind="inet")
        listening = [socket for socket in sockets if socket.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)]
        assert listening
        assert {socket.laddr.ip for socket in listening} == {"127.0.0.1"}


def with_inotify(instances: int, *words: object) -> Running:
    """A command whose user may have so many inotify instances: in a user namespace, which has a limit of its
    own."""
    inside = ["unshare", "--user", "--map-root-user", "bash", "-c"]
    script = f'echo {instances} > {LIMIT} && exec "$@"'
    if subprocess.run([*inside, script, "-", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not make a user namespace")
    return Running([*inside, script, "-", *map(str, words)])


@pytest.mark.parametrize("instances", [0, NEEDED - 1])
def test_a_limit_that_would_leave_a_frontend_blind_is_named(stack: Stack, instances: int) -> None:
    """The Rust runtime would go on, and find nobody."""
    program = [sys.executable, "-m", "dynamo_frontend", "--discovery-path", stack.discovery]
    frontend = with_inotify(instances, *program, "--http-port", stack.port)
    stack.running.append(frontend)
    assert frontend.wait() == 2
    assert frontend.lines[-2].startswith(
        f"error: this user has no inotify instances left of {instances}, and "
    )
    assert frontend.lines[-1].startswith("  fix: sysctl fs.inotify.max_user_instances=1024, or ")


def test_a_frontend_serves_with_the_fewest_that_are_let_through(stack: Stack) -> None:
    stack.scripted().wait_for_line("is ready")
    program = [sys.executable, "-m", "dynamo_frontend", "--discovery-path", stack.discovery]
    stack.running.append(with_inotify(NEEDED, *program, "--http-port", stack.port))
    stack.wait_ready()


def test_doctor_tells_what_is_left_of_it() -> None:
    program = [sys.executable, "-m", "dynamo_core.cli.main", "doctor"]
    blind, scarce = with_inotify(1, *program), with_inotify(9, *program)
    assert blind.wait() == 1
    assert re.search("error +inotify +free instances: 1 of 1; components see nobody", blind.output)
    scarce.wait()
    assert re.search("warning +inotify +free instances: 9 of 9; a frontend takes about 14", scarce.output)
