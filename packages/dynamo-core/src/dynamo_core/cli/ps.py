"""`dynamo ps [GRAPH]`: the graphs of this machine, and the models and instances that discovery knows."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict, dataclass

from dynamo_core.args.groups import RuntimeSettings
from dynamo_core.cli.graph_rows import graph_rows, process_rows
from dynamo_core.cli.meeting import DISCOVERY, add_flags, settings_of
from dynamo_core.cli.parser import CommandParser
from dynamo_core.cli.tables import columns, duration
from dynamo_core.printing import emit, visible
from dynamo_core.runtime.listing import Instance, Listing, read_default_folder, read_listing
from dynamo_core.serve.registry import find_graph


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo ps",
        "List the graphs that run on this machine, and the models and instances that discovery knows; or the "
        "processes of one graph.",
    )
    parser.add_argument("graph", nargs="?", metavar="GRAPH", help="list its processes")
    add_flags(parser, DISCOVERY)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    options = vars(build_parser().parse_args(argv))
    if graph := options.pop("graph"):
        rows = process_rows(find_graph(graph))
        emit(json.dumps([asdict(row) for row in rows], indent=2) if options["json"] else columns(rows))
        return 0
    graphs = graph_rows()
    settings = settings_of(options)
    listing, elsewhere = asyncio.run(_look(settings))
    if options["json"]:
        emit(json.dumps({"graphs": [asdict(row) for row in graphs], **as_data(listing)}, indent=2))
        return 0
    if graphs:
        emit(f"{columns(graphs)}\n")
    shown = [section for section in sections(listing) if section]
    emit("\n\n".join([visible(f"looking in {listing.place}", keep=""), *(shown or [_nothing(elsewhere)])]))
    return 0


async def _look(settings: RuntimeSettings) -> tuple[Listing, Listing | None]:
    listing = await read_listing(settings)
    return listing, None if listing.instances or listing.models else await read_default_folder(settings)


@dataclass(frozen=True)
class ModelRow:
    """A model of one component, however many instances serve it."""

    model: str
    namespace: str
    component: str
    endpoint: str
    role: str
    instances: int


@dataclass(frozen=True)
class InstanceRow:
    """One endpoint of one process."""

    instance: int
    endpoint: str
    address: str
    age: str
    last_seen: str


def sections(listing: Listing) -> list[str]:
    """What discovery knows, in tables; what there is none of is empty."""
    return [columns(model_rows(listing)), columns(instance_rows(listing))]


def as_data(listing: Listing) -> dict[str, object]:
    """The same for programs: seconds are numbers, and null what the backend does not tell."""
    return {
        "place": listing.place,
        "models": [asdict(row) for row in model_rows(listing)],
        "instances": [asdict(instance) for instance in listing.instances],
    }


def model_rows(listing: Listing) -> list[ModelRow]:
    """What is alive, by model and component."""
    live = Counter((m.name, m.namespace, m.component, m.endpoint, m.role) for m in listing.live.models)
    return [ModelRow(*key, instances=count) for key, count in live.items()]


def instance_rows(listing: Listing) -> list[InstanceRow]:
    """What is registered, alive or not."""
    return [
        InstanceRow(i.instance_id, i.path, i.address or "-", duration(i.age), _last_seen(i))
        for i in listing.instances
    ]


def _last_seen(instance: Instance) -> str:
    if instance.silent is None:
        return "-"
    return f"{duration(instance.silent)} ago" + (", its process is gone" if instance.is_stale else "")


def _nothing(elsewhere: Listing | None) -> str:
    lines = ["No instance is registered there."]
    if elsewhere is not None:
        names = sorted({model.name for model in elsewhere.live.models})
        what = f"models: {', '.join(names)}" if names else f"{len(elsewhere.live.instances)} instances"
        lines.append(f"{elsewhere.place}, the default, has {what}.")
    lines.append(
        "Components meet where --discovery-backend and its flags say; give the ones that they were started "
        "with, or start some: dynamo serve FILE."
    )
    return visible("\n".join(lines))
