"""`examples/three_hosts`: one graph over three hosts, which are network namespaces of this machine."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Running
from dynamo_core.testing.servers import Etcd

pytest_plugins = ["dynamo_core.testing.plugin"]

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "three_hosts" / "three_hosts.py"
APART = ["/usr/bin/unshare", "--user", "--map-root-user", "--net", "--kill-child"]
CLIENTS = 4


def program(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"{name} is not installed"
    return found


def test_hosts_come_and_go_and_nothing_is_lost_but_what_was_on_them(tiny_model: Path) -> None:
    if subprocess.run([*APART, "/bin/true"], capture_output=True).returncode:
        pytest.skip("this kernel lets no user make a network namespace")
    command = [*APART, sys.executable, SCRIPT, "--model", tiny_model]
    done = subprocess.run(
        [*command, "--etcd", program("etcd"), "--nats", program("nats-server")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"host 3 joins after [\d.]+ s", done.stdout)
    assert "a worker leaves: exit code 0, 0 requests lost" in done.stdout
    assert re.search(r"found again after [\d.]+ s", done.stdout)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["answered"] > 200
    assert counts["lost"] <= CLIENTS, done.stdout
    assert counts["unexplained"] == 0, done.stdout


def test_a_simulated_worker_that_has_lost_its_place_says_so(tmp_path: Path, tiny_model: Path) -> None:
    """Which is what happens to the worker of a host that was cut off."""
    command = [sys.executable, "-m", "dynamo_mocker.worker", "--model", str(tiny_model)]
    with Etcd(tmp_path / "etcd") as etcd:
        worker = Running([*command, *etcd.flags], {"ETCD_LEASE_TTL": "2"})
        try:
            worker.wait_for_line("is ready")
            etcd.end(signal.SIGKILL)
            assert worker.wait() == 1
        finally:
            worker.close()
    assert "error: this process is no longer registered in etcd" in worker.output
    assert "Traceback" not in worker.output
