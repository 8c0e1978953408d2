"""A supervisor under attack: nothing is left, no request is lost."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from load import Load
from serving import DYNAMO, Served

from dynamo_core.testing.processes import PORTS, Running

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
GUARD = "dynamo_core.serve.guard"
CYCLES = 50
PARTS = 5
AT_ONCE = 2
GRAPH = """\
Frontend: {component: dynamo_frontend}
Worker:
  component: dynamo_core.testing.scripted
  served-model-name: scripted
  replicas: 2
  token-delay: 0.01
"""
FAMILY = """\
import signal, subprocess, sys

if __name__ == "__main__":
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('born', flush=True); "
    child = subprocess.Popen([sys.executable, "-c", deaf + "time.sleep(600)", __file__])
    subprocess.Popen([sys.executable, "-c", deaf + "time.sleep(600)", __file__], start_new_session=True)
    child.wait()
"""
SHORT = """\
import os, signal, sys

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    shared = f"{mark}-{{os.getpid()}}"
    try:
        open(shared, "w").close()
        print("up", flush=True)
        signal.pause()
    finally:
        os.unlink(shared)
"""
WORKING = """\
import http.server, pathlib, subprocess, sys, time

def parser():
    from dynamo_core.testing.scripted import parser
    return parser()

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

def work():
    "Be ready until the supervisor has seen it."
    port = int(sys.argv[sys.argv.index("--status-port") + 1])
    http.server.HTTPServer(("127.0.0.1", port), Health).handle_request()
    time.sleep(0.5)

"""
"""A component that has worked as soon as it was asked. One that cannot tell has to live for five seconds."""
CRASHING = """\
if __name__ == "__main__":
    work()
    1 / 0
"""
ORPHANING = """\
if __name__ == "__main__":
    first = not pathlib.Path({mark!r}).exists()
    pathlib.Path({mark!r}).touch()
    if first:
        command = [sys.executable, "-c", "import time; time.sleep(600)", {mark!r}]
        subprocess.Popen(command, start_new_session=True)
        work()
        sys.exit(3)
    print("second life", flush=True)
    time.sleep(600)
