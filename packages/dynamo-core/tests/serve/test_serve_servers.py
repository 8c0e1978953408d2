"""A graph that meets through etcd and talks over NATS, and what it does when these go away and come back.

Ten clients of the official library stream all the time, without retries, so that every failure counts.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator

import psutil
import pytest
from load import Load
from serving import Served

from dynamo_core.testing.processes import PORTS, Running
from dynamo_core.testing.servers import Etcd, Nats, Server

GRAPH = """\
Frontend: {component: dynamo_frontend}
Worker: {component: dynamo_core.testing.scripted, served-model-name: scripted, replicas: 2, token-delay: 0.02}
"""
REQUEST_TIMEOUT = 10.0
"""Seconds that the Rust runtime waits for a worker to take a request from NATS."""
RECONCILES = 5.0
"""Seconds after which it asks an instance again that has not taken one."""
GONE = "this process is no longer registered in etcd"
UNREACHABLE = "error: etcd cannot be reached at"


class Graph:
    """A running graph of a frontend and two workers."""

    def __init__(self, served: Served, flags: tuple[str, ...], env: dict[str, str] | None = None) -> None:
        served.write(GRAPH)
        self.served = served
        self.flags = flags
        self.serving = served.serve(*common(flags), env=env)
        self.serving.wait_for_line("ready after")

    @property
    def components(self) -> set[int]:
        """Process ids."""
        children = psutil.Process(self.serving.pid).children()
        return {child.pid for child in children if "serve.guard" not in " ".join(child.cmdline())}

    def time_of_a_new_worker(self) -> float:
        """Seconds from the start of one more worker to its being registered; it is stopped then."""
        began = time.monotonic()
        worker = self.served.stack.scripted(*self.flags)
        worker.wait_for_line("is ready")
        took = time.monotonic() - began
        assert worker.stop() == 0
        return took


def common(flags: tuple[str, ...]) -> list[str]:
    """Flags of a component as those of all components of a graph."""
    pairs = zip(flags[::2], flags[1::2], strict=True)
    return [f"--Common.{flag.removeprefix('--')}={value}" for flag, value in pairs]


@contextlib.contextmanager
def outage(server: Server, number: signal.Signals, seconds: float) -> Iterator[None]:
    """The server is gone for so long, then back as it was."""
    server.end(number)
    began = time.monotonic()
    yield
    time.sleep(max(0.0, began + seconds - time.monotonic()))  # how long it lasts is what is tested
    server.start()


def said(process: Running, pattern: str) -> bool:
    return re.search(pattern, process.output) is not None


def test_a_graph_leaves_nothing_in_etcd(served: Served, etcd: Etcd, nats: Nats) -> None:
    graph = Graph(served, (*etcd.flags, *nats.flags))
    with Load(served.stack) as load:
        instances, models = etcd.keys("v1/instances/"), etcd.keys("v1/mdc/")
    assert (len(instances), len(models), len(etcd.leases())) == (2, 2, 3)
    assert load.failed == []
    assert graph.serving.stop(signal.SIGINT) == 0
    assert (etcd.keys(), etcd.leases()) == ([], [])
    assert "Traceback" not in graph.serving.output


@pytest.mark.parametrize(
    ("away", "request_plane", "number", "seconds"),
    [
        ("etcd", "tcp", signal.SIGKILL, 1.0),
        ("etcd", "nats", signal.SIGTERM, 5.0),
        ("nats", "tcp", signal.SIGKILL, 1.0),
    ],
)
def test_no_request_fails(
    served: Served,
    etcd: Etcd,
    nats: Nats,
    away: str,
    request_plane: str,
    number: signal.Signals,
    seconds: float,
) -> None:
    """0 of some 250 requests, whether etcd restarts or what only carries events does; nobody ends or
    registers anew, and a new worker is there within the usual 0.5 s of the server's return."""
    graph = Graph(served, (*etcd.flags, *nats.flags[2:], "--request-plane", request_plane))
    components, keys, leases = graph.components, etcd.keys(), etcd.leases()
    server: Server = etcd if away == "etcd" else nats
    with Load(served.stack) as load:
        with outage(server, number, seconds):
            load.wait_answered()
        assert graph.time_of_a_new_worker() < 10.0
        load.wait_answered()
    assert load.failed == []
    assert load.longest() < 5.0
    assert (graph.components, etcd.keys()) == (components, keys)
    assert sorted(etcd.leases()) == sorted(leases)
    assert graph.serving.stop(signal.SIGINT) == 0


