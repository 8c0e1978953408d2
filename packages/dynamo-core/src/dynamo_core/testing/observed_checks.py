"""The checks of what can be seen of a worker from outside: its metrics, its traces, and whether its engine
answers."""

from __future__ import annotations

import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from dynamo_core.handlers.metrics import COMMON
from dynamo_core.testing.collector import Collector, Span, collecting
from dynamo_core.testing.engine_checks import START_TIMEOUT, Case, complete
from dynamo_core.testing.processes import PORTS, Running, Stack

if TYPE_CHECKING:
    from dynamo_core.testing.engines import EngineUnderTest

PROMPT = [10 + i % 80 for i in range(100)]
INTERVAL, TIMEOUT = 1.0, 2.0
SEEN_WITHIN = 10.0
"""Seconds after which an engine's gauges must show what is so."""


class Watched:
    """A worker with a status port, behind a frontend; both get `both`."""

    def __init__(
        self, stack: Stack, engine: EngineUnderTest, *flags: object, both: tuple[object, ...] = ()
    ) -> None:
        self.stack = stack
        self.url = f"http://127.0.0.1:{(port := next(PORTS))}"
        stack.frontend(*both)
        self.worker: Running = engine.start(stack, "--status-port", port, *flags, *both)
        stack.wait_ready(START_TIMEOUT)

    def metrics(self) -> dict[str, float]:
        """Each sample without its labels, summed up."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
            text = response.read().decode()
        found: dict[str, float] = {}
        for name, value in re.findall(r"^([\w:]+)(?:\{.*\})? (\S+)$", text, re.MULTILINE):
            found[name] = found.get(name, 0.0) + float(value)
        return found

    def wait_metrics(self, are_so: Callable[[Mapping[str, float]], bool]) -> dict[str, float]:
        deadline = time.monotonic() + SEEN_WITHIN
        while not are_so(metrics := self.metrics()):
            assert time.monotonic() < deadline, metrics
            time.sleep(0.1)
        return metrics

    def wait_health(self, status: int, timeout: float) -> float:
        """Seconds until `/health` answers with `status`."""
        began = time.monotonic()
        while self._health() != status:
            assert time.monotonic() - began < timeout, self.worker.output
            time.sleep(0.05)
        return time.monotonic() - began

    def _health(self) -> int:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code


class ObservedChecks:
    """Subclass it as `class TestMyEngineObserved(ObservedChecks)` beside the fixture `engine`."""

    own_metrics: Mapping[str, float]
    """The engine's own samples, and by how much they move with two requests for 12 tokens together."""

    def is_of_the_request(self, span: Span) -> bool:
        """Whether the engine itself has sent this span, as its first one of a request."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def collector(self) -> Iterator[Collector]:
        with collecting() as collector:
            yield collector

    @pytest.fixture(scope="class")
    def quiet(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        engine: EngineUnderTest,
        tiny_model: Path,
        collector: Collector,
    ) -> Iterator[Watched]:
        """A worker that asks its engine nothing by itself."""
        with Stack(tmp_path_factory.mktemp("quiet"), tiny_model) as stack:
            yield Watched(stack, engine, "--health-interval", 0, both=collector.flags)

    def test_metrics_move_by_what_was_asked(self, quiet: Watched) -> None:
        """The engine's own and the common ones; the second request finds all full blocks in the cache."""
        before = quiet.metrics()
        for count in (7, 5):
            complete(quiet.stack, Case("asked", PROMPT, max_tokens=count))
        common = {
            "prompt_tokens_total": 200,
            "generated_tokens_total": 12,
            "prefix_cache_queried_tokens_total": 200,
            "prefix_cache_hit_tokens_total": 96,
            "time_to_first_token_seconds_count": 2,
            "inter_token_latency_seconds_count": 6 + 4,
            "requests_running": 0,
            "requests_waiting": 0,
        }
        expected = {**{f"dynamo_core_{name}": number for name, number in common.items()}, **self.own_metrics}

        def moved(after: Mapping[str, float]) -> dict[str, float]:
            return {name: after.get(name, 0.0) - before.get(name, 0.0) for name in expected}

        after = quiet.wait_metrics(lambda metrics: metrics.get("dynamo_core_requests_running") == 0)
        assert moved(after) == expected
        assert after["dynamo_core_time_to_first_token_seconds_sum"] > 0

    def test_every_common_metric_is_there(self, quiet: Watched) -> None:
        families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in quiet.metrics()}
        assert COMMON.keys() <= families

    def test_a_running_request_is_seen(self, quiet: Watched) -> None:
        stream = complete(quiet.stack, Case("long", PROMPT, max_tokens=1500), stream=True)
        next(iter(stream))
        metrics = quiet.wait_metrics(lambda metrics: metrics["dynamo_core_requests_running"] == 1)
        stream.close()
        assert 0 < metrics["dynamo_core_kv_cache_usage_ratio"] < 1

    def test_the_engines_span_hangs_on_the_workers(self, quiet: Watched, collector: Collector) -> None:
        complete(quiet.stack, Case("traced", PROMPT, max_tokens=2))
        spans = collector.wait(lambda spans: any(map(self.is_of_the_request, spans)))
        (span, *_) = filter(self.is_of_the_request, spans)
        spans = collector.wait(lambda spans: any(each.id == span.parent for each in spans))
        (worker,) = [each for each in spans if each.id == span.parent]
        assert worker.service == span.service
        assert worker.trace == span.trace
        collector.wait(lambda spans: any(each.id == worker.parent for each in spans))

    def test_an_engine_that_hangs_is_seen_and_so_is_its_return(
        self, stack: Stack, engine: EngineUnderTest
    ) -> None:
        flags = ("--health-interval", INTERVAL, "--health-timeout", TIMEOUT)
        watched = Watched(stack, engine, *flags)
        watched.wait_health(200, 10)
        children = psutil.Process(watched.worker.pid).children(recursive=True)
        core = next(child for child in children if engine.core_process in child.name())
        core.send_signal(signal.SIGSTOP)
        try:
            assert watched.wait_health(503, 10) < INTERVAL + TIMEOUT + 1
            watched.worker.wait_for_line("is not ready: its engine has not answered")
        finally:
            core.send_signal(signal.SIGCONT)
        assert watched.wait_health(200, 10) < INTERVAL + TIMEOUT + 1
        assert complete(watched.stack, Case("after", PROMPT, max_tokens=3)).usage.completion_tokens == 3
