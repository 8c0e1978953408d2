"""The way of a token from an engine to a client: a null engine behind our worker and behind ai-dynamo's.

The engine gives one token per stream and step; whether tokens that are ready together leave together is
the worker's doing. A client in a process of its own counts what arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lib.bench import Bench, Part
from lib.compare import OURS, Alternating, Better, Figure, Goal, Sample
from lib.contestants import WORKERS, Serving, ours, upstream
from lib.load import Plan
from lib.load import measure as load
from lib.plot import Plot
from lib.processes import Programs, megabytes, settle

from dynamo_core.testing.tiny_model import write_tiny_model

STREAMS = (1, 64, 512, 2048)
RATES = {"unthrottled": 0.0, "50 Hz": 50.0}
UNITS = {
    "tokens/s": "tokens per second",
    "worker µs/token": "µs of CPU",
    "frontend µs/token": "µs of CPU",
    "p50 gap": "ms between arrivals",
    "p99 gap": "ms between arrivals",
    "tokens per chunk": "tokens",
    "worker MB": "MB (PSS)",
    "frontend MB": "MB (PSS)",
    "client cores": "cores",
}
GOALS = {
    "64 streams unthrottled: tokens/s": Goal("at least", 4.0),
    "512 streams 50 Hz: tokens/s": Goal("at least", 1.5),
    "512 streams 50 Hz: p99 gap": Goal("at most", 100.0, of="ours"),
}
NOTES = [
    "The same null engine in both workers (benchmarks/workers/null_engine.py), the same Python, "
    "the same libraries, and in front of each its own frontend.",
    "At 50 Hz, N streams are offered 50 N tokens a second; unthrottled, an engine is at most 64 tokens "
    "ahead of its reader.",
    "Gaps are between two arrivals at the same stream, whatever arrives together. The client's own use "
    "of the processor is a row of the table; it competes with the rest for the same cores.",
]


def measure(bench: Bench) -> Part:
    part = Part("token-path", "Token path with a null engine", notes=list(NOTES))
    turns = bench.alternating()
    for rate, hz in RATES.items():
        turns.run(
            {
                OURS: partial(run, bench, ours_serving, rate, hz),
                "upstream": partial(run, bench, upstream_serving, rate, hz),
            },
            what=rate,
        )
    for rate in RATES:
        for streams in STREAMS:
            part.figures += [figure(turns, f"{streams} streams {rate}", name) for name in UNITS]
    part.plots = [
        plot(part, rate, name) for rate in RATES for name in ("tokens/s", "p99 gap", "worker µs/token")
    ]
    return part


Start = Callable[..., Serving]


def run(bench: Bench, start: Start, rate: str, hz: float) -> Sample:
    """One contestant through all numbers of streams."""
    found: dict[str, float] = {}
    with bench.programs() as programs:
        model = write_tiny_model(programs.folder / "tiny")
        serving = start(programs, bench.python("vllm"), bench.port(), model, hz)
        for streams in STREAMS:
            settle(*serving.pids.values())
            sample = one(serving, streams)
            found |= {f"{streams} streams {rate}: {name}": value for name, value in sample.items()}
    return found


def one(serving: Serving, streams: int) -> Sample:
    plan = Plan(serving.port, streams, pids=serving.pids)
    found = load(plan)
    tokens = max(found["tokens"], 1)
    for name, pid in serving.pids.items():
        found[f"{name} µs/token"] = 1e6 * found[f"{name} cores"] * plan.window / tokens
        found[f"{name} MB"] = megabytes(pid)
    return {name: found[name] for name in UNITS}


def ours_serving(programs: Programs, python: str, port: int, model: Path, hz: float) -> Serving:
    flags = ("--model", model, "--served-model-name", "null", "--hz", hz)
    return ours(programs, python, port, [WORKERS / "null_ours.py", *flags], "null")


def upstream_serving(programs: Programs, python: str, port: int, model: Path, hz: float) -> Serving:
    flags = ("--model", model, "--served-model-name", "null", "--hz", hz)
    return upstream(programs, python, port, [WORKERS / "null_upstream.py", *flags], "null")


def figure(turns: Alternating, where: str, name: str) -> Figure:
    better: Better = "more" if name in ("tokens/s", "tokens per chunk") else "less"
    return turns.figure(f"{where}: {name}", UNITS[name], better, GOALS.get(f"{where}: {name}"))


def plot(part: Part, rate: str, name: str) -> Plot:
    lines: dict[str, list[tuple[float, float]]] = {}
    for streams in STREAMS:
        found = next(f for f in part.figures if f.name == f"{streams} streams {rate}: {name}")
        for contestant in found.samples:
            lines.setdefault(contestant, []).append((streams, found.median(contestant) or 0.0))
    words = name.replace("/", " per ").replace("µs", "us").replace(" ", "-")
    file = f"token-path-{words}-{rate.replace(' ', '')}"
    return Plot(file, f"{name}, {rate}", "streams", UNITS[name], lines)
