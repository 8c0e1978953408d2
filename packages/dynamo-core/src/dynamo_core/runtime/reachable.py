"""Whether the servers that a graph meets through answer, before the Rust side waits minutes for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dynamo_core.errors import UserError
from dynamo_core.runtime.certificates import etcd_certificates

if TYPE_CHECKING:
    from dynamo_core.args import RuntimeSettings

TIMEOUT = 3.0
"""Seconds for a TCP connection."""
WITHOUT_ETCD, WITHOUT_NATS = "--discovery-backend file", "--request-plane tcp --event-plane zmq"


async def check_servers(settings: RuntimeSettings) -> None:
    """Raise `UserError` if etcd or NATS is asked for and cannot be reached, or not with these certificates.

    Of several etcd endpoints, one that answers is enough.
    """
    if settings.discovery_backend == "etcd":
        etcd_certificates()
        await _check("etcd", "--etcd-endpoints", settings.etcd_endpoints, 2379, WITHOUT_ETCD)
    if "nats" in (settings.request_plane, settings.event_plane):
        await _check("NATS", "--nats-server", settings.nats_server, 4222, WITHOUT_NATS)


def way_in(settings: RuntimeSettings) -> str:
    """What to do when the servers that these settings ask for accept connections but do not answer."""
    ways = []
    if settings.discovery_backend == "etcd":
        ways.append(
            f"check that etcd answers at --etcd-endpoints, or give {WITHOUT_ETCD}, which needs no server"
        )
    if "nats" in (settings.request_plane, settings.event_plane):
        ways.append(f"check that NATS answers at --nats-server, or give {WITHOUT_NATS}, which need no server")
    return "; ".join(ways)


async def _check(server: str, flag: str, urls: str, default_port: int, way_out: str) -> None:
    failures = []
    for url in urls.split(","):
        try:
            parts = urlsplit(url if "://" in url else f"//{url}")
            host, port = parts.hostname, parts.port or default_port
        except ValueError:
            host = None
        if not host:
            raise UserError(f"{flag} is no URL of a server", fix="write it as scheme://host:port") from None
        address = f"{host}:{port}"
        try:
            opening = asyncio.open_connection(host, port)
            _, writer = await asyncio.wait_for(opening, TIMEOUT)
        except TimeoutError:
            failures.append(f"{address}: no answer within {TIMEOUT:g} s")
        except OSError as error:
            failures.append(f"{address}: {error.strerror or error}")
        else:
            writer.close()
            return
    raise UserError(
        f"{server} cannot be reached at {', '.join(failures)} (from {flag})",
        fix=f"start it there or correct {flag}; {way_out} needs no server",
    )
