"""One graph over three hosts: workers join and leave, and a host is cut off and comes back.

    unshare --user --map-root-user --net --kill-child \\
        python examples/three_hosts/three_hosts.py --model FOLDER

The hosts are network namespaces of this machine, each with an address and a cable of its own; nothing of them
is seen from outside, and no rights are needed. Everything in them is real: etcd, NATS, frontend, workers.
Requests run all the time, and each is counted.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NETWORK = "10.77.0"
CLIENT = f"{NETWORK}.254"
HTTP_PORT, ETCD_PORT, NATS_PORT = 8000, 2379, 4222
WORKER = """\
Worker-{name}:
  component: dynamo_mocker.worker
  model: {model}
  served-model-name: m
  rpc-host: {address}
  restart: on-failure
"""
PATIENCE = 60.0
"""Seconds in which every step has to show its effect."""


class Host:
    """A network namespace with an address, and the processes in it."""

    def __init__(self, number: int, logs: Path) -> None:
        self.name, self.address = f"host {number}", f"{NETWORK}.{number}"
        self._cable = f"cable{number}"
        self._logs = logs
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._holder = subprocess.Popen(["/usr/bin/unshare", "--net", "sleep", "infinity"])
        wait_until(self._is_apart, f"{self.name} has a network of its own")
        pid = str(self._holder.pid)
        command("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", pid)
        command("ip", "link", "set", self._cable, "master", "switch", "up")
        self._inside = ["nsenter", "--target", pid, "--net"]
        command(*self._inside, "ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            command(*self._inside, "ip", "link", "set", device, "up")

    def _is_apart(self) -> bool:
        theirs, ours = Path(f"/proc/{self._holder.pid}/ns/net"), Path("/proc/self/ns/net")
        return theirs.readlink() != ours.readlink()

    def start(self, name: str, *argv: object) -> None:
        """Start a program on this host; its output goes to a file."""
        words = [str(word) for word in argv]
        print(f"{self.name}: {' '.join(words).replace(sys.executable, 'python')}", flush=True)
        with (self._logs / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*self._inside, *words], stdout=log, stderr=subprocess.STDOUT
            )

    def stop(self, name: str) -> int:
        """Ask a program to end, as Ctrl-C does not and SIGTERM does; returns its exit code."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE)

    def cut_off(self) -> None:
        """Pull the cable: nothing arrives any more, and nobody is told."""
        command("ip", "link", "set", self._cable, "down")

    def heal(self) -> None:
        """Plug it in again."""
        command("ip", "link", "set", self._cable, "up")

    def end(self) -> None:
        """Everything on it is gone afterwards."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self._holder.kill()
        self._holder.wait()


@dataclass
class Load:
    """Clients that ask one question after the other, and what became of each."""

    url: str
    clients: int = 4
    answered: list[float] = field(default_factory=list)
    """When each answer was complete, in seconds of `time.monotonic`."""
    failed: list[tuple[float, float, str]] = field(default_factory=list)
    """When each that failed was asked, and when and how it ended."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._ask_on, args=(n,)) for n in range(self.clients)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, number: int) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                ask(self.url, number)
                self.answered.append(time.monotonic())
            except (OSError, ValueError) as error:
                self.failed.append((began, time.monotonic(), str(error)))


def ask(url: str, number: int, tokens: int = 20) -> None:
    """One question; raises `OSError` or `ValueError` if it is not answered in full."""
    body = {"model": "m", "prompt": [10 + number] * 50, "max_tokens": tokens, "ignore_eos": True}
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        usage = json.load(response)["usage"]
    if usage["completion_tokens"] != tokens:
        raise ValueError(f"{usage['completion_tokens']} tokens instead of {tokens}")


def workers_of(url: str) -> int:
    """How many workers the frontend knows."""
    try:
        with urllib.request.urlopen(f"{url}/health/runtime", timeout=5) as response:
            instances = json.load(response)["instances"]
    except (OSError, urllib.error.URLError):
        return 0
    return sum(instance["endpoint"] == "generate" for instance in instances)


