"""What a person, or a program, sees of a graph while it runs."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyte
import pytest
from serving import DYNAMO, Served

from dynamo_core.cli.launch import MEGABYTE
from dynamo_core.deploy.process import Process
from dynamo_core.serve.director import Member, State
from dynamo_core.serve.table import render

GRAPH = """\
Frontend: {component: dynamo_frontend}
Worker: {component: dynamo_core.testing.scripted, served-model-name: scripted, replicas: 2}
"""


LOADING = """\
import pathlib, sys, time

from dynamo_core.testing.scripted import main, parser

if __name__ == "__main__":
    for percent in (0, 45):  # as vLLM and SGLang show it, tqdm's bar on a pipe
        sys.stderr.write(f"\\rLoading safetensors checkpoint shards: {{percent:3d}}% Completed | 1/2 [00:01")
        sys.stderr.flush()
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.01)
    sys.stderr.write("\\n")
    main()
"""


class Screen:
    """A terminal of 100 columns, and what a person sees on it."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self._screen = pyte.HistoryScreen(100, 40, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self._own, theirs = pty.openpty()
        self.process = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "COLUMNS": "100", "LINES": "40", "TERM": "xterm", **env},
            start_new_session=True,
        )
        os.close(theirs)

    @property
    def lines(self) -> list[str]:
        above = ["".join(line[x].data for x in range(100)) for line in self._screen.history.top]
        return [line.rstrip() for line in [*above, *self._screen.display] if line.strip()]

    def wait_for(self, what: Callable[[list[str]], bool], timeout: float = 20.0) -> list[str]:
        deadline = time.monotonic() + timeout
        while not what(self.lines):
            if time.monotonic() > deadline or not self._read(deadline - time.monotonic()):
                raise AssertionError("\n".join(self.lines))
        return self.lines

    def wait(self) -> int:
        while self._read(10.0):
            pass
        os.close(self._own)
        return self.process.wait(10)

    def _read(self, timeout: float) -> bool:
        if not select.select([self._own], [], [], max(0.0, timeout))[0]:
            return False
        try:
            data = os.read(self._own, 1 << 16)
        except OSError:
            return False
        self._stream.feed(data)
        return bool(data)


def screen_of(served: Served, *words: str, env: dict[str, str] | None = None) -> Screen:
    argv = [str(DYNAMO), "serve", str(served.file), *words]
    return Screen(argv, {"TMPDIR": str(served.temporary), **(env or {})})


def rows(lines: list[str]) -> list[str]:
    return [line for line in lines if re.match(r"(Frontend|Worker)/\d +–", line)]


def test_a_table_that_is_updated_in_place(served: Served) -> None:
    served.write(GRAPH)
    screen = screen_of(served, "--Worker.start-delay=1")
    starting = screen.wait_for(lambda lines: any("starting" in line for line in rows(lines)))
    assert [row.split()[0] for row in rows(starting)] == ["Frontend/0", "Worker/0", "Worker/1"]
    assert f"http {served.stack.port}" in rows(starting)[0]
    ready = screen.wait_for(lambda lines: all("ready" in row for row in rows(lines)) and bool(rows(lines)))
    screen.process.send_signal(signal.SIGINT)
    assert screen.wait() == 0
    end = screen.lines
    assert sum(line.startswith("component ") for line in end) == 1, "\n".join(end)
    assert len(rows(end)) == len(rows(ready)) == 3
    assert re.fullmatch(r"serve +\| stopped after \d\.\d s, exit code 0: Ctrl-C", end[-1])


def test_the_percent_of_loading_is_seen_while_it_loads(served: Served) -> None:
    go = served.folder / "go"
    served.component("loading.py", LOADING.format(go=str(go)))
    keys = f"model: {served.stack.model}, discovery-path: {served.stack.discovery}"
    served.file.write_text(f"Worker: {{component: loading.py, {keys}}}\n")
    screen = screen_of(served)
    screen.wait_for(lambda lines: any("loading 45 %" in row for row in rows(lines)))
    go.touch()
    screen.wait_for(lambda lines: any("ready " in row for row in rows(lines)))
    screen.process.send_signal(signal.SIGINT)
    assert screen.wait() == 0
    assert not any("loading 45 %" in line for line in screen.lines)
    assert sum("Loading safetensors" in line for line in screen.lines) == 1


def test_progress_of_loading_and_more_processes_than_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 10)))
    members = [Member(Process(f"Worker/{i}", ("w",), ready_url="http://w")) for i in range(30)]
    for member in members:
        member.enter(State.STARTING if member.name.endswith("9") else State.READY, 100.0)
    partial = {"Worker/9": "Loading shards:  45% Completed | 2/4"}
    text = render(members, 101.0, colour=False, progress=lambda name: partial.get(name, ""))
    assert [line.split()[0] for line in text.splitlines()] == [
        *("component", "─" * len(text.splitlines()[1]), "Worker/9", "Worker/19", "Worker/29", "and")
    ]
    assert re.search(r"Worker/9 .* loading 45 % +1.0 s", text)
    assert text.endswith("and 27 more\n")


