"""`dynamo deploy GRAPH`: apply a graph to a Kubernetes cluster, after showing what changes."""

from __future__ import annotations

import argparse
import difflib
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import yaml

from dynamo_core.cli.parser import OVERRIDES, CommandParser
from dynamo_core.cli.render import add_name, name_of, render
from dynamo_core.cli.serve import add_graph
from dynamo_core.deploy.graph import read_graph, split_overrides
from dynamo_core.errors import UserError
from dynamo_core.printing import emit, visible
from dynamo_core.targets import Files, Target, find_target
from dynamo_core.targets.cluster import FORBIDDEN, Cluster, Refused
from dynamo_core.targets.kubernetes import GRAPH, MANAGED_BY
from dynamo_core.targets.pods import Object
from dynamo_core.targets.rollout import progress_of, troubles_of

CRD = "CustomResourceDefinition"
POD = ("v1", "Pod")
PERIOD = 2.0
"""Seconds between two looks at a cluster."""
OF_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid", "selfLink")
"""What the server writes into `metadata`; it changes with every request."""


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo deploy",
        "Apply a graph to a Kubernetes cluster: show what changes, ask, apply it, wait until it is ready. "
        "What is applied is what dynamo render writes.",
        OVERRIDES,
    )
    add_graph(parser)
    add_name(parser)
    parser.add_argument("--target", default="kubernetes", help="kubernetes (default), dynamo, aibrix, …")
    cluster = parser.add_argument_group("cluster, as for kubectl")
    cluster.add_argument("--kubeconfig", type=Path, metavar="FILE")
    cluster.add_argument("--context", metavar="NAME")
    cluster.add_argument("-n", "--kube-namespace", metavar="NAME", help="default: the context's")
    group = parser.add_argument_group("what to do")
    group.add_argument("--dry-run", action="store_true", help="show what would change, and stop")
    group.add_argument("--delete", action="store_true", help="delete everything of the graph")
    group.add_argument("-y", "--yes", action="store_true", help="do not ask")
    group.add_argument("--force-conflicts", action="store_true", help="take over fields that others have set")
    group.add_argument("--no-wait", action="store_true", help="do not wait until it is ready, or gone")
    group.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="default: 900")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    words, overrides = split_overrides(argv)
    options = build_parser().parse_args(words)
    target = find_target(options.target)
    if not target.kinds:
        raise UserError(
            f"target {target.name} makes no objects for a cluster: {target.summary}",
            fix=f"dynamo render {target.name} writes the files",
        )
    graph = read_graph(options.graph, overrides, options.file)
    name = name_of(options)
    wanted = [] if options.delete else _objects(render(target, graph, name, argv))
    cluster = Cluster.connect(options.kubeconfig, options.context, options.kube_namespace)
    emit(f"{cluster.name}, namespace {cluster.namespace}, graph {name}")
    wanted = [one for one in wanted if one["kind"] != CRD or _is_missing(cluster, one)]
    obsolete = _obsolete(cluster, target, name, wanted)
    changes = list(_changes(cluster, wanted, force=options.force_conflicts)) + [
        f"- {_title(one)}" for one in obsolete
    ]
    for change in changes:
        emit(visible(change))
    if not changes:
        emit("nothing changes")
    if options.dry_run or (options.delete and not obsolete):
        return 0
    if changes and not _is_wanted(options):
        return 1
    old_pods = _pods(cluster, target, name) if changes else set()
    for one in wanted:
        cluster.apply(one, force=options.force_conflicts)
    for one in obsolete:
        cluster.delete(one)
    if options.no_wait:
        return 0
    deadline = time.monotonic() + options.timeout
    if options.delete:
        return _wait_gone(cluster, obsolete, deadline)
    return _wait_ready(cluster, target, name, wanted, old_pods, deadline)


def _is_missing(cluster: Cluster, definition: Object) -> bool:
    """Whether a kind has to be defined; where one may not look, somebody else sees to it."""
    try:
        return cluster.find(definition) is None
    except Refused as error:
        if error.status != FORBIDDEN:
            raise
        return False


