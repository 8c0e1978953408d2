"""`dynamo logs [NAME] [PROCESS]`: what the processes of a graph have written."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from dynamo_core.cli.parser import CommandParser
from dynamo_core.errors import UserError
from dynamo_core.printing import emit
from dynamo_core.serve.log_folder import EVERYTHING
from dynamo_core.serve.registry import LOGS, find_graph, graph_folders, is_alive

INTERVAL = 0.1


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo logs",
        "Print what the processes of a graph have written: of one in the background, or with --log-dir. The "
        "logs of one in the background stay after its end, until the next one of its name starts.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the graph; dynamo ps lists them")
    parser.add_argument("process", nargs="?", metavar="PROCESS", help="Worker or Worker/1; all if left out")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written later")
    parser.add_argument(
        "-n", "--lines", type=int, default=100, metavar="N", help="the last N lines; default %(default)s"
    )
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    options = build_parser().parse_args(argv)
    folder, logs = _find(options.name)
    path, section = _choose(logs, options.process or "", folder.name)
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in deque(_of_section(file, section), maxlen=max(0, options.lines)):
            emit(line.rstrip("\n"))
        if options.follow:
            for text in _follow(path, file, folder):
                for line in _of_section(text.splitlines(), section):
                    emit(line)
    return 0


def _choose(logs: Path, wanted: str, graph: str) -> tuple[Path, str]:
    """The file of a process, or that of all with the section whose lines are wanted. Raises `UserError`."""
    path = logs / (f"{wanted.replace('/', '-')}.log" if wanted else EVERYTHING)
    if path.is_file():
        return path, ""
    there = {p.stem for p in logs.glob("*.log") if p.name != EVERYTHING}
    if any(re.fullmatch(rf"{re.escape(wanted)}-\d+", name) for name in there if wanted):
        return logs / EVERYTHING, wanted
    names = ", ".join(sorted(re.sub(r"-(\d+)$", r"/\1", name) for name in there))
    raise UserError(f"there is no log of {wanted or graph}", fix=f"there are {names}" if there else "")


def _of_section(lines: Iterable[str], section: str) -> Iterator[str]:
    """The lines of all replicas of a section, or all if none is named."""
    return (line for line in lines if not section or line.startswith(f"{section}/"))


def _find(name: str | None) -> tuple[Path, Path]:
    """The folder of a graph, running or not, and that of its logs. Raises `UserError`."""
    ended = next((folder for folder in graph_folders() if folder.name == name), None)
    if ended and not is_alive(ended) and (ended / LOGS).is_dir():
        return ended, ended / LOGS
    graph = find_graph(name)
    if not graph.log_dir:
        raise UserError(
            f"{graph.name} writes to its own terminal (process {graph.pid})",
            fix="start it with --log-dir or --detach to have its logs in files",
        )
    return graph.folder, Path(graph.log_dir)


def _follow(path: Path, file: TextIO, folder: Path) -> Iterator[str]:
    """What is added to a file, also after it was rotated, until its graph has ended."""
    while True:
        alive = is_alive(folder)
        if text := file.read():
            yield text
        elif path.exists() and path.stat().st_ino != _inode(file):
            with path.open(encoding="utf-8", errors="replace") as successor:
                yield from _follow(path, successor, folder)
            return
        elif not alive:
            return
        else:
            time.sleep(INTERVAL)


def _inode(file: TextIO) -> int:
    return os.fstat(file.fileno()).st_ino
