"""Every setting of core from every source, with where it came from, and which source wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from every_setting import DECLARED, WorkerSettings

from dynamo_core.args import Arguments, DynamoFlexibleArgumentParser, Origin
from dynamo_core.args.settings import Declaration
from dynamo_core.deploy import BaseDeployment

SOURCES = ("flag", "environment", "file", "Common", "deployment", "default")
REQUIRED = {"model": "some/model", "component": "worker"}


def value_of(declared: Declaration, number: int) -> Any:
    """A valid value of a setting; neighbouring numbers give different ones."""
    if declared.choices:
        return declared.choices[number % len(declared.choices)]
    if declared.annotation is int:
        return 1000 + number
    if declared.annotation is float:
        return 2.5 + number
    return f"{number},GPU-{number}" if declared.name == "gpus" else f"value-{number}"


class Sources:
    """Gives one setting in any of the places where it can be given."""

    def __init__(self, declared: Declaration, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.declared = declared
        self.file = folder / "settings.yaml"
        self.monkeypatch = monkeypatch
        self.argv: list[str] = []
        self.attributes: dict[str, Any] = {"name": "worker"}

    def give(self, source: str, value: Any) -> Origin:
        """Give the value there; returns the origin that the parser should tell."""
        declared = self.declared
        match source:
            case "flag":
                self.argv += [declared.flag, str(value)]
                return Origin("flag", declared.flag)
            case "environment":
                self.monkeypatch.setenv(declared.env, str(value))
                return Origin("environment", declared.env)
            case "file":
                self._write(f"{declared.key}: {value}\n")
                return Origin("file", f"{self.file}:{self._line()}")
            case "Common":
                self._write(f"Common:\n  {declared.key}: {value}\n")
                return Origin("file", f"{self.file}:{self._line()}")
            case "deployment":
                self.attributes["name" if declared.name == "component" else declared.name] = value
                return Origin("deployment", "class Deployment")
        return Origin("default")

    def parse(self) -> Arguments[WorkerSettings]:
        deployment = type("Deployment", (BaseDeployment,), self.attributes)
        for name, value in REQUIRED.items():
            if name != self.declared.name:
                self.argv += [f"--{name}", value]
        has_class = len(self.attributes) > 1 or self.attributes["name"] != "worker"
        return DynamoFlexibleArgumentParser(WorkerSettings, deployment if has_class else None).parse(
            self.argv
        )

    def _write(self, text: str) -> None:
        written = self.file.read_text() if self.file.exists() else "# settings\n"
        self.file.write_text(written + text)
        self.argv = [
            "--config",
            str(self.file),
            *[w for w in self.argv if w not in ("--config", str(self.file))],
        ]

    def _line(self) -> int:
        return len(self.file.read_text().splitlines())


@pytest.fixture
def sources(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    return Sources(DECLARED[request.param], tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("sources", "source"),
    [
        (name, source)
        for name, declared in DECLARED.items()
        for source in SOURCES
        if source != "default" or not declared.required
    ],
    indirect=["sources"],
)
def test_each_source_gives_the_value_and_is_told(sources: Sources, source: str) -> None:
    declared = sources.declared
    value = declared.default if source == "default" else value_of(declared, 1)
    origin = sources.give(source, value)
    arguments = sources.parse()
    assert getattr(arguments.settings, declared.name) == value
    assert arguments.origins[declared.name] == origin


PAIRS = [("flag", "environment"), ("environment", "file"), ("file", "Common"), ("Common", "deployment")]


@pytest.mark.parametrize(("winner", "loser"), PAIRS, ids="-over-".join)
@pytest.mark.parametrize("sources", DECLARED, indirect=True)
def test_the_source_before_wins(sources: Sources, winner: str, loser: str) -> None:
    sources.give(loser, value_of(sources.declared, 2))
    origin = sources.give(winner, value_of(sources.declared, 1))
    arguments = sources.parse()
    assert getattr(arguments.settings, sources.declared.name) == value_of(sources.declared, 1)
    assert arguments.origins[sources.declared.name] == origin


@pytest.mark.parametrize("sources", ["status_port"], indirect=True)
def test_a_later_file_wins(sources: Sources, tmp_path: Path) -> None:
    sources.give("file", 1001)
    later = tmp_path / "later.yaml"
    later.write_text("status-port: 1002\n")
    sources.argv += ["-f", str(later)]
    arguments = sources.parse()
    assert arguments.settings.status_port == 1002
    assert arguments.origins["status_port"] == Origin("file", f"{later}:1")


def test_what_is_common_to_a_graph_may_hold_what_this_component_does_not_know(tmp_path: Path) -> None:
    file = tmp_path / "agg.yaml"
    file.write_text("Common:\n  router-mode: kv\n  model: common/model\ncomponent: worker\n")
    settings = DynamoFlexibleArgumentParser(WorkerSettings).parse(["-f", str(file)]).settings
    assert settings.model == "common/model"
