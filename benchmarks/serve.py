"""What `dynamo serve` costs over the same commands started by hand.

    python benchmarks/serve.py [-n RUNS]

Prints the time to the first answer of a frontend and a mocker both ways, in turns; then the supervisor's
memory, its CPU while nothing happens, and its CPU while eight children write 1,000 lines a second each,
with the lines that were lost or torn.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from lib.processes import answers

from dynamo_core.ports import free_ports
from dynamo_core.testing.tiny_model import write_tiny_model

DYNAMO = [sys.executable, "-m", "dynamo_core.cli.main"]
IDLE = 20.0
LOGGING = 15.0
START_LIMIT = 60.0
CHILDREN = 8
RATE = 1000
TALKER = """\
import sys, time

if __name__ == "__main__":
    began, line = time.monotonic(), 0
    while time.monotonic() - began < {seconds}:
        due = int((time.monotonic() - began) * {rate})
        while line < due:
            sys.stdout.write(f"{{line:08d}} " + "x" * 91 + "\\n")
            sys.stdout.flush()
            line += 1
        time.sleep(0.001)
    print("lines", line, flush=True)
    time.sleep(3600)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=5, metavar="RUNS")
    runs = parser.parse_args().n
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TMPDIR"] = name
        model = write_tiny_model(folder / "tiny")
        by_hand, served = [], []
        for _ in range(runs):
            by_hand.append(first_answer(folder, model, serve=False))
            served.append(first_answer(folder, model, serve=True))
        hand, serve = statistics.median(by_hand), statistics.median(served)
        print(f"first answer, two commands by hand   {hand:6.2f} s   median of {runs}")
        print(f"first answer, dynamo serve           {serve:6.2f} s   {serve - hand:+.2f} s")
        idle(folder, model)
        logging(folder)


def commands(folder: Path, model: Path, port: int) -> list[list[str]]:
    common = ["--discovery-path", str(folder / f"discovery-{port}")]
    frontend = [sys.executable, "-m", "dynamo_frontend", "--http-port", str(port), *common]
    return [frontend, [sys.executable, "-m", "dynamo_mocker.worker", "--model", str(model), *common]]


def graph(folder: Path, model: Path, port: int) -> Path:
    file = folder / "graph.yaml"
    file.write_text(
        f"Common: {{model: {model}, discovery-path: {folder / f'discovery-{port}'}}}\n"
        f"Frontend: {{component: dynamo_frontend, http-port: {port}}}\n"
        "Worker: {component: dynamo_mocker.worker}\n"
    )
    return file


@contextmanager
def running(*lines: list[str], output: int = subprocess.DEVNULL) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes = [subprocess.Popen(line, stdout=output, stderr=subprocess.DEVNULL) for line in lines]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def first_answer(folder: Path, model: Path, *, serve: bool) -> float:
    port = next(free_ports())
    lines = [[*DYNAMO, "serve", str(graph(folder, model, port))]] if serve else commands(folder, model, port)
    began = time.perf_counter()
    with running(*lines):
        wait_for_answer(port, str(model))
        return time.perf_counter() - began


def wait_for_answer(port: int, model: str) -> None:
    deadline = time.perf_counter() + START_LIMIT
    while not answers(port, model):
        if time.perf_counter() > deadline:
            raise SystemExit(f"no answer on port {port} within {START_LIMIT:g} s")
        time.sleep(0.01)


def idle(folder: Path, model: Path) -> None:
    port = next(free_ports())
    with running([*DYNAMO, "serve", str(graph(folder, model, port))]) as (supervisor,):
        wait_for_answer(port, str(model))
        process = psutil.Process(supervisor.pid)
        guard = next(child for child in process.children() if "dynamo_core.serve.guard" in child.cmdline())
        used = cpu(process, IDLE)
        print(f"supervisor's memory                  {process.memory_info().rss / 2**20:6.1f} MB")
        print(f"its guard's memory                   {guard.memory_info().rss / 2**20:6.1f} MB")
        print(f"supervisor's CPU, idle               {used:6.2f} % of a core over {IDLE:g} s")


def logging(folder: Path) -> None:
    (folder / "talker.py").write_text(TALKER.format(seconds=LOGGING + 2, rate=RATE))
    file = folder / "talk.yaml"
    file.write_text(f"Talker: {{component: talker.py, replicas: {CHILDREN}}}\n")
    with (
        (folder / "out").open("wb") as output,
        running([*DYNAMO, "serve", str(file)], output=output.fileno()) as (supervisor,),
    ):
        while not (folder / "out").read_bytes().count(b" 00000500 "):
            time.sleep(0.05)
        used = cpu(psutil.Process(supervisor.pid), LOGGING - 2)
        while len(totals(folder / "out")) < CHILDREN:
            time.sleep(0.1)
    seen = re.findall(r"^Talker/\d +\| (\d{8}) x{91}$", (folder / "out").read_text(), re.MULTILINE)
    wanted = sum(totals(folder / "out"))
    print(f"supervisor's CPU, {CHILDREN} x {RATE} lines/s    {used:6.2f} % of a core over {LOGGING - 2:g} s")
    print(f"lines lost or torn                   {wanted - len(seen):6d}   of {wanted}")


def totals(output: Path) -> list[int]:
    return [int(count) for count in re.findall(r"\| lines (\d+)$", output.read_text(), re.MULTILINE)]


def cpu(process: psutil.Process, seconds: float) -> float:
    """Percent of a core that a process takes."""
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return 100 * (after.user + after.system - before.user - before.system) / seconds


if __name__ == "__main__":
    main()
