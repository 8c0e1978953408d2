"""Real engines on the CPU, under load from aiperf and wrk, beside the engine's own server and ai-dynamo."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lib.aiperf import profile
from lib.bench import Bench, Part
from lib.compare import Alternating, Better, Figure, Goal, Sample
from lib.contestants import ENGINE, SGLANG, Serving
from lib.models import FLAGS, SMOLLM2, TINY, Model, smollm2, tiny
from lib.plot import Plot
from lib.stacks import STACKS
from lib.wrk import requests_per_second

FIGURES: dict[str, tuple[str, Better]] = {
    "tokens/s": ("tokens per second", "more"),
    "p50 TTFT": ("ms to the first token", "less"),
    "p99 TTFT": ("ms to the first token", "less"),
    "p50 ITL": ("ms between tokens, mean of a request", "less"),
    "p99 ITL": ("ms between tokens, mean of a request", "less"),
}
RAW = "requests/s"
GOALS = {
    "vllm tiny, 64 clients: tokens/s": Goal("at least", 1.0),
    "vllm tiny, 64 clients: p99 ITL": Goal("at most", 1.0),
}


@dataclass(frozen=True)
class Work:
    """What is asked of a model."""

    clients: tuple[int, ...]
    rounds: int
    """Requests of each client, and as many again as there are clients, at least 16."""
    prompt: int
    answer: int


WORK = {TINY: Work((1, 8, 32, 64), 4, 64, 64), SMOLLM2: Work((1, 8, 32, 64), 1, 32, 16)}


def measure(bench: Bench, engine: str, model: str) -> Part:
    """All contestants serve all the time, and are asked in turns; who waits uses no processor to speak of."""
    part = Part(f"real-{engine}-{model}", f"Real engine: {engine}, {model}")
    work = WORK[model]
    part.notes = [
        f"The same flags for the engine everywhere: `{' '.join(FLAGS[engine])}`. Prompts of {work.prompt} "
        f"and answers of {work.answer} tokens, streamed, from aiperf; {RAW} are whole completions of one "
        "token by wrk on 8 connections.",
        "aiperf runs on the same cores as what it measures.",
    ]
    turns = bench.alternating()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        made = (tiny if model == TINY else smollm2)(bench.python(engine), Path(folder))
        contestants = {name: start(bench, stack, engine, name, made) for name in STACKS[engine]}
        ask(bench, turns, made, contestants, work)
    where = f"{engine} {model}"
    for clients in work.clients:
        part.figures += [figure(turns, f"{where}, {clients} clients", clients, name) for name in FIGURES]
    part.figures.append(Figure(f"{where}: {RAW}", "wrk, 8 connections", turns.samples[RAW], "more"))
    part.plots = [plot(part, where, work, name) for name in ("tokens/s", "p99 ITL", "p99 TTFT")]
    return part


def start(bench: Bench, stack: ExitStack, engine: str, contestant: str, model: Model) -> Serving:
    env = ENGINE | (SGLANG if engine == "sglang" else {})
    programs = stack.enter_context(bench.programs(env))
    return STACKS[engine][contestant](bench, programs, model, FLAGS[engine])


def ask(bench: Bench, turns: Alternating, model: Model, contestants: dict[str, Serving], work: Work) -> None:
    for clients in work.clients:
        load = partial(loaded, bench, model=model, work=work, clients=clients)
        turns.run(each(contestants, load), what=f"{clients} clients")
    turns.run(each(contestants, partial(raw_rate, model=model)), what=RAW)


def each(
    contestants: Mapping[str, Serving], call: Callable[[Serving], Sample]
) -> dict[str, Callable[[], Sample]]:
    return {name: partial(call, serving) for name, serving in contestants.items()}


def loaded(bench: Bench, serving: Serving, *, model: Model, work: Work, clients: int) -> Sample:
    requests = max(16, clients * work.rounds)
    load = {"clients": clients, "requests": requests, "prompt": work.prompt, "answer": work.answer}
    return {f"{name} {clients}": value for name, value in profile(bench, serving.port, model, **load).items()}


def raw_rate(serving: Serving, *, model: Model) -> Sample:
    return {RAW: requests_per_second(serving.port, model.name, connections=8, seconds=4)}


def figure(turns: Alternating, where: str, clients: int, name: str) -> Figure:
    unit, better = FIGURES[name]
    title = f"{where}: {name}"
    return Figure(title, unit, turns.samples[f"{name} {clients}"], better, GOALS.get(title))


def plot(part: Part, where: str, work: Work, name: str) -> Plot:
    lines: dict[str, list[tuple[float, float]]] = {}
    for clients in work.clients:
        found = next(f for f in part.figures if f.name == f"{where}, {clients} clients: {name}")
        for contestant in found.samples:
            lines.setdefault(contestant, []).append((clients, found.median(contestant) or 0.0))
    file = f"{part.name}-{name.replace('/', '-per-').replace(' ', '-')}"
    return Plot(file, f"{where}: {name}", "clients", FIGURES[name][0], lines)