def test_an_etcd_that_is_away_for_longer_than_the_lease(served: Served, etcd: Etcd) -> None:
    """Half the lease of 30 s (ETCD_LEASE_TTL) is survived in any case, the whole of it never: the Rust
    runtime then ends, in every process. No answer that has begun is cut off; the processes say what has
    happened and exit with 1, and `dynamo serve` starts them until etcd is back, here after a lease of 2 s."""
    graph = Graph(served, etcd.flags, {"ETCD_LEASE_TTL": "2"})
    components = graph.components
    with Load(served.stack) as load:
        etcd.end(signal.SIGKILL)
        graph.serving.wait_for_line(rf"Worker/\d ended with exit code 1; its last words: error: {GONE}")
        graph.serving.wait_for_line(rf"Worker/\d ended with exit code 2; its last words: {UNREACHABLE}")
        etcd.start()
        for name in ("Worker/0", "Worker/1", "Frontend/0"):
            graph.serving.wait_for_line(rf"{name} is up again")
        load.wait_answered()
    assert [outcome for outcome in load.failed if outcome.is_broken] == []
    assert load.statuses <= {404, 500, 503, None}  # 500: taken by a frontend whose runtime has just ended
    assert graph.components.isdisjoint(components)
    assert "Traceback" not in graph.serving.output
    assert graph.serving.stop(signal.SIGINT) == 0


def test_an_etcd_that_comes_back_without_its_data(served: Served, etcd: Etcd) -> None:
    """Leases are gone, so nobody can register again: workers notice within 1 s, give up after 5 refusals
    and are started again. Until then the frontend still sends requests to them."""
    graph = Graph(served, etcd.flags)
    with Load(served.stack) as load:
        etcd.end(signal.SIGKILL)
        shutil.rmtree(etcd.folder)
        etcd.start()
        back = time.monotonic()
        graph.serving.wait_for_line("is no longer registered and cannot register again")
        for name in ("Worker/0", "Worker/1"):
            graph.serving.wait_for_line(rf"{name} ended with exit code 1; its last words: error: {GONE}")
            graph.serving.wait_for_line(rf"{name} is up again")
        load.wait_answered()
        assert time.monotonic() - back < 40
    assert [outcome for outcome in load.failed if outcome.is_broken] == []
    assert load.statuses <= {404, 503}
    assert len(etcd.keys("v1/instances/")) == 2


@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGKILL, 1.0), (signal.SIGTERM, 5.0)])
def test_a_request_plane_that_restarts(
    served: Served, etcd: Etcd, nats: Nats, number: signal.Signals, seconds: float
) -> None:
    """Answers that have begun go on, and new requests wait, for 8.6 s after 5 s without NATS: its clients
    try to connect after 1, 2, 4, 4, … s. All goes on by itself, but in every second run some requests
    fail with 503, 20 to 150 within 0.1 to 2 s: where the frontend gets in before its workers, nobody takes
    what waits, and the runtime takes the workers for dead until it asks them again. The last one failed
    10.7 s after NATS was back: a request that died with the server is waited for. Clients that try again
    5 times see none of it."""
    graph = Graph(served, (*etcd.flags, *nats.flags))
    components, keys = graph.components, etcd.keys()
    with Load(served.stack) as load, Load(served.stack, 4, retries=5) as patient:
        with outage(nats, number, seconds):
            pass
        back = time.monotonic()
        assert graph.time_of_a_new_worker() < 10.0
        load.wait_answered(timeout=REQUEST_TIMEOUT + 2 * RECONCILES)
        patient.wait_answered(4)
    assert [outcome for outcome in load.failed if outcome.is_broken] == []
    assert load.statuses <= {503}
    assert all(outcome.ended < back + REQUEST_TIMEOUT + RECONCILES for outcome in load.failed)
    assert patient.failed == []
    assert (graph.components, etcd.keys()) == (components, keys)


