"""What workers say of their routing can be read from discovery."""

from __future__ import annotations

import asyncio
import time

import pytest

from dynamo_core.args import DynamoFlexibleArgumentParser, RuntimeSettings
from dynamo_core.runtime.listing import Listing, read_listing
from dynamo_core.testing.processes import Stack
from dynamo_core.testing.servers import Etcd


def listing_of(*flags: str) -> Listing:
    settings = DynamoFlexibleArgumentParser(RuntimeSettings).resolve(flags).settings
    return asyncio.run(read_listing(settings))


@pytest.mark.parametrize("backend", ["file", "etcd"])
def test_who_publishes_kv_events(stack: Stack, backend: str, request: pytest.FixtureRequest) -> None:
    flags: tuple[str, ...] = ("--discovery-path", str(stack.discovery))
    if backend == "etcd":
        etcd: Etcd = request.getfixturevalue("etcd")
        flags = etcd.flags
    for worker in [stack.scripted(*flags, "--kv-events"), stack.scripted(*flags)]:
        worker.wait_for_line("is ready")
    deadline = time.monotonic() + 10
    while not (listing := listing_of(*flags)).publishers:  # the Rust side makes this entry in its own time
        assert time.monotonic() < deadline, listing
        time.sleep(0.02)
    assert len(listing.models) == 2
    (publisher,) = listing.publishers
    assert publisher.path == "dynamo.scripted.generate"
    assert publisher.instance_id in {model.instance_id for model in listing.models}
    assert listing.live.publishers == (publisher,)