"""


def wait_until(holds: Callable[[], bool], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def child_of(serving: psutil.Process, word: str) -> psutil.Process:
    """The child with this word in its command line."""
    return next(child for child in serving.children() if word in child.cmdline())


def commands_below(process: psutil.Process) -> list[list[str]]:
    """The command lines of its children."""
    found = []
    for child in process.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(child.cmdline())
    return found


def worker_pids(served: Served) -> dict[str, int]:
    """The processes of the graph by name, as `dynamo ps` tells them."""
    command = [str(DYNAMO), "ps", "graph"]
    environ = {**os.environ, "TMPDIR": str(served.temporary)}
    output = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    return {
        row.split()[0]: int(pid[1]) for row in output.splitlines()[1:] if (pid := re.search(r" (\d+) ", row))
    }


@pytest.mark.parametrize("moment", range(20))
def test_sigkill_of_the_supervisor_at_any_moment(served: Served, moment: int) -> None:
    """P04 (ai-dynamo #308, #504, #791, #1889, #2894, #7232)."""
    served.component("family.py", FAMILY)
    served.write(f"{GRAPH.replace('replicas: 2', 'replicas: 1')}Family: {{component: family.py}}\n")
    chance = random.Random(moment)
    serving = served.serve()
    if moment % 4 == 3:  # while it stops
        serving.wait_for_line("ready after")
        serving.process.send_signal(signal.SIGINT)
        time.sleep(chance.uniform(0.0, 0.5))
    else:
        time.sleep(chance.uniform(0.0, 2.5))
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(serving.pid).children()
        groups = {os.getpgid(child.pid) for child in children} - {os.getpgid(0)}
        serving.process.kill()
        wait_until(lambda: not any(group_exists(group) for group in groups))
    served.wait_until_nothing_is_left()
    if moment % 10 == 0:  # what the dead one has left is in nobody's way
        again = served.serve()
        again.wait_for_line("ready after")
        assert again.stop(signal.SIGINT) == 0


def group_exists(group: int) -> bool:
    return any(process_group(pid) == group for pid in psutil.pids())


def process_group(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            return os.getpgid(pid)
    return -1


def test_a_guard_that_is_killed_has_a_successor(served: Served) -> None:
    served.component("family.py", FAMILY)
    served.file.write_text("Family: {component: family.py}\n")
    serving = served.serve()
    for _ in range(2):
        serving.wait_for_line(r"\| born")
    supervisor = psutil.Process(serving.pid)
    first = child_of(supervisor, GUARD)
    first.kill()
    wait_until(lambda: not first.is_running() and any(GUARD in words for words in commands_below(supervisor)))
    serving.process.kill()
    served.wait_until_nothing_is_left()


def test_a_worker_that_is_killed_under_load_costs_no_request(served: Served) -> None:
    """P01 (ai-dynamo #1721): what fails is started again."""
    served.write(GRAPH)
    serving = served.serve()
    serving.wait_for_line("ready after")
    with Load(served.stack) as load:
        psutil.Process(worker_pids(served)["Worker/0"]).kill()
        serving.wait_for_line("Worker/0 ended by SIGKILL.*; starting again in")
        serving.wait_for_line("Worker/0 is up again")
        load.wait_answered()
    assert load.failed == []
    assert serving.stop(signal.SIGINT) == 0
    assert served.left() == []


def test_a_rolling_restart_under_load_costs_no_request(served: Served) -> None:
    served.write(GRAPH)
    serving = served.serve()
    serving.wait_for_line("ready after")
    before = worker_pids(served)
    with Load(served.stack) as load:
        restart = served.dynamo("restart", "graph", "Worker")
        assert restart.wait(60) == 0, restart.output
        load.wait_answered()
    after = worker_pids(served)
    assert load.failed == []
    assert before["Frontend/0"] == after["Frontend/0"]
    assert all(before[name] != after[name] for name in ("Worker/0", "Worker/1"))
    assert serving.stop(signal.SIGINT) == 0


def test_a_crash_loop_is_given_up(served: Served) -> None:
    served.component("failing.py", WORKING + CRASHING)
    served.write("Failing: {component: failing.py, model: m}\n")
    serving = served.serve("--restart-limit", 1)
    assert serving.wait(30) == 1
    assert "starting again in 1." in serving.output
    assert re.search(
        r"exit code 1: Failing/0 ended with exit code 1; its last words: ZeroDivisionError: "
        r"division by zero; given up after 1 restarts within 300 s$",
        serving.lines[-1],
    )
    assert served.left() == []


def test_the_policy_of_a_section_and_the_whole_graph(served: Served) -> None:
    served.write(GRAPH.replace("replicas: 2", "replicas: 1"))
    serving = served.serve("--restart-scope", "graph")
    serving.wait_for_line("ready after")
    before = worker_pids(served)
    psutil.Process(before["Worker/0"]).kill()
    serving.wait_for_line("the graph starts again in")
    serving.wait_for_line("Frontend/0 is up again")
    assert not set(before.values()) & set(worker_pids(served).values())
    assert serving.stop(signal.SIGINT) == 0

    served.write(GRAPH.replace("  replicas: 2", "  restart: never"))
    serving = served.serve("--restart", "always")
    serving.wait_for_line("ready after")
    psutil.Process(worker_pids(served)["Worker/0"]).kill()
    assert serving.wait() == 1
    assert "starting again" not in serving.output


def test_a_worker_that_hangs_while_it_starts(served: Served) -> None:
    served.write(GRAPH.replace("  replicas: 2", "  start-delay: 600\n  start-timeout: 1.5"))
    serving = served.serve()
    assert serving.wait() == 1
    assert any("not ready after 1.5 s: Worker/0; stopping" in line for line in serving.lines)
    assert served.left() == []


def test_a_port_that_is_taken_after_the_plan(served: Served) -> None:
    """Somebody listens on the frontend's port before it does."""
    source = (
        "import socket, sys, time\n\nif __name__ == '__main__':\n"
        f"    listener = socket.create_server(('127.0.0.1', {served.stack.port}))\n"
        "    time.sleep(600)\n"
    )
    served.component("thief.py", source)
    served.write("Thief: {component: thief.py}\nFrontend: {component: dynamo_frontend}\n")
    serving = served.serve()
    assert serving.wait() == 2
    assert any(
        f"Frontend/0 ended with exit code 2; its last words: error: port {served.stack.port} is in use by"
        in line
        for line in serving.lines
    )
    assert served.left() == []


@pytest.mark.parametrize("moment", range(10))
def test_ctrl_c_at_any_moment_of_the_start(served: Served, moment: int) -> None:
    """P04 (ai-dynamo #308)."""
    served.write(GRAPH)
    serving = served.serve("--Worker.start-delay=1")
    serving.wait_for_line("Frontend/0: ")  # before that, Python itself is still being loaded
    time.sleep(random.Random(moment).uniform(0.0, 1.5))
    assert serving.stop(signal.SIGINT) == 0
    assert "Traceback" not in serving.output
    assert served.left() == []


@pytest.mark.parametrize("part", range(PARTS))
def test_fifty_times(served: Served, part: int) -> None:
    """P04 (ai-dynamo #7232): no process, file or port is left."""
    mark = SHARED_MEMORY / f"{served.stack.port}-{os.getpid()}-{part}"
    served.component("short.py", SHORT.format(mark=mark))
    served.file.write_text("One: {component: short.py}\nTwo: {component: short.py}\n")

    def cycles(name: str) -> None:
        for _ in range(CYCLES // PARTS // AT_ONCE):
            serving = served.serve("--name", name)
            for process in ("One/0", "Two/0"):
                serving.wait_for_line(rf"{process} \| up")
            assert serving.stop(signal.SIGTERM) == 0, serving.output
            served.stack.running.remove(serving)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(cycles, [f"graph-{n}" for n in range(AT_ONCE)]))
    assert served.left() == []
    assert [path.name for path in served.temporary.rglob("*") if path.is_file()] == [".lock"]
    assert list(SHARED_MEMORY.glob(f"{mark.name}-*")) == []
    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


def test_two_graphs_side_by_side(served: Served) -> None:
    served.write(GRAPH)
    first = served.serve()
    first.wait_for_line("ready after")
    port = next(PORTS)
    others = ("--name", "other", "--Frontend.http-port", port, "--Worker.served-model-name", "other")
    refused = served.serve(*others)
    assert refused.wait() == 2
    assert re.search(
        r"error: the graph graph \(process \d+, .*graph.yaml\) runs in the same place: file .*, "
        r"namespace dynamo; each would take the other's workers for its own\n"
        r"  fix: give this graph a namespace of its own \(--Common.namespace NAME\), or --join to mean it",
        refused.output,
    )
    second = served.serve(*others, "--Common.discovery-path", served.folder / "elsewhere")
    second.wait_for_line("ready after")
    client = served.stack.client()
    assert [model.id for model in client.models.list()] == ["scripted"]
    client.base_url = f"http://127.0.0.1:{port}/v1"
    assert [model.id for model in client.models.list()] == ["other"]
    stopped = served.dynamo("stop", "--all")
    assert stopped.wait() == 0
    assert [first.wait(), second.wait()] == [0, 0]
    assert served.left() == []


@pytest.mark.parametrize("is_process_1", [False, True])
def test_orphans_of_a_crashed_process_end_before_its_next_life(served: Served, is_process_1: bool) -> None:
    mark = str(served.folder / "mark")
    served.component("orphaning.py", WORKING + ORPHANING.format(mark=mark))
    served.file.write_text("Part: {component: orphaning.py, model: m}\n")
    serving = in_a_container(served) if is_process_1 else served.serve()
    serving.wait_for_line("starting again")
    orphans = [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])]
    assert psutil.wait_procs(orphans, timeout=0.9)[1] == []  # the next life begins a second later
    serving.wait_for_line("second life")
    if is_process_1:
        process_1(serving).terminate()
        assert serving.wait() == 0
    else:
        assert serving.stop(signal.SIGTERM) == 0


