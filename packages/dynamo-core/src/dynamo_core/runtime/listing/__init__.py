"""What a discovery backend holds right now, read from outside: nothing is joined, made or loaded.

    listing = await read_listing(settings)

The Rust runtime keeps one JSON object per endpoint under `v1/instances`, one per model under `v1/mdc`
and one per publisher of KV events under `v1/event_sources`, in files and in etcd alike. A process renews
what it has registered; once it is gone, its entries stay until they expire.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_core.args.groups import default_discovery_path
from dynamo_core.errors import UserError
from dynamo_core.runtime.listing.entries import Instance, Listing, Model, Publisher, Stored, parse
from dynamo_core.runtime.listing.etcd import read_etcd
from dynamo_core.runtime.listing.folder import read_folder

if TYPE_CHECKING:
    from dynamo_core.args import RuntimeSettings

__all__ = ["Instance", "Listing", "Model", "Publisher", "Stored", "read_default_folder", "read_listing"]


async def read_listing(settings: RuntimeSettings) -> Listing:
    """What is registered where these settings look, what has expired included.

    Raises `UserError` if the backend cannot be reached, is not safe to use, or cannot be looked into
    from another process.
    """
    if settings.discovery_backend == "file":
        path = Path(settings.discovery_path)
        return parse(f"folder {path}", await asyncio.to_thread(read_folder, path))
    if settings.discovery_backend == "etcd":
        url, stored = await read_etcd(settings.etcd_endpoints)
        return parse(f"etcd at {url}", stored)
    if settings.discovery_backend == "kubernetes":
        raise UserError(
            "what Kubernetes discovery holds is read with kubectl, not from here",
            fix="kubectl get dynamoworkermetadatas -o yaml shows what each pod has registered, and kubectl "
            "get endpointslices which pods are ready; the runtime wants both",
        )
    raise UserError(
        "mem discovery is one process's own memory; nobody else can look into it",
        fix="use --discovery-backend file or etcd where components run in several processes",
    )


async def read_default_folder(settings: RuntimeSettings) -> Listing | None:
    """What the default discovery folder holds, for whoever looks elsewhere and finds nothing.

    None if that is where `settings` look, or if it holds nothing that is alive.
    """
    default = Path(default_discovery_path())
    if settings.discovery_backend == "file" and Path(settings.discovery_path) == default:
        return None
    try:
        listing = parse(f"folder {default}", await asyncio.to_thread(read_folder, default))
    except UserError:
        return None
    return listing if listing.live.instances or listing.live.models else None
