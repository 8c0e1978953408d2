"""An engine behind each contestant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lib.bench import Bench
from lib.compare import OURS
from lib.contestants import Serving, ours, own_server, upstream
from lib.models import Model
from lib.processes import Programs

Stack = Callable[[Bench, Programs, Model, Sequence[object]], Serving]
"""Starts it and waits for an answer; the last argument are the engine's flags."""


def vllm_ours(bench: Bench, programs: Programs, model: Model, flags: Sequence[object]) -> Serving:
    worker = ("-m", "dynamo_vllm.worker", *name(model), *flags)
    return ours(programs, bench.python("vllm"), bench.port(), worker, model.name)


def vllm_upstream(bench: Bench, programs: Programs, model: Model, flags: Sequence[object]) -> Serving:
    worker = ("-m", "dynamo.vllm", *name(model), *flags)
    return upstream(programs, bench.python("vllm"), bench.port(), worker, model.name)


def vllm_serve(bench: Bench, programs: Programs, model: Model, flags: Sequence[object]) -> Serving:
    server = (bench.command("vllm", "vllm"), "serve", model.path, "--served-model-name", model.name, *flags)
    return own_server(programs, bench.python("vllm"), bench.port(), server, model.name)


def sglang_ours(bench: Bench, programs: Programs, model: Model, flags: Sequence[object]) -> Serving:
    worker = ("-m", "dynamo_sglang.worker", *name(model), *flags)
    return ours(programs, bench.python("sglang"), bench.port(), worker, model.name)


def sglang_upstream(bench: Bench, programs: Programs, model: Model, flags: Sequence[object]) -> Serving:
    worker = ("-m", "dynamo.sglang", *name(model), *flags)
    return upstream(programs, bench.python("sglang"), bench.port(), worker, model.name)


def sglang_server(bench: Bench, programs: Programs, model: Model, flags: Sequence[object]) -> Serving:
    server = ("-m", "sglang.launch_server", *name(model), *flags)
    return own_server(programs, bench.python("sglang"), bench.port(), server, model.name)


def name(model: Model) -> tuple[object, ...]:
    return ("--model", model.path, "--served-model-name", model.name)


STACKS: dict[str, dict[str, Stack]] = {
    "vllm": {OURS: vllm_ours, "upstream": vllm_upstream, "vllm serve": vllm_serve},
    "sglang": {OURS: sglang_ours, "upstream": sglang_upstream, "sglang server": sglang_server},
}