def in_a_container(served: Served, before: str = "") -> Running:
    """`dynamo serve` as process 1 of a namespace, after some words of the shell that was it before."""
    inside = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not make a process namespace")
    script = f"{before}exec {DYNAMO} serve {served.file}"
    outer = Running([*inside, "bash", "-c", script], {"TMPDIR": str(served.temporary)})
    served.stack.running.append(outer)
    return outer


def process_1(outer: Running) -> psutil.Process:
    return psutil.Process(outer.pid).children()[0]


def test_as_process_1_of_a_container(served: Served) -> None:
    """Process 1 has no default for signals, and inherits the orphans of everybody."""
    served.component("crashing.py", WORKING + CRASHING)
    served.file.write_text("Part: {component: crashing.py, model: m}\n")
    mark = served.folder / "stranger"
    stranger = f"bash -c 'sleep 0.2 & exec -a {mark} sleep 600 &' & "
    outer = in_a_container(served, stranger)
    outer.wait_for_line("starting again")
    first = process_1(outer)
    assert any(str(mark) in words for words in commands_below(first)), "a stranger's process has been ended"
    wait_until(lambda: all(p.status() != psutil.STATUS_ZOMBIE for p in first.children()))
    first.terminate()
    assert outer.wait() == 0
    assert "SIGTERM" in outer.lines[-1]
    assert served.left() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 137), (signal.SIGINT, 0)])
