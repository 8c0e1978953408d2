"""A graph that works: how it starts, what it prints, and that it ends as a whole."""

from __future__ import annotations

import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from serving import Served

from dynamo_core.testing.processes import Stack

GRAPH = """\
Frontend: {component: dynamo_frontend}
Worker: {component: dynamo_core.testing.scripted, served-model-name: scripted, replicas: 2, token-delay: 0.02}
"""
MESSAGES = [{"role": "user", "content": "hi"}]

STUBBORN = """\
import os, signal, sys, time

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"no\\n"))
    print("started", flush=True)
    while True:
        time.sleep(60)
"""
WITH_GRANDCHILD = """\
import signal, subprocess, sys

if __name__ == "__main__":
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf += "print('born', flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", deaf, __file__])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    child.wait()
"""


def ask(stack: Stack, count: int = 3) -> str:
    answer = stack.client().chat.completions.create(model="scripted", messages=MESSAGES, max_tokens=count)
    return answer.choices[0].message.content or ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_graph_from_start_to_end(served: Served, number: signal.Signals) -> None:
    """P01 (ai-dynamo #1721, #2149): the commands that a person would type are started and stopped as one."""
    served.write(GRAPH)
    serving = served.serve()
    ready = serving.wait_for_line(r"^serve +\| ready after \d+\.\d s (\S+)$")
    assert ready[1] == served.stack.url
    assert len(ask(served.stack)) == 3

    commands = [line.split(": ", 1) for line in serving.lines if re.match(r"serve +\| \w+/\d: ", line)]
    assert [name.split("| ")[1] for name, _ in commands] == ["Frontend/0", "Worker/0", "Worker/1"]
    running = {" ".join(process.cmdline()) for process in psutil.Process(serving.pid).children()}
    assert {line for line in running if "serve.guard" not in line} == {command for _, command in commands}

    assert serving.stop(number) == 0
    assert all(re.match(r"(Frontend/0|Worker/0  |Worker/1  |serve     ) \| ", line) for line in serving.lines)
    assert any(
        line.startswith("serve      | ") and "; stopping Frontend/0, Worker/0, Worker/1" in line
        for line in serving.lines
    )
    assert "Traceback" not in serving.output
    assert "\x1b" not in "".join(line for line in serving.lines if line.startswith("serve"))
    assert served.left() == []


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, True), (signal.SIGHUP, False)])
def test_signals_that_a_shell_has_switched_off(served: Served, number: signal.Signals, ends: bool) -> None:
    """A script's `&` ignores SIGINT, which may still be sent; nohup ignores SIGHUP and means it."""
    served.component("stubborn.py", STUBBORN)
    served.write("Part: {component: stubborn.py}\n")
    before = signal.signal(number, signal.SIG_IGN)
    try:
        serving = served.serve("--drain-timeout", "0")
    finally:
        signal.signal(number, before)
    serving.wait_for_line(r"\| started")
    serving.process.send_signal(number)
    if not ends:
        serving.process.send_signal(signal.SIGTERM)
    assert serving.wait() == 0
    assert f"{'Ctrl-C' if ends else 'SIGTERM'}; stopping Part/0" in serving.output


def test_streams_in_flight_end_by_themselves(served: Served) -> None:
    """P11 (ai-dynamo #13559, #10704)."""
    served.write(GRAPH)
    serving = served.serve()
    serving.wait_for_line("ready after")
    first = threading.Event()

    def stream() -> list[str]:
        chunks = served.stack.client().chat.completions.create(
            model="scripted", messages=MESSAGES, max_tokens=60, stream=True
        )
        words = []
        for chunk in chunks:
            first.set()
            words += [choice.delta.content or "" for choice in chunk.choices]
        return words

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream)
        assert first.wait(10)
        assert serving.stop(signal.SIGINT) == 0
        assert len("".join(answer.result())) == 60


def test_a_second_ctrl_c_kills_what_does_not_end(served: Served) -> None:
    served.component("stubborn.py", STUBBORN)
    served.write("Stubborn: {component: stubborn.py}\n")
    serving = served.serve()
    serving.wait_for_line(r"\| started")
    serving.process.send_signal(signal.SIGINT)
    serving.wait_for_line(r"\| no$")
    assert serving.process.poll() is None
    assert serving.stop(signal.SIGINT) == 0
    assert served.left() == []


