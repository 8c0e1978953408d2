"""From starting all processes to the end of the first answer, with vLLM and a tiny model; and what is in
memory then."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from lib.bench import Bench, Part
from lib.compare import OURS, Figure, Goal, Sample
from lib.contestants import ENGINE, WORKERS
from lib.models import TINY, VLLM_FLAGS, tiny
from lib.processes import Program, megabytes
from lib.stacks import STACKS

ALONE = "engine alone"


def measure(bench: Bench) -> Part:
    part = Part("cold-start", "Cold start to the first answer: vLLM, tiny model")
    part.notes = [
        "All processes of a contestant are started at once, with the same flags for vLLM, and asked every "
        "10 ms until there is an answer. The files are in memory already.",
        "A worker's memory is that of its process and its engine's (PSS), right after the first answer. What "
        "is beyond the engine's is the difference to a process with vLLM's AsyncLLM and nothing else.",
    ]
    turns = bench.alternating()
    contestants: dict[str, Callable[[], Sample]] = {
        name: partial(first_answer, bench, name) for name in (OURS, "upstream", "vllm serve")
    }
    alone(bench)  # reads what all of them load
    turns.run({**contestants, ALONE: partial(alone, bench)}, what="cold start")
    part.figures.append(turns.figure("first answer", "s", goal=Goal("at most", 0.9)))
    memory = turns.samples["worker MB"]
    engine = memory.pop(ALONE)
    part.figures.append(Figure("worker's memory", "MB (PSS)", memory))
    beyond = {
        name: [all_of_it - own for all_of_it, own in zip(values, engine, strict=True)]
        for name, values in memory.items()
        if name != "vllm serve"
    }
    part.figures.append(
        Figure("worker's memory beyond the engine's", "MB (PSS)", beyond, goal=Goal("at most", 0.8))
    )
    part.figures.append(turns.figure("frontend MB", "MB (PSS)"))
    return part


def first_answer(bench: Bench, contestant: str) -> Sample:
    with bench.programs(ENGINE) as programs:
        model = tiny(bench.python("vllm"), programs.folder)
        began = time.perf_counter()
        serving = STACKS["vllm"][contestant](bench, programs, model, VLLM_FLAGS)
        seconds = time.perf_counter() - began
        found = {"first answer": seconds, "worker MB": megabytes(serving.worker)}
        if serving.frontend is not None:
            found["frontend MB"] = megabytes(serving.frontend)
        return found


def alone(bench: Bench) -> Sample:
    with bench.programs(ENGINE) as programs:
        model = tiny(bench.python("vllm"), programs.folder)
        script = (bench.python("vllm"), WORKERS / "engine_alone.py")
        program = programs.start(TINY, *script, "--model", model.path, *VLLM_FLAGS)
        wait_for_line(program, "answered")
        return {"worker MB": megabytes(program.pid)}


def wait_for_line(program: Program, line: str, limit: float = 180.0) -> None:
    deadline = time.monotonic() + limit
    while line not in program.log.read_text(errors="replace"):
        program.check()
        if time.monotonic() > deadline:
            raise SystemExit(f"{program.argv} did not write {line!r} within {limit:g} s")
        time.sleep(0.05)
