"""A graph that does not work: one clear message, an exit code, nothing left running."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from pathlib import Path

import openai
import pytest
from serving import DYNAMO, Served

GRAPH = """\
Frontend: {component: dynamo_frontend}
Worker: {component: dynamo_core.testing.scripted, served-model-name: scripted}
"""
WAITING = "import time\n\nif __name__ == '__main__':\n    print('waiting', flush=True)\n    time.sleep(600)\n"
LEAVING = """\
import sys

if __name__ == "__main__":
    print("the last words", flush=True)
    sys.exit({code})
"""


def serve_said(serving_lines: list[str], text: str) -> bool:
    return any(line.startswith("serve ") and text in line for line in serving_lines)


def test_one_that_ends_while_it_starts(served: Served) -> None:
    served.component("leaving.py", LEAVING.format(code=7))
    served.component("waiting.py", WAITING)
    served.write("Waiting: {component: waiting.py}\nLeaving: {component: leaving.py}\n")
    serving = served.serve()
    assert serving.wait() == 7
    assert serve_said(serving.lines, "Leaving/0 ended with exit code 7; its last words: the last words")
    assert served.left() == []


def test_a_worker_that_cannot_start_stops_all(served: Served) -> None:
    served.write(
        GRAPH
        + "Failing: {component: dynamo_core.testing.scripted, name: failing, fail-start: no such weights}\n"
    )
    serving = served.serve()
    assert serving.wait() == 2
    assert serve_said(
        serving.lines, "Failing/0 ended with exit code 2; its last words: error: no such weights"
    )
    assert not serve_said(serving.lines, "ready after")
    assert served.left() == []


def test_one_that_ends_well_ends_the_graph(served: Served) -> None:
    served.component("leaving.py", LEAVING.format(code=0))
    served.component("waiting.py", WAITING)
    served.write("Waiting: {component: waiting.py}\nLeaving: {component: leaving.py}\n")
    assert served.serve().wait() == 0
    assert served.left() == []


@pytest.mark.parametrize(
    ("flag", "code", "verdict"),
    [
        (
            "die-after",
            1,
            "Worker/0 ended with exit code 1; its last words: error: ScriptedError: told to die",
        ),
        ("kill-after", 1, "Worker/0 ended by SIGKILL; its last words: "),
    ],
)
def test_one_that_crashes_later(served: Served, flag: str, code: int, verdict: str) -> None:
    """P12 (ai-dynamo #1772, #2698)."""
    served.write(GRAPH.replace("served-model-name: scripted", f"served-model-name: scripted, {flag}: 2"))
    serving = served.serve("--restart", "never")
    serving.wait_for_line("ready after")
    stream = served.stack.client().chat.completions.with_raw_response
    answer = None
    with contextlib.suppress(openai.APIError):  # the worker may be gone before the answer begins
        answer = stream.create(
            model="scripted", messages=[{"role": "user", "content": "hi"}], max_tokens=9, stream=True
        )
    assert serving.wait() == code
    if answer is not None:
        answer.http_response.close()
    assert serve_said(serving.lines, verdict)
    assert served.left() == []


def test_a_start_that_takes_too_long(served: Served) -> None:
    served.write(GRAPH.replace("served-model-name: scripted", "start-delay: 600"))
    serving = served.serve("--start-timeout", 1.5)
    assert serving.wait() == 1
    assert serve_said(serving.lines, "not ready after 1.5 s: Frontend/0, Worker/0; stopping")
    assert served.left() == []


def test_a_port_in_use_names_its_holder(served: Served) -> None:
    """P03 (ai-dynamo #7366, NVIDIA/cloudai #771)."""
    served.write(GRAPH)
    with socket.create_server(("127.0.0.1", served.stack.port)):
        serving = served.serve()
        assert serving.wait() == 2
    serving.wait_for_line(rf"error: port {served.stack.port} is in use by \S+ \(process \d+, user \S+\)")
    serving.wait_for_line("  fix: stop that process, or choose another --Frontend.http-port")
    assert "Traceback" not in serving.output
    assert served.left() == []


def test_somebody_elses_answer_on_the_port_is_not_ours(served: Served) -> None:
    served.stack.frontend()
    served.stack.scripted()
    served.stack.wait_ready()
    served.write("Frontend: {component: dynamo_frontend}\n")
    serving = served.serve()
    assert serving.wait() == 2
    assert not serve_said(serving.lines, "ready after")


def test_ctrl_c_while_the_components_are_asked(served: Served) -> None:
    """Importing a component can take long; nothing has been started by then."""
    mark = served.folder / "asked"
    source = f"import pathlib, time\npathlib.Path({str(mark)!r}).touch()\ntime.sleep(60)\n"
    served.component("slow.py", source)
    served.write("Slow: {component: slow.py}\n")
    serving = served.serve()
    while not mark.exists():
        assert serving.process.poll() is None
    serving.stop(signal.SIGINT)
    assert "Traceback" not in serving.output
    assert served.left() == []


@pytest.mark.parametrize(
    ("text", "words", "problem"),
    [
        ("Worker: [\n", (), "{file}:2: not valid YAML: expected the node content, but found '<stream end>'"),
        (
            "Worker: {component: w}\nWorker: {component: v}\n",
            (),
            "{file}:2: 'Worker' is given twice, first on line 1",
        ),
        (
            "Worker: {component: w}\n",
            ("--Wrker.x=1",),
            "--Wrker.x=1: no section 'Wrker'; did you mean Worker?",
        ),
        ("Worker: {component: no_such_part}\n", (), "Worker: cannot import no_such_part in "),
        ("Worker: {component: absent.py}\n", (), "Worker: cannot import {folder}/absent.py in "),
        (
            "Worker: {component: w, python: absent/python}\n",
            (),
            "Worker: cannot run {folder}/absent/python: No such",
        ),
        (
            "Frontend: {component: dynamo_frontend, http-prt: 1}\n",
            (),
            "Frontend: {file}:1: unknown key 'http-prt'; did",
        ),
        ("", (), "{file}: the file names no component"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    served: Served, text: str, words: tuple[str, ...], problem: str
) -> None:
    served.file.write_text(text)
    serving = served.serve(*words)
    assert serving.wait() == 2
    expected = problem.format(file=served.file, folder=served.folder)
    assert serving.lines[0].startswith(f"dynamo serve: error: {expected}")
    assert "Traceback" not in serving.output
    assert served.left() == []


def test_a_mistake_in_a_value_is_told_before_anything_starts(served: Served) -> None:
    served.write(GRAPH.replace("dynamo_frontend}", "dynamo_frontend, router-mode: fastest}"))
    serving = served.serve()
    assert serving.wait() == 2
    assert "router-mode: input should be" in serving.output
    assert "Traceback" not in serving.output
    assert served.left() == []


def call(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(DYNAMO), *map(str, words)], capture_output=True, text=True, timeout=20, check=False
    )


def test_a_missing_file(tmp_path: Path) -> None:
    result = call("serve", tmp_path / "absent.yaml")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"dynamo serve: error: cannot read {tmp_path / 'absent.yaml'}: No such file or directory\n"
        "  fix: check the path and its permissions\n"
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("serve",), "dynamo serve: error: the following arguments are required: GRAPH"),
        (
            ("serve", "g.yaml", "--start-timeout", "soon"),
            "dynamo serve: error: argument --start-timeout: invalid seconds",
        ),
        (("srve",), "dynamo: error: unknown command 'srve'\n  fix: did you mean serve?"),
    ],
)
def test_a_mistaken_command(words: tuple[str, ...], problem: str) -> None:
    result = call(*words)
    assert result.returncode == 2
    assert result.stderr.startswith(problem)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("words", [(), ("--help",), ("serve", "--help"), ("--version",)])
def test_help_and_version(words: tuple[str, ...]) -> None:
    result = call(*words)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(("usage: dynamo", "dynamo "))
