"""Fixtures of the kit, and its table."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from dynamo_core.errors import UserError
from dynamo_core.testing.engine_checks import START_TIMEOUT, Case, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.plugin import stack
from dynamo_core.testing.processes import PORTS, Running, Stack
from dynamo_core.testing.tiny_model import write_tiny_model, write_tiny_weights

__all__ = ["stack"]

Refused = Callable[[Case, str], bool]
Same = Callable[[str, str], bool]
MADE_UP = range(1000, 2000)
"""The token ids of the runtime's simulated engine, whatever the model."""
_ENGINE = pytest.StashKey[EngineUnderTest]()
_TABLE = pytest.StashKey[dict[str, "Row"]]()


@dataclass(frozen=True)
class Row:
    """One promise and what came of it."""

    promise: str
    outcome: str
    """`kept`, `broken`, `refused by name`, or `does not apply`."""
    reason: str = ""


@dataclass(frozen=True)
class Served:
    """A frontend and one worker of the engine."""

    stack: Stack
    worker: Running
    status_port: int

    @property
    def endpoint(self) -> str:
        """Where the worker is asked directly."""
        return self.worker.wait_for_line(r"(\S+) is ready")[1]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = {}
    config.addinivalue_line("markers", "refusable: a client may ask for it; whoever has it not says so, 400")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    package = config.getoption("engine")
    if package is None:
        raise pytest.UsageError("the conformance kit needs an engine: give --engine PACKAGE")
    try:
        config.stash[_ENGINE] = EngineUnderTest.of(package)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    exempt = dict(config.stash[_ENGINE].does_not_apply)
    for item in items:
        reason = exempt.pop(_name(item), None)
        must_refuse = item.get_closest_marker("refusable") and not config.stash[_ENGINE].is_simulated
        if reason is not None and not must_refuse:
            item.add_marker(pytest.mark.skip(reason=reason))
    if exempt:
        raise pytest.UsageError(f"does-not-apply names {', '.join(exempt)}, which is no promise of the kit")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    exempt = item.config.stash[_ENGINE].does_not_apply
    if report.skipped and _name(item) not in exempt:
        report.outcome = "failed"
        report.longrepr = f"skipped without a reason in {item.config.getoption('engine')}'s conformance.toml"
    if report.when == "call" or not report.passed:
        kept = "refused by name" if _name(item) in exempt else "kept"
        outcome = {"passed": kept, "skipped": "does not apply"}.get(report.outcome, "broken")
        promise = (getattr(item, "obj", item).__doc__ or _name(item)).strip().splitlines()[0]
        item.config.stash[_TABLE][_name(item)] = Row(promise, outcome, exempt.get(_name(item), ""))
    return report  # type: ignore[return-value]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash[_TABLE]
    width = max((len(row.promise) for row in table.values()), default=0)
    terminalreporter.section(f"promises of BaseWorker: {config.getoption('engine')}")
    for row in table.values():
        terminalreporter.write_line(
            f"{row.promise:<{width}}   {row.outcome}{row.reason and f': {row.reason}'}"
        )
    if path := config.getoption("conformance_json"):
        rows = {name: vars(row) for name, row in table.items()}
        result = {"engine": config.getoption("engine"), "promises": rows}
        Path(path).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _name(item: pytest.Item) -> str:
    """`test_seeds` → `seeds`."""
    return item.name.removeprefix("test_").replace("_", "-")


@pytest.fixture(scope="session")
def engine(pytestconfig: pytest.Config) -> EngineUnderTest:
    return pytestconfig.stash[_ENGINE]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest) -> Path:
    """A model folder; with random weights where there is what makes them, as beside every real engine."""
    folder = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")
    if engine.is_simulated:
        _add_words(folder / "tokenizer.json")
    try:
        return write_tiny_weights(folder)
    except ImportError:
        return folder


def _add_words(tokenizer: Path) -> None:
    """Make each token that a simulated engine makes up one word of text."""
    content = json.loads(tokenizer.read_text(encoding="utf-8"))
    content["model"]["vocab"] |= {f"\u0120{token}": token for token in MADE_UP}  # the byte alphabet's space
    tokenizer.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def same(engine: EngineUnderTest) -> Same:
    """Whether two answers to a request are the same; where they are made up, whether they are as long."""
    return _as_long if engine.is_simulated else operator.eq


def _as_long(one: str, other: str) -> bool:
    return len(one.split()) == len(other.split()) > 0


@pytest.fixture
def refused(request: pytest.FixtureRequest, engine: EngineUnderTest, served: Served) -> Refused:
    """Whether the engine does not have what a case asks for; then asking must be a 400 that names it."""

    def check(case: Case, word: str) -> bool:
        if _name(request.node) not in engine.does_not_apply:
            return False
        with pytest.raises(openai.BadRequestError, match=rf"\b{word}\b"):
            complete(served.stack, case)
        return True

    return check


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
) -> Iterator[Served]:
    with Stack(tmp_path_factory.mktemp("served"), tiny_model) as running:
        running.frontend()
        port = next(PORTS)
        worker = engine.start(running, "--status-port", port, "--drain-timeout", 60)
        running.wait_ready(START_TIMEOUT)
        yield Served(running, worker, port)
