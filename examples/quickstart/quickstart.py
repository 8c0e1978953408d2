"""From nothing to an answer: makes a small real model, serves it, asks it one question.

python examples/quickstart/quickstart.py           # serves until Ctrl-C
python examples/quickstart/quickstart.py --once    # ends after the answer
"""

from __future__ import annotations

import argparse
import ctypes
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from smollm2 import make_model

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent.parent / ".cache" / "SmolLM2-135M-Instruct"
NAME = "SmolLM2-135M-Instruct"
QUESTION = "What is the capital of France?"
START_TIMEOUT = 900.0
ON_CPU = (
    "--Worker.enforce-eager",
    "--Worker.block-size=32",
    f"--Worker.kv-cache-memory-bytes={256 << 20}",
    "--Worker.dtype=float32",  # in bfloat16, what a model this small says depends on the processor
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--once", action="store_true", help="end after the answer")
    parser.add_argument("--http-port", type=int, default=8000)
    options = parser.parse_args(argv)

    make_model(MODEL, lambda line: print(line, flush=True))
    command = ["serve", str(HERE / "agg.yaml"), f"--Common.model={MODEL}"]
    command += [f"--Frontend.http-port={options.http_port}", *(() if has_nvidia_driver() else ON_CPU)]
    print("$ dynamo", *command, flush=True)
    server = subprocess.Popen([sys.executable, "-m", "dynamo_core.cli.main", *command])
    url = f"http://127.0.0.1:{options.http_port}"
    try:
        if not wait_until_healthy(url, server):
            return server.wait()
        body = {"model": NAME, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 32}
        print(f"\n{QUESTION}\n{ask(url, body)}\n\nAsk yourself:\n\n{curl(url, body)}\n", flush=True)
        if options.once:
            server.send_signal(signal.SIGINT)
            return server.wait(60)
        print("Serving until Ctrl-C.", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return server.wait(60)
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait(60)


def has_nvidia_driver() -> bool:
    """Whether vLLM's CUDA build was installed and can run."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def wait_until_healthy(url: str, server: subprocess.Popen[bytes]) -> bool:
    """Wait until a request would be answered; False if the server ended instead."""
    deadline = time.monotonic() + START_TIMEOUT
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def ask(url: str, body: dict[str, object]) -> str:
    """One chat request over the OpenAI API."""
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        data=json.dumps({**body, "temperature": 0}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        answer: str = json.load(response)["choices"][0]["message"]["content"]
    return answer


def curl(url: str, body: dict[str, object]) -> str:
    """The same request for a terminal."""
    return f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{json.dumps(body)}'"


if __name__ == "__main__":
    raise SystemExit(main())
