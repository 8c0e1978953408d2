"""The graphs that this user runs on this machine, each with a folder that others find it by.

/tmp/dynamo-1000-graphs/
  agg/
    graph.json    what it is
    alive         locked as long as its supervisor lives, and no longer
    control       the socket of `dynamo stop` and its like
    logs/         of a graph in the background, kept until the next one of its name
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dynamo_core.deploy.checks import GLOBAL_NAMESPACE
from dynamo_core.deploy.deployment import NAME
from dynamo_core.deploy.process import Plan
from dynamo_core.errors import UserError
from dynamo_core.runtime.distributed import private_folder

LOGS = "logs"
CONTROL = "control"
_ALIVE = "alive"
_RECORD = "graph.json"


@dataclass(frozen=True)
class GraphRecord:
    """One graph, as its supervisor has written it down."""

    name: str
    pid: int
    source: str
    started: float
    """Seconds since 1970."""
    meeting_points: tuple[tuple[str, str], ...]
    """Where its components are found, with the namespaces there."""
    log_dir: str = ""
    gpus: tuple[str, ...] = ()
    """The devices of its processes, under the names of `Gpu.name`."""

    @property
    def folder(self) -> Path:
        return graphs_folder() / self.name


def graphs_folder() -> Path:
    """The folder of all graphs of this user."""
    return Path(tempfile.gettempdir()) / f"dynamo-{os.getuid()}-graphs"


def graphs_root() -> Path:
    """The same, made if it is not there, and nobody else's. Raises `UserError`."""
    root = graphs_folder()
    private_folder(root, "folder of running graphs", "set TMPDIR to another folder")
    return root


def graph_folders() -> list[Path]:
    """Those of graphs that run or have left something, by name. Raises `UserError` if anybody else could
    have put them there."""
    return sorted(graphs_root().iterdir()) if graphs_folder().is_dir() else []


def running_graphs() -> list[GraphRecord]:
    """The graphs whose supervisors live, in the order of their names. Raises `UserError`."""
    folders = graph_folders()
    return [record for folder in folders if is_alive(folder) and (record := _read(folder))]


def find_graph(name: str | None) -> GraphRecord:
    """The running graph of that name, or the only one. Raises `UserError`."""
    graphs = {graph.name: graph for graph in running_graphs()}
    if name is None and len(graphs) == 1:
        return next(iter(graphs.values()))
    if name in graphs:
        return graphs[name]
    there = f"running are {', '.join(graphs)}" if graphs else "none is running"
    if name is None:
        raise UserError(f"no graph is named, and {there}", fix="name one" if graphs else "dynamo serve FILE")
    raise UserError(f"there is no running graph {name!r}; {there}")


def free_name(wanted: str) -> str:
    """`wanted`, or that with the first number that no running graph has."""
    taken = {graph.name for graph in running_graphs()}
    names = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def check_graph_name(name: str) -> str:
    """Raise `UserError` for what can be no folder's name."""
    if not NAME.fullmatch(name):
        raise UserError(f"--name {name!r} is not a name: letters, digits, '-' and '_' only")
    return name


@contextlib.contextmanager
def registered(name: str, plan: Plan, *, log_dir: str, join: bool) -> Iterator[GraphRecord]:
    """Stand in the register until the end of the block, or of this process.

    Raises `UserError` if a graph of that name runs already, or, unless `join`, if one runs that
    would meet this one: each would take the other's workers for its own.
    """
    root = graphs_root()
    source = str(Path(plan.source).resolve()) if Path(plan.source).exists() else plan.source
    gpus = tuple(dict.fromkeys(gpu for process in plan.processes for gpu in process.gpus))
    record = GraphRecord(name, os.getpid(), source, time.time(), plan.meeting_points, log_dir, gpus)
    with locked(root / ".lock"):
        _check_others(record, running_graphs(), join=join)
        _clear_dead(root)
        alive = _claim(record)
    try:
        yield record
    finally:
        with locked(root / ".lock"):
            _clear(record.folder)
            os.close(alive)
            with contextlib.suppress(OSError):
                record.folder.rmdir()
            errors = errors_file(record.name)
            if errors.exists() and not errors.stat().st_size:
                errors.unlink()


def errors_file(name: str) -> Path:
    """Where a supervisor in the background writes what it cannot log."""
    return graphs_folder() / f"{name}.err"


def is_alive(folder: Path) -> bool:
    """Whether a supervisor holds this folder."""
    try:
        with (folder / _ALIVE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _check_others(mine: GraphRecord, others: list[GraphRecord], *, join: bool) -> None:
    for other in others:
        if other.name == mine.name:
            raise UserError(
                f"a graph {mine.name} runs already: process {other.pid}, {other.source}",
                fix=f"dynamo stop {mine.name}, or give this one another --name",
            )
        if not join and (where := _shared(mine, other)):
            raise UserError(
                f"the graph {other.name} (process {other.pid}, {other.source}) runs in {where}; "
                "each would take the other's workers for its own",
                fix="give this graph a namespace of its own (--Common.namespace NAME), or --join to mean it",
            )


def _shared(mine: GraphRecord, other: GraphRecord) -> str:
    for where, namespace in mine.meeting_points:
        for there, theirs in other.meeting_points:
            if where == there and (namespace == theirs or GLOBAL_NAMESPACE in (namespace, theirs)):
                return f"the same place: {where}, namespace {theirs}"
    return ""


def _claim(record: GraphRecord) -> int:
    """Take the folder of a graph; returns the descriptor whose lock says that it is in use."""
    _clear(record.folder)
    if not record.log_dir.startswith(str(record.folder)):
        shutil.rmtree(record.folder / LOGS, ignore_errors=True)
    record.folder.mkdir(mode=0o700, exist_ok=True)
    alive = os.open(record.folder / _ALIVE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)
    partial = record.folder / f".{_RECORD}"
    partial.write_text(json.dumps(asdict(record)))
    partial.replace(record.folder / _RECORD)
    return alive


def _clear_dead(root: Path) -> None:
    """Remove what killed supervisors have left, but for their logs."""
    for folder in root.iterdir():
        if folder.is_dir() and not is_alive(folder):
            _clear(folder)
            with contextlib.suppress(OSError):
                folder.rmdir()


def _clear(folder: Path) -> None:
    for name in (_RECORD, f".{_RECORD}", CONTROL, _ALIVE):
        (folder / name).unlink(missing_ok=True)


def _read(folder: Path) -> GraphRecord | None:
    try:
        data = json.loads((folder / _RECORD).read_text())
        points = tuple((where, namespace) for where, namespace in data["meeting_points"])
        return GraphRecord(**data | {"meeting_points": points, "gpus": tuple(data.get("gpus", ()))})
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process that has this file until the end of the block; wait for one that has it."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
