"""Discovery through a real etcd, requests and events through a real NATS."""

from __future__ import annotations

import pytest

from dynamo_core.args import RuntimeSettings
from dynamo_core.runtime.variables import runtime_variables
from dynamo_core.testing.processes import PORTS, Stack
from dynamo_core.testing.servers import Etcd, Nats


@pytest.mark.setting("discovery_backend", "etcd_endpoints", "request_plane", "event_plane", "nats_server")
def test_a_graph_meets_through_etcd_and_talks_over_nats(stack: Stack, etcd: Etcd, nats: Nats) -> None:
    flags = (*etcd.flags, *nats.flags)
    stack.frontend(*flags)
    worker = stack.scripted(*flags)
    stack.wait_ready()
    message = {"role": "user", "content": "hi"}
    answer = stack.client().chat.completions.create(model="scripted", messages=[message], max_tokens=8)
    assert len(answer.choices[0].message.content or "") == 8
    assert worker.stop() == 0
    stack.wait_ready(healthy=False)
    assert not stack.discovery.exists()


@pytest.mark.parametrize(
    ("flags", "server", "way_out"),
    [
        (("--discovery-backend", "etcd", "--etcd-endpoints"), "etcd", "--discovery-backend file"),
        (("--request-plane", "nats", "--nats-server"), "NATS", "--request-plane tcp"),
    ],
)
def test_a_server_that_is_not_there_is_named_with_the_ways_out(
    stack: Stack, flags: tuple[str, ...], server: str, way_out: str
) -> None:
    """P09 (ai-dynamo #2315, #851)."""
    port = next(PORTS)
    worker = stack.scripted(*flags, f"http://127.0.0.1:{port}")
    assert worker.wait(5) == 2
    assert f"error: {server} cannot be reached at 127.0.0.1:{port}" in worker.output
    assert way_out in worker.lines[-1]
    assert "Traceback" not in worker.output


def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    """The Rust runtime's own 120 s, in which it also takes no signal, are too many."""
    settings = RuntimeSettings(discovery_backend="etcd", event_plane="nats")
    found = {variable.name: variable for variable in runtime_variables(settings)}
    for name in ("ETCD_STARTUP_CONNECT_TIMEOUT_SECONDS", "NATS_STARTUP_CONNECT_TIMEOUT_SECONDS"):
        assert (found[name].value, found[name].yields) == ("10", True)