def test_what_becomes_of_process_1(served: Served, number: signal.Signals, code: int) -> None:
    """It ends with the supervisor below it, which gets its signals."""
    served.component("short.py", SHORT.format(mark=served.folder / "shared"))
    served.file.write_text("Part: {component: short.py}\n")
    outer = in_a_container(served)
    outer.wait_for_line(r"\| up")
    first = process_1(outer)
    (first if code == 0 else child_of(first, "serve")).send_signal(number)
    assert outer.wait() == code
    served.wait_until_nothing_is_left()


def test_a_step_of_slurm_is_asked_to_end_as_a_whole(served: Served) -> None:
    """SLURM sends SIGCONT and SIGTERM to every process of the step at the same time."""
    served.write(GRAPH)
    serving = served.serve()
    serving.wait_for_line("ready after")
    step = [psutil.Process(serving.pid), *psutil.Process(serving.pid).children(recursive=True)]
    for process in step:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
    assert serving.wait() == 0, serving.output
    assert served.left() == []


def test_logs_on_a_full_disk(served: Served) -> None:
    """A limit on the size of files stands for the disk: a write fails in the same way, also half-way."""
    talker = (
        "import signal, time\n\nif __name__ == '__main__':\n"
        "    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "    for i in range(3000):\n        print(f'{i:05d}', 'x' * 94, flush=True)\n"
        "    print('all written', flush=True)\n    signal.sigwait([signal.SIGTERM])\n"
    )
    served.component("talker.py", talker)
    served.file.write_text("Talker: {component: talker.py}\n")
    folder = served.folder / "logs"
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "from dynamo_core.cli.main import main; main(sys.argv[1:])"
    )
    words = ["serve", str(served.file), "--log-dir", str(folder)]
    serving = Running([sys.executable, "-c", limited, *words], {"TMPDIR": str(served.temporary)})
    served.stack.running.append(serving)
    serving.wait_for_line(r"\| all written")
    complaints = [line for line in serving.lines if "cannot write" in line]
    named = [match[1] for line in complaints if (match := re.search(r"([\w-]+\.log)", line))]
    assert sorted(named) == ["Talker-0.log", "graph.log"]  # the first is full which gets more at a time
    assert serving.stop(signal.SIGINT) == 0
    assert len([line for line in serving.lines if re.search(r"\| \d{5} x{94}$", line)]) == 3000
    for name in ("Talker-0.log", "graph.log"):
        text = (folder / name).read_text()
        assert 0 < len(text) <= 100_000
        assert text.endswith("\n")
        assert all(
            re.fullmatch(r"((Talker/0|serve) \| )?(\d{5} x{94}|.*(talker|Talker).*)", line)
            or "ready after" in line
            for line in text.splitlines()
        )


def test_nobody_reads_for_a_while(served: Served) -> None:
    source = (
        "import signal, sys\n\nif __name__ == '__main__':\n    for i in range(60000):\n"
        "        print(f'{i:05d}', 'x' * 94)\n    sys.stdout.flush()\n    signal.sigwait([signal.SIGTERM])\n"
    )
    served.component("talker.py", source)
    served.file.write_text("Talker: {component: talker.py, replicas: 2}\n")
    command = [str(DYNAMO), "serve", str(served.file)]
    environ = {**os.environ, "TMPDIR": str(served.temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as serving:
        assert serving.stdout is not None
        status = served.dynamo("ps", "graph")  # answers although its own words are stuck
        while status.wait() != 0:
            status = served.dynamo("ps", "graph")
        numbers: dict[str, list[int]] = {"Talker/0": [], "Talker/1": []}
        for line in serving.stdout:
            if match := re.fullmatch(r"(Talker/\d) \| (\d{5}) x{94}\n", line):
                numbers[match[1]].append(int(match[2]))
                if all(len(found) == 60000 for found in numbers.values()):
                    serving.send_signal(signal.SIGTERM)
        assert serving.wait() == 0
    assert all(found == list(range(60000)) for found in numbers.values())


def test_a_reader_that_leaves_ends_the_graph(served: Served) -> None:
    served.write(GRAPH)
    command = f"TMPDIR={served.temporary} {DYNAMO} serve {served.file} | head -1"
    result = subprocess.run(
        ["bash", "-c", command],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.stdout.startswith("serve ")
    assert "Traceback" not in result.stderr
    served.wait_until_nothing_is_left()
