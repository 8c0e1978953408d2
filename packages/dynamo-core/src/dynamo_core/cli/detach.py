"""`--detach`: a supervisor in the background, and what it says until its graph is ready."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dynamo_core.errors import UserError
from dynamo_core.printing import emit
from dynamo_core.serve.control import ask
from dynamo_core.serve.registry import LOGS, GraphRecord, errors_file, graphs_root, running_graphs
from dynamo_core.serve.supervisor import OURS

INTERVAL = 0.1
STOPPING = 60.0
"""Seconds that a graph gets to end when its start is interrupted."""


def detach(command: str, argv: Sequence[str], name: str, log_dir: Path | None) -> int:
    """Start the same command in the background under `name`, and wait until its graph is ready.

    Returns 0 then, or the exit code of the supervisor if it ends before. Ctrl-C stops the graph.
    """
    root = graphs_root()
    if any(graph.name == name for graph in running_graphs()):
        raise UserError(f"a graph {name} runs already", fix=f"dynamo stop {name}, or give another --name")
    logs = log_dir or root / name / LOGS
    errors = errors_file(name)
    words = [word for word in argv if word != "--detach"]
    supervisor = _start([command, *words, "--background", "--name", name], errors)
    try:
        return _wait(supervisor, name, logs, errors)
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait(STOPPING)
        raise


def _start(words: Sequence[str], errors: Path) -> subprocess.Popen[bytes]:
    descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "dynamo_core.cli.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _wait(supervisor: subprocess.Popen[bytes], name: str, logs: Path, errors: Path) -> int:
    said = _Tail(logs / f"{OURS}.log")
    while True:
        code = supervisor.poll()
        graph = next((g for g in running_graphs() if g.pid == supervisor.pid), None)
        if graph is not None or code is not None:
            said.print_news()
        if code is not None:
            if errors.exists():
                sys.stderr.write(errors.read_text(errors="replace"))
                errors.unlink()
            return code
        if graph is not None and _is_ready(graph):
            said.print_news()
            emit(f"{name} runs in the background: dynamo logs {name}, dynamo stop {name}")
            return 0
        time.sleep(INTERVAL)


def _is_ready(graph: GraphRecord) -> bool:
    try:
        return bool(ask(graph, do="status")["ready"])
    except UserError:  # its socket comes and goes with it; its end is seen by the caller
        return False


class _Tail:
    """Prints what is added to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0

    def print_news(self) -> None:
        if self._path.exists():
            with self._path.open(encoding="utf-8", errors="replace") as file:
                file.seek(self._position)
                if news := file.read():
                    emit(news.rstrip("\n"))
                self._position = file.tell()