def _pods(cluster: Cluster, target: Target, name: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.list(POD, target.pods_of(name))}


def _objects(files: Files) -> list[Object]:
    """What `dynamo render` writes, the definitions of kinds first."""
    found = [one for text in files.values() for one in yaml.safe_load_all(text)]
    return sorted(found, key=lambda one: one["kind"] != CRD)


def _title(one: Object) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def _obsolete(cluster: Cluster, target: Target, name: str, wanted: Sequence[Object]) -> list[Object]:
    """What earlier deployments of the graph have left that this one does not have."""
    kept = {_title(one) for one in wanted}
    labels = {GRAPH: name, **MANAGED_BY}
    return [one for kind in target.kinds for one in cluster.list(kind, labels) if _title(one) not in kept]


def _changes(cluster: Cluster, wanted: Sequence[Object], *, force: bool) -> Iterator[str]:
    """What applying would do, by the server's own account. Raises `UserError` for all that it refuses."""
    problems: list[str] = []
    for one in wanted:
        live = cluster.find(one)
        try:
            planned = cluster.apply(one, dry_run=True, force=force)
        except Refused as error:
            problems.append(f"{_title(one)}: {error}")
            continue
        if live is None:
            yield f"+ {_title(one)}"
        elif lines := list(_difference(live, planned)):
            yield "\n".join([f"~ {_title(one)}", *(f"    {line}" for line in lines)])
    if problems:
        raise UserError("\n".join(problems))


def _difference(before: Object, after: Object) -> Iterator[str]:
    old, new = (yaml.safe_dump(_comparable(one), sort_keys=True).splitlines() for one in (before, after))
    lines = difflib.unified_diff(old, new, n=0, lineterm="")
    return (line for line in lines if not line.startswith(("---", "+++", "@@")))


def _comparable(one: Object) -> Object:
    metadata = {key: value for key, value in one["metadata"].items() if key not in OF_SERVER}
    return {**{key: value for key, value in one.items() if key != "status"}, "metadata": metadata}


def _is_wanted(options: argparse.Namespace) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("nobody is there to say yes", fix="give --yes, or --dry-run to look only")
    try:
        return input("apply this? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _wait_ready(
    cluster: Cluster,
    target: Target,
    name: str,
    wanted: Sequence[Object],
    old_pods: Collection[str],
    deadline: float,
) -> int:
    """Tell each change until everything is ready; 1 if that takes too long or cannot be.

    What is wrong with `old_pods`, which are about to be replaced, is no news.
    """
    said: set[str] = set()
    working = [one for one in wanted if progress_of({**one, "status": {}})]
    while True:
        found = [part for one in working for part in progress_of(cluster.find(one) or one)]
        for part in found:
            _say_once(str(part), said)
        if all(part.is_done for part in found):
            return 0
        pods = cluster.list(POD, target.pods_of(name))
        troubles = list(troubles_of([pod for pod in pods if pod["metadata"]["name"] not in old_pods]))
        for trouble in troubles:
            _say_once(f"  {trouble}", said)
        late = [part.name for part in found if not part.is_done]
        if any(trouble.is_final for trouble in troubles) or time.monotonic() > deadline:
            emit(f"not ready: {', '.join(late)}; it stays as it is, dynamo deploy --delete takes it away")
            return 1
        time.sleep(PERIOD)


def _wait_gone(cluster: Cluster, ending: Sequence[Object], deadline: float) -> int:
    left = list(ending)
    while left := [one for one in left if cluster.find(one) is not None]:
        if time.monotonic() > deadline:
            emit(f"still there: {', '.join(map(_title, left))}")
            return 1
        time.sleep(PERIOD)
    emit("gone")
    return 0


def _say_once(line: str, said: set[str]) -> None:
    if line not in said:
        said.add(line)
        emit(visible(line))
