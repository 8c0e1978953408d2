"""How long things take to start: imports, help, and a cold frontend and mocker to their first answer.

    python benchmarks/startup.py [-n RUNS]

Prints the median of each figure, and its ratio to a bare interpreter run in the same session. In an
environment with an engine, its worker's help and configuration come too; next to them ai-dynamo's own
`python -m dynamo.vllm --help` if that is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from dynamo_core.ports import free_ports
from dynamo_core.testing.tiny_model import write_tiny_model

COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "import dynamo_core.runtime, dynamo_core.handlers": [
        "-c",
        "import dynamo_core.runtime, dynamo_core.handlers",
    ],
    "import dynamo_core.args": ["-c", "import dynamo_core.args"],
    "dynamo --help": ["-m", "dynamo_core.cli.main", "--help"],
    "dynamo-frontend --help": ["-m", "dynamo_frontend", "--help"],
    "dynamo-frontend --show-config": ["-m", "dynamo_frontend", "--show-config"],
    "dynamo-mocker-worker --help": ["-m", "dynamo_mocker.worker", "--help"],
}
WITH_ENGINE = {
    "vllm": {
        "dynamo-vllm-worker --help": ["-m", "dynamo_vllm.worker", "--help"],
        "dynamo-vllm-worker --show-config": ["-m", "dynamo_vllm.worker", "--model", "m", "--show-config"],
        "vllm serve --help": ["-m", "vllm.entrypoints.cli.main", "serve", "--help"],
        "ai-dynamo: python -m dynamo.vllm --help": ["-m", "dynamo.vllm", "--help"],
    },
    "sglang": {
        "dynamo-sglang-worker --help": ["-m", "dynamo_sglang.worker", "--help"],
        "dynamo-sglang-worker --show-config": ["-m", "dynamo_sglang.worker", "--model", "m", "--show-config"],
        "sglang.launch_server --help": ["-m", "sglang.launch_server", "--help"],
        "ai-dynamo: python -m dynamo.sglang --help": ["-m", "dynamo.sglang", "--help"],
    },
}
"""What is measured where an engine is installed, next to how its own users start it."""
MESSAGES = [{"role": "user", "content": "hi"}]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=7, metavar="RUNS", help="runs of each, default %(default)s")
    runs = parser.parse_args().n
    commands = COMMANDS | _that_run(
        {n: words for engine, more in WITH_ENGINE.items() if find_spec(engine) for n, words in more.items()}
    )
    figures = {name: median(runs, lambda words=words: run(words)) for name, words in commands.items()}
    figures["frontend and mocker, cold to first answer"] = median(runs, first_answer)
    base = figures["bare interpreter"]
    print(f"median of {runs} runs, in seconds, and as a multiple of a bare interpreter")
    for name, seconds in figures.items():
        print(f"  {name:<50} {seconds:7.3f}  {seconds / base:6.1f}")


def _that_run(commands: dict[str, list[str]]) -> dict[str, list[str]]:
    """Those that end well once; the others are named, so that no figure is missing in silence."""
    found = {}
    for name, words in commands.items():
        result = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        if result.returncode == 0:
            found[name] = words
        else:
            reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"not measured: {name}: {reason[:120]}")
    return found


def median(runs: int, measure: Callable[[], float]) -> float:
    measure()  # warm the disk cache
    return statistics.median(measure() for _ in range(runs))


def run(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_answer() -> float:
    """From starting both processes to the end of the first chat answer."""
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(Path(folder) / "model")
        port = next(free_ports())
        shared = ["--discovery-path", f"{folder}/discovery", "--log-level", "error"]
        commands = [
            ["-m", "dynamo_frontend", "--http-port", str(port), *shared],
            ["-m", "dynamo_mocker.worker", "--model", str(model), "--served-model-name", "mock", *shared],
        ]
        began = time.perf_counter()
        quiet = subprocess.DEVNULL
        running = [
            subprocess.Popen([sys.executable, *words], stdout=quiet, stderr=quiet) for words in commands
        ]
        try:
            wait_for_answer(port, "mock")
            return time.perf_counter() - began
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()


def wait_for_answer(port: int, model: str) -> None:
    """Ask until there is an answer, which is one token long."""
    body = json.dumps({"model": model, "messages": MESSAGES, "max_tokens": 1}).encode()
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    deadline = time.perf_counter() + 60
    while time.perf_counter() < deadline:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(request, timeout=10).read()
            return
        time.sleep(0.01)
    raise SystemExit("no answer within 60 s")


if __name__ == "__main__":
    main()
