"""What KV-aware routing is worth: a trace with shared prefixes on mockers that take a real GPU's time."""

from __future__ import annotations

from functools import partial

from lib.bench import Bench, Part
from lib.compare import Alternating, Better, Figure, Sample
from lib.mockers import mockers
from lib.trace import play, shared_prefixes, summary

COUNTS = (16, 64)
MODES = ("kv", "round-robin", "random")
REQUESTS = 500
RATE = 50.0
"""Requests per second."""
FIGURES: dict[str, tuple[str, Better]] = {
    "p50 TTFT": ("ms", "less"),
    "p99 TTFT": ("ms", "less"),
    "prefix hits": ("% of prompt tokens", "more"),
    "busiest worker": ("× the mean number of requests", "less"),
}


def measure(bench: Bench) -> Part:
    part = Part("routing", "Routing: kv beside round-robin and random")
    part.notes = [
        f"{REQUESTS} requests, {RATE:g} a second at random, each with one of twice as many prefixes of "
        "1,024 tokens as there are workers and 64 tokens of its own; some prefixes are asked for often, "
        "many seldom.",
        "Mockers at real-time speed; time to first token, cached tokens and worker are what the frontend "
        "says of each request.",
    ]
    turns = bench.alternating()
    for workers in COUNTS:
        turns.run({mode: partial(run, bench, mode, workers) for mode in MODES}, what=f"{workers} workers")
    part.figures = [figure(turns, workers, name) for workers in COUNTS for name in FIGURES]
    return part


def run(bench: Bench, mode: str, workers: int) -> Sample:
    with mockers(bench, workers, "--router-mode", mode) as stack:
        trace = shared_prefixes(REQUESTS, groups=2 * workers, rate=RATE)
        answers = play(stack.port, "tiny", trace)
    return {f"{workers} workers: {name}": value for name, value in summary(answers, workers).items()}


def figure(turns: Alternating, workers: int, name: str) -> Figure:
    unit, better = FIGURES[name]
    samples = turns.samples[f"{workers} workers: {name}"]
    return Figure(f"{workers} workers: {name}", unit, samples, better, subject="kv")
