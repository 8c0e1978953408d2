"""A frontend says which workers its routing knows nothing of."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from dynamo_core.runtime.listing import Listing, Model, Publisher
from dynamo_core.testing.processes import Stack
from dynamo_frontend.frontend import parser
from dynamo_frontend.routing_watch import INTERVAL, SilentWorkers

SILENT = (
    "router-mode kv knows nothing of the KV caches of {}: no KV events come from there; start these workers "
    "with --router-mode kv or --kv-events"
)


class Watched:
    """The watch of a frontend in namespace n, and what it says of what it is shown."""

    def __init__(self, caplog: pytest.LogCaptureFixture, flags: Sequence[str]) -> None:
        routing = parser().resolve(list(flags)).settings.routing
        self._watch = SilentWorkers(_serves, routing)
        self._caplog = caplog
        caplog.set_level(logging.INFO, "dynamo_frontend.routing_watch")

    def looks_at(self, *models: Model, publishing: Sequence[int] = ()) -> list[str]:
        self._caplog.clear()
        publishers = tuple(
            Publisher("n", "c", "generate", worker, None, None, False) for worker in publishing
        )
        self._watch.look(Listing("folder f", models=models, publishers=publishers))
        return [record.getMessage() for record in self._caplog.records]

    @property
    def is_concerned(self) -> bool:
        return self._watch.is_concerned


def _serves(model: Model) -> bool:
    return model.namespace == "n"


@pytest.fixture
def kv(caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(caplog, ["--router-mode", "kv"])


def model(worker: int, *, namespace: str = "n", role: str = "aggregated") -> Model:
    return Model(namespace, "c", "generate", worker, None, None, False, name="m", role=role)


def test_a_silent_worker_is_named_once_and_after_a_second_look(kv: Watched) -> None:
    assert kv.looks_at(model(1), model(2), publishing=[1]) == []
    assert kv.is_concerned
    assert kv.looks_at(model(1), model(2), publishing=[1]) == [SILENT.format("n.c.generate (instance 2)")]
    assert kv.looks_at(model(1), model(2), publishing=[1]) == []
    assert kv.is_concerned


def test_one_that_was_just_starting(kv: Watched) -> None:
    assert kv.looks_at(model(1)) == []
    assert kv.looks_at(model(1), publishing=[1]) == []
    assert not kv.is_concerned


def test_mended_ones_are_named_too(kv: Watched) -> None:
    for _ in range(2):
        said = kv.looks_at(model(1), model(2), model(3))
    assert said == [SILENT.format("n.c.generate (instances 1, 2, 3)")]
    assert kv.looks_at(model(1), model(3), publishing=[3]) == [
        "mended: workers without KV events publish KV events now: n.c.generate (instance 3)",
        "mended: workers without KV events are gone: n.c.generate (instance 2)",
    ]
    assert kv.looks_at(model(1), publishing=[1]) == [
        "mended: workers without KV events publish KV events now: n.c.generate (instance 1)"
    ]
    assert not kv.is_concerned


@pytest.mark.parametrize(
    "nothing",
    [
        model(1, namespace="elsewhere"),
        model(1, role="decode"),
    ],
)
def test_who_need_not_speak(kv: Watched, nothing: Model) -> None:
    assert not any("KV caches" in line for _ in range(3) for line in kv.looks_at(nothing))
    assert not kv.is_concerned


@pytest.mark.parametrize("flags", [[], ["--router-mode", "kv", "--no-router-kv-events"]])
def test_a_frontend_that_does_not_listen(caplog: pytest.LogCaptureFixture, flags: list[str]) -> None:
    watched = Watched(caplog, flags)
    assert [watched.looks_at(model(1)) for _ in range(3)] == [[]] * 3


def test_decode_workers_have_to_speak_for_conditional_disaggregation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watched = Watched(caplog, ["--router-mode", "kv", "--conditional-disagg", "9"])
    said = [watched.looks_at(model(1, role="decode")) for _ in range(2)]
    assert said[1] == [SILENT.format("n.c.generate (instance 1)")]


def test_a_mixed_fleet_as_it_runs(stack: Stack) -> None:
    frontend = stack.frontend("--router-mode", "kv")
    stack.scripted("--kv-events")
    silent = stack.scripted()
    stack.wait_ready()
    warning = frontend.wait_for_line(r"WARNING dynamo_frontend.routing_watch: (.*)", 6 * INTERVAL)[1]
    assert warning.startswith(
        "router-mode kv knows nothing of the KV caches of dynamo.scripted.generate (instance "
    )
    assert silent.stop() == 0
    stack.running.remove(silent)
    frontend.wait_for_line("mended: workers without KV events are gone", 6 * INTERVAL)
    assert not any("kv_event_publisher_disabled" in line for line in frontend.lines)


def test_a_router_of_its_own_names_them_too(stack: Stack) -> None:
    router = stack.start("dynamo_frontend.router", "--workers", "workers.scripted.generate")
    stack.scripted("--namespace", "workers")
    warning = router.wait_for_line(r"WARNING dynamo_frontend.routing_watch: (.*)", 8 * INTERVAL)[1]
    assert warning.startswith(
        "router-mode kv knows nothing of the KV caches of workers.scripted.generate (instance "
    )
