"""vLLM behind the real runtime and frontend says what vLLM says alone."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from conftest import START_TIMEOUT, start_worker

from dynamo_core.testing.engine_checks import EngineChecks
from dynamo_core.testing.processes import Stack


class TestVllm(EngineChecks):
    """The checks are core's; the fixtures stand in conftest.py."""


def test_a_killed_engine_takes_the_worker_down_with_its_name(stack: Stack) -> None:
    worker = start_worker(stack)
    worker.wait_for_line("is ready", START_TIMEOUT)
    children = psutil.Process(worker.pid).children(recursive=True)
    core = next(child for child in children if "EngineCore" in child.name())
    os.kill(core.pid, signal.SIGKILL)
    assert worker.wait(30) == 1
    assert worker.lines[-1].startswith(f"error: engine process {core.pid} (")
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()]


def test_a_start_that_fails_in_the_engine_ends_with_the_engines_first_error(stack: Stack) -> None:
    worker = start_worker(stack, "--block-size", "16", "--max-model-len", "2048", "--kv-cache-memory-bytes", 1000)
    assert worker.wait(START_TIMEOUT) == 1
    assert worker.lines[-1].startswith("error: ValueError: ")


def test_ctrl_c_during_the_start_leaves_nothing(stack: Stack) -> None:
    worker = start_worker(stack)
    worker.wait_for_line("EngineCore", START_TIMEOUT)
    children = psutil.Process(worker.pid).children(recursive=True)
    assert worker.stop(signal.SIGINT, timeout=30) == 0
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--max-modle-len", "100"), "did you mean --max-model-len"),
        (("--dtype", "float31"), "float31"),
        (("--max-model-len", "100000"), "100000"),
    ],
)
def test_a_flag_that_vllm_refuses_is_one_clear_error(stack: Stack, flags: tuple[str, str], message: str) -> None:
    worker = start_worker(stack, *flags)
    assert worker.wait(START_TIMEOUT) == 2
    error = worker.output[worker.output.rindex("error: ") :]
    assert message in error
    assert "Traceback" not in worker.output