def test_a_graph_is_stopped_while_etcd_is_away(served: Served, etcd: Etcd) -> None:
    graph = Graph(served, etcd.flags)
    with Load(served.stack, 2) as load:
        etcd.end(signal.SIGKILL)
        assert graph.serving.stop(signal.SIGINT) == 0
    assert [outcome for outcome in load.failed if outcome.is_broken] == []
    assert "Traceback" not in graph.serving.output
    assert served.left() == []


ETCD_GONE = (
    r"error: etcd cannot be reached at 127\.0\.0\.1:{port}: Connection refused \(from --etcd-endpoints\)"
)
NATS_GONE = r"error: NATS cannot be reached at 127\.0\.0\.1:{port}: Connection refused \(from --nats-server\)"
START = "fix: start it there or correct "


@pytest.mark.parametrize(
    ("flags", "scheme", "error", "fix"),
    [
        (
            ("--discovery-backend", "etcd", "--etcd-endpoints"),
            "http",
            ETCD_GONE,
            f"{START}--etcd-endpoints; --discovery-backend file needs no server",
        ),
        (
            ("--request-plane", "nats", "--nats-server"),
            "nats",
            NATS_GONE,
            f"{START}--nats-server; --request-plane tcp --event-plane zmq needs no server",
        ),
    ],
    ids=["etcd", "nats"],
)
def test_a_server_that_is_not_there_ends_the_start(
    served: Served, flags: tuple[str, ...], scheme: str, error: str, fix: str
) -> None:
    """P09 (ai-dynamo #2315, #851): 1.3 s from the command to its end."""
    port = next(PORTS)
    served.write(GRAPH)
    serving = served.serve(*common((*flags, f"{scheme}://127.0.0.1:{port}")))
    assert serving.wait() == 2
    assert said(serving, rf"serve +\| \S+ ended with exit code 2; its last words: {error.format(port=port)}")
    assert fix in serving.output
    assert "Traceback" not in serving.output
    assert served.left() == []


@pytest.mark.parametrize(
    ("flags", "scheme", "error", "fix"),
    [
        (
            ("--discovery-backend", "etcd", "--etcd-endpoints"),
            "http",
            "error: cannot join through etcd .*: etcd startup connection timed out after 2 seconds",
            "fix: check that etcd answers at --etcd-endpoints, or give --discovery-backend file, which needs",
        ),
        (
            ("--request-plane", "nats", "--nats-server"),
            "nats",
            "error: cannot join through .*: NATS startup connection timed out after 2 seconds",
            "fix: check that NATS answers at --nats-server, or give --request-plane tcp --event-plane zmq,",
        ),
    ],
    ids=["etcd", "nats"],
)
def test_something_that_takes_connections_and_says_nothing(
    served: Served, flags: tuple[str, ...], scheme: str, error: str, fix: str
) -> None:
    """10 s, unless these variables say otherwise; the Rust runtime's own 120 s would be too many."""
    served.write(GRAPH)
    quick = {f"{name}_STARTUP_CONNECT_TIMEOUT_SECONDS": "2" for name in ("ETCD", "NATS")}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        serving = served.serve(
            *common((*flags, f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")), env=quick
        )
        assert serving.wait() == 2
    assert said(serving, rf"serve +\| \S+ ended with exit code 2; its last words: {error}")
    assert fix in serving.output
    assert served.left() == []