def test_what_does_not_end_in_its_time_is_killed(served: Served) -> None:
    served.component("stubborn.py", STUBBORN)
    served.write("Stubborn: {component: stubborn.py}\n")
    serving = served.serve("--drain-timeout", "0")
    serving.wait_for_line(r"\| started")
    assert serving.stop(signal.SIGINT) == 0
    assert served.left() == []


def test_grandchildren_end_too(served: Served) -> None:
    served.component("parent.py", WITH_GRANDCHILD)
    served.write("Parent: {component: parent.py}\n")
    serving = served.serve()
    serving.wait_for_line(r"\| born")
    assert serving.stop(signal.SIGINT) == 0
    assert served.left() == []


def test_grandchildren_of_one_that_crashes_end_too(served: Served) -> None:
    served.component(
        "parent.py", WITH_GRANDCHILD.replace("child.wait()", "sys.stdin.close(); raise SystemExit(5)")
    )
    served.write("Parent: {component: parent.py}\n")
    assert served.serve().wait() == 5
    assert served.left() == []


def test_killing_the_supervisor_leaves_no_component(served: Served) -> None:
    served.write(GRAPH)
    serving = served.serve()
    serving.wait_for_line("ready after")
    serving.process.kill()
    served.wait_until_nothing_is_left()


DEAF = STUBBORN.replace(r'lambda *_: os.write(1, b"no\n")', "signal.SIG_IGN")


@pytest.mark.parametrize("source", [WITH_GRANDCHILD, DEAF], ids=["grandchild", "deaf"])
def test_killing_the_supervisor_leaves_nothing_at_all(served: Served, source: str) -> None:
    served.component("part.py", source)
    served.write("Part: {component: part.py}\n")
    serving = served.serve()
    serving.wait_for_line(r"\| (born|started)")
    serving.process.kill()
    served.wait_until_nothing_is_left()


def test_ready_comes_after_the_slowest(served: Served) -> None:
    """P08 (ai-dynamo #2296)."""
    served.write(f"{GRAPH}Slow: {{component: dynamo_core.testing.scripted, name: slow, start-delay: 1.5}}\n")
    serving = served.serve()
    ready = serving.wait_for_line(r"ready after (\d+\.\d) s")
    assert float(ready[1]) >= 1.5
    assert any("Slow/0" in line and "is ready" in line for line in serving.lines)


def test_the_ports_of_the_environment_are_the_ones_that_are_asked(served: Served) -> None:
    port = str(served.stack.port)
    served.file.write_text(
        f"Frontend:\n  component: dynamo_frontend\n  discovery-path: {served.stack.discovery}\n"
        f"Worker:\n  component: dynamo_core.testing.scripted\n  discovery-path: {served.stack.discovery}\n"
        f"  model: {served.stack.model}\n"
    )
    serving = served.serve("--start-timeout", 5, env={"DYN_HTTP_PORT": port})
    serving.wait_for_line("ready after")
    assert served.stack.healthy()


def test_long_and_odd_output_does_not_stop_it(served: Served) -> None:
    source = (
        "import sys\n\nif __name__ == '__main__':\n"
        "    sys.stdout.buffer.write(b'x' * 3_000_000 + b'\\n\\xff\\xfe\\nlast words')\n"
    )
    served.component("loud.py", source)
    served.write("Loud: {component: loud.py}\n")
    serving = served.serve()
    assert serving.wait() == 0
    assert "Loud/0 | last words" in serving.lines
    assert sum(len(line) for line in serving.lines if line.endswith("xxx")) > 3_000_000
    assert any(line.endswith("Loud/0 ended with exit code 0") for line in serving.lines)


def test_output_comes_while_it_is_written(served: Served) -> None:
    served.component("stubborn.py", STUBBORN)
    served.write("Part: {component: stubborn.py}\n")
    began = time.monotonic()
    served.serve().wait_for_line(r"^Part/0 \| started")
    assert time.monotonic() - began < 10
    for process in served.left():
        process.kill()