@pytest.mark.parametrize(("env", "colour"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours(served: Served, env: dict[str, str], colour: bool) -> None:
    served.component("part.py", "if __name__ == '__main__':\n    print('hello')\n")
    served.file.write_text("Part: {component: part.py}\n")
    own, theirs = pty.openpty()
    subprocess.run(
        [str(DYNAMO), "serve", str(served.file)],
        stdin=theirs,
        stdout=theirs,
        env={**os.environ, "TMPDIR": str(served.temporary), "TERM": "xterm", **env},
        check=True,
        timeout=20,
    )
    os.close(theirs)
    assert (b"\x1b[36mPart/0 |" in os.read(own, 1 << 16)) is colour
    os.close(own)


def test_json_lines_of_everything(served: Served) -> None:
    """P17 (ai-dynamo #587, #1422)."""
    served.write(GRAPH)
    serving = served.serve("--log-format", "json")
    serving.wait_for_line("ready after")
    assert serving.stop(signal.SIGINT) == 0
    entries = [json.loads(line) for line in serving.lines]
    ready = [entry for entry in entries if entry["message"].endswith("generate is ready")]
    assert [(entry["component"], entry["level"]) for entry in ready] == [("Worker", "INFO")] * 2
    assert sorted(entry["replica"] for entry in ready) == [0, 1]
    assert entries[-1]["component"] == "serve"
    assert entries[-1]["message"].endswith("exit code 0: Ctrl-C")


def test_one_log_level_for_all(served: Served) -> None:
    """P17 (ai-dynamo #692, #6566, #6606)."""
    served.write(GRAPH)
    serving = served.serve("--log-level", "error")
    serving.wait_for_line("ready after")
    assert serving.stop(signal.SIGINT) == 0
    assert all(line.startswith("serve") for line in serving.lines), serving.output


def test_logs_in_files(served: Served) -> None:
    served.write(GRAPH)
    folder = served.folder / "logs"
    serving = served.serve("--log-dir", folder)
    serving.wait_for_line("ready after")
    assert serving.stop(signal.SIGINT) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        *("Frontend-0.log", "Worker-0.log", "Worker-1.log", "graph.log", "serve.log")
    ]
    shown = [re.sub(r" +\| ", " | ", line, count=1) for line in serving.lines]
    assert (folder / "graph.log").read_text().splitlines() == shown
    alone = (folder / "Worker-1.log").read_text().splitlines()
    assert alone == [line.removeprefix("Worker/1 | ") for line in shown if line.startswith("Worker/1 | ")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


@pytest.mark.parametrize(("kept", "is_all"), [(9, True), (2, False)])
def test_log_files_are_rotated(served: Served, kept: int, is_all: bool) -> None:
    count = 25_000
    source = (
        f"import signal\n\nif __name__ == '__main__':\n    for i in range({count}):\n"
        "        print(f'{i:05d}', 'x' * 94)\n    print('all written', flush=True)\n"
        "    signal.sigwait([signal.SIGTERM])\n"
    )
    served.component("talker.py", source)
    served.file.write_text("Talker: {component: talker.py}\n")
    folder = served.folder / "logs"
    serving = served.serve("--log-dir", folder, "--log-size", 1, "--log-files", kept)
    serving.wait_for_line(r"\| all written")
    assert serving.stop(signal.SIGINT) == 0
    for name in ("Talker-0.log", "graph.log"):
        files = sorted(
            folder.glob(f"{name}*"), key=lambda path: int(f"0{path.suffix[1:]}".replace("0log", "0"))
        )
        assert len(files) == (3 if is_all else 2), files
        assert all(0 < file.stat().st_size <= MEGABYTE for file in files)
        text = "".join(file.read_text() for file in reversed(files))
        numbers = [
            int(number) for number in re.findall(r"^(?:Talker/0 \| )?(\d{5}) x{94}$", text, re.MULTILINE)
        ]
        assert numbers == list(range(0 if is_all else numbers[0], count))


def test_a_log_folder_that_cannot_be(served: Served) -> None:
    served.write(GRAPH)
    (served.folder / "file").write_text("")
    serving = served.serve("--log-dir", served.folder / "file")
    assert serving.wait() == 2
    assert serving.lines[0].startswith("dynamo serve: error: --log-dir: cannot write to ")
    assert served.left() == []


def test_the_end_is_summed_up(served: Served) -> None:
    served.write(GRAPH)
    serving = served.serve("--restart-limit", 0)
    serving.wait_for_line("ready after")
    status = next(re.search(r"--status-port (\d+)", line) for line in serving.lines if "Worker/1:" in line)
    assert status
    victim = next(p for p in psutil.Process(serving.pid).children() if status[1] in p.cmdline())
    victim.kill()
    assert serving.wait() == 1
    assert re.fullmatch(
        r"serve +\| stopped after \d+\.\d s, exit code 1: Worker/1 ended by SIGKILL; its last words: .*; "
        r"given up after 0 restarts within 300 s",
        serving.lines[-1],
    )
    assert re.fullmatch(r"serve +\| Worker/1 ended by SIGKILL", serving.lines[-2])


def test_the_plan_as_json(served: Served) -> None:
    served.write(GRAPH)
    run = served.serve("--dry-run=json", "--Worker.env={HF_TOKEN: hunter2, A: b}")
    assert run.wait() == 0, run.output
    plan = json.loads(run.output)
    assert [process["name"] for process in plan["processes"]] == ["Frontend/0", "Worker/0", "Worker/1"]
    worker = plan["processes"][1]
    assert worker["env"] == {"A": "b"}
    assert worker["secrets"] == ["HF_TOKEN"]
    assert worker["ports"].keys() == {"status-port"}
    assert "hunter2" not in run.output
    assert Path(worker["argv"][0]).exists()