def wait_until(holds: Callable[[], bool], what: str) -> float:
    """Wait for a condition; returns the seconds that it took, and ends the program if it takes too long."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > PATIENCE:
            raise SystemExit(f"not so within {PATIENCE:g} s: {what}")
        time.sleep(0.05)
    return time.monotonic() - began


def command(*words: str) -> None:
    subprocess.run(words, check=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a folder with a tokenizer; no weights are needed")
    parser.add_argument("--etcd", default="etcd", help="the program; default: as in PATH")
    parser.add_argument("--nats", default="nats-server", help="the program; default: as in PATH")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="three-hosts-") as folder:
        return run(options, Path(folder))


def run(options: argparse.Namespace, folder: Path) -> int:
    """The story; returns the exit code."""
    command("ip", "link", "set", "lo", "up")
    command("ip", "link", "add", "switch", "type", "bridge")
    command("ip", "address", "add", f"{CLIENT}/24", "dev", "switch")
    command("ip", "link", "set", "switch", "up")
    first, second, third = hosts = [Host(number, folder) for number in (1, 2, 3)]
    url = f"http://{first.address}:{HTTP_PORT}"
    load = Load(url)
    try:
        etcd, nats = f"http://{first.address}:{ETCD_PORT}", f"nats://{first.address}:{NATS_PORT}"
        place = {"discovery-backend": "etcd", "etcd-endpoints": etcd}
        place |= {"event-plane": "nats", "nats-server": nats}
        first.start(
            "etcd", options.etcd, "--data-dir", folder / "etcd", "--listen-client-urls", etcd,
            "--advertise-client-urls", etcd,
        )  # fmt: skip
        first.start("nats", options.nats, "--addr", first.address, "--port", NATS_PORT)
        first.start(
            "frontend", sys.executable, "-m", "dynamo_frontend", "--http-host", first.address,
            "--http-port", HTTP_PORT, "--rpc-host", first.address, "--migration-limit", 3,
            *(f"--{key}={value}" for key, value in place.items()),
        )  # fmt: skip

        def worker(host: Host, name: str) -> None:
            """Under `dynamo serve`, which starts it again if it loses its place in etcd."""
            graph = folder / f"{name}.yaml"
            graph.write_text(WORKER.format(name=name, model=options.model, address=host.address))
            host.start(
                name,
                sys.executable,
                "-m",
                "dynamo_core.cli.main",
                "serve",
                graph,
                "--join",
                *(f"--Common.{key}={value}" for key, value in place.items()),
            )

        worker(second, "a")
        took = wait_until(lambda: workers_of(url) == 1, "the first worker joins")
        print(f"one worker after {took:.1f} s")
        wait_until(lambda: answers(url), "the first answer")
        load.start()
        worker(third, "b")
        print(f"host 3 joins after {wait_until(lambda: workers_of(url) == 2, 'b joins'):.1f} s")
        worker(second, "c")
        print(f"a third worker after {wait_until(lambda: workers_of(url) == 3, 'c joins'):.1f} s")
        more(load, 50)
        print(f"a worker leaves: exit code {second.stop('a')}, {len(load.failed)} requests lost")
        more(load, 50)
        before = len(load.failed)
        third.cut_off()
        cut = time.monotonic()
        print("host 3 is cut off")
        took = wait_until(lambda: workers_of(url) == 1, "the lost worker is forgotten")
        print(f"forgotten after {took:.1f} s; {len(load.failed) - before} of {load.clients} streams lost")
        more(load, 50)
        third.heal()
        healed = time.monotonic()
        print("host 3 is back")
        print(f"found again after {wait_until(lambda: workers_of(url) == 2, 'b is found'):.1f} s")
        more(load, 50)
        load.end()
        for began, ended, how in load.failed:
            when = f"asked {began - cut:+.1f} s from the cut, ended {ended - cut:+.1f} s"
            print(f"  a request was lost: {when}: {how}")
        late = [began for began, _, _ in load.failed if began > healed or began < cut - PATIENCE]
        print(
            json.dumps({"answered": len(load.answered), "lost": len(load.failed), "unexplained": len(late)})
        )
        return 0
    finally:
        load.end()
        for host in hosts:
            host.end()


def answers(url: str) -> bool:
    try:
        ask(url, 0)
    except (OSError, ValueError):
        return False
    return True


def more(load: Load, count: int) -> None:
    """Wait for so many further answers."""
    goal = len(load.answered) + count
    wait_until(lambda: len(load.answered) >= goal, f"{count} further answers")


if __name__ == "__main__":
    raise SystemExit(main())
