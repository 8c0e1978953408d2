"""How costs grow with the number of workers on one frontend: mockers, 1 to 256."""

from __future__ import annotations

import time
from functools import partial

from lib.bench import Bench, Part
from lib.compare import OURS, Better, Figure, Goal, Sample
from lib.mockers import mockers
from lib.plot import Plot
from lib.processes import megabytes, running_seconds, settle
from lib.wrk import requests_per_second

COUNTS = (1, 4, 16, 64, 256)
IDLE = 5.0
"""Seconds for which idle processes are watched."""
UNITS = {
    "discovery": "s from the last registration until the frontend knows all",
    "worker MB": "MB (PSS) per worker",
    "idle worker": "% of a core per worker",
    "idle frontend": "% of a core",
    "frontend MB": "MB (PSS)",
    "requests/s": "requests per second (wrk, 32 connections)",
}
FLAT = {"worker MB": Goal("at most", 1.2), "idle worker": Goal("at most", 1.5)}


def measure(bench: Bench) -> Part:
    part = Part("scale", "Scale: 1 to 256 workers on one frontend")
    part.notes = [
        "Each worker is a process; they are forks of one that has done the imports, so that 256 can be "
        "started on a small machine, and share what it had in memory. They meet in etcd.",
        "Here the contestants are numbers of workers; the ratio is 256 to 16.",
    ]
    turns = bench.alternating()
    turns.run({str(count): partial(run, bench, count) for count in COUNTS}, what="workers")
    for name, unit in UNITS.items():
        better: Better = "more" if name == "requests/s" else "less"
        samples = turns.samples[name]
        part.figures.append(Figure(name, unit, samples, better, FLAT.get(name), against="16", subject="256"))
    last = turns.samples["discovery"]["256"]
    goal = Goal("at most", 10.0, of="ours")
    part.figures.append(Figure("discovery of 256 workers", "s", {OURS: last}, goal=goal))
    for name in ("discovery", "worker MB", "requests/s"):
        line = [(float(c), f.median(c) or 0.0) for f in part.figures if f.name == name for c in f.samples]
        file = f"scale-{name.replace('/', '-per-').replace(' ', '-')}"
        part.plots.append(Plot(file, name, "workers", UNITS[name], {OURS: [(float(x), y) for x, y in line]}))
    return part


def run(bench: Bench, count: int) -> Sample:
    with mockers(bench, count) as stack:
        settle(stack.frontend.pid, limit=5.0)
        frontend, workers = stack.frontend.pid, stack.workers.pid
        before = running_seconds(frontend), running_seconds(workers)
        time.sleep(IDLE)
        after = running_seconds(frontend), running_seconds(workers)
        return {
            "discovery": stack.discovery,
            "worker MB": megabytes(workers) / count,
            "idle worker": 100 * (after[1] - before[1]) / IDLE / count,
            "idle frontend": 100 * (after[0] - before[0]) / IDLE,
            "frontend MB": megabytes(frontend),
            "requests/s": requests_per_second(stack.port, "tiny", connections=32, seconds=3),
        }
