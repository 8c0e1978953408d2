"""Files: YAML and TOML, several of them, references to the environment, and serve files."""

from __future__ import annotations

from pathlib import Path

import pytest
from every_setting import WorkerSettings
from toy_engine import TOY

from dynamo_core.args import Arguments, DynamoFlexibleArgumentParser, Engine
from dynamo_core.deploy import BaseDeployment
from dynamo_core.errors import UserError


class Deployment(BaseDeployment):
    name = "c"


def parse(*argv: str, engine: Engine | None = None) -> Arguments[WorkerSettings]:
    parser = DynamoFlexibleArgumentParser(WorkerSettings, Deployment, engine=engine)
    return parser.resolve(["--model", "m", *argv])


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_toml_is_as_good_as_yaml(tmp_path: Path) -> None:
    file = write(tmp_path / "a.toml", '# mine\ndrain-timeout = 5\n\n[Common]\nnamespace = "n"\n')
    found = parse("-f", file)
    assert (found.settings.drain_timeout, found.settings.namespace) == (5.0, "n")
    assert str(found.origins["drain_timeout"]) == f"{file}:2"
    assert str(found.origins["namespace"]) == f"{file}:5"


def test_broken_toml_names_its_line(tmp_path: Path) -> None:
    file = write(tmp_path / "a.toml", "namespace = \n")
    with pytest.raises(UserError, match=r"a\.toml: not valid TOML: .*line 1"):
        parse("-f", file)


def test_of_several_files_a_later_one_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", "drain-timeout: 1\nnamespace: first\n")
    second = write(tmp_path / "b.yaml", "drain-timeout: 2\n")
    found = parse("-f", first, "-f", second)
    assert (found.settings.drain_timeout, found.settings.namespace) == (2.0, "first")
    assert str(found.origins["drain_timeout"]) == f"{second}:1"


def test_references_to_the_environment_are_replaced_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM", "blue")
    file = write(tmp_path / "a.yaml", "namespace: ${TEAM}-${STAGE:-test}\n")
    found = parse("-f", file)
    assert found.settings.namespace == "blue-test"
    assert str(found.origins["namespace"]) == f"{file}:1 with ${{TEAM}}, ${{STAGE}}"


def test_a_reference_to_nothing_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "namespace: ${NO_SUCH_VARIABLE}\n")
    with pytest.raises(UserError) as caught:
        parse("-f", file)
    assert str(caught.value) == (
        f"{file}:1: namespace: ${{NO_SUCH_VARIABLE}} is not set\n"
        "  fix: set it, or give a default: ${NO_SUCH_VARIABLE:-value}"
    )


def test_references_inside_engine_values_are_replaced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE", "/cache")
    file = write(tmp_path / "a.yaml", "adapters: ['\"${CACHE}/a\"']\noptions: {at: '${CACHE}'}\n")
    values, _ = parse("-f", file, engine=TOY).engine.read()
    assert {value.key: value.value for value in values} == {
        "adapters": ['"/cache/a"'],
        "options": {"at": "/cache"},
    }
    assert str(values[0].origin) == f"{file}:1 with ${{CACHE}}"


SERVE_FILE = """\
Common:
  namespace: everybody
  http-port: 1
Frontend:
  component: dynamo_frontend
  drain-timeout: 1
Mine:
  component: {module}
  replicas: 2
  drain-timeout: 2
"""


def test_in_a_serve_file_the_components_own_section_counts(tmp_path: Path) -> None:
    file = write(tmp_path / "graph.yaml", SERVE_FILE.format(module=Deployment.__module__))
    found = parse("-f", file)
    assert (found.settings.drain_timeout, found.settings.namespace) == (2.0, "everybody")
    assert str(found.origins["drain_timeout"]) == f"{file}:10"


def test_a_serve_file_without_the_component_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "graph.yaml", SERVE_FILE.format(module="somebody.else"))
    with pytest.raises(UserError, match=f"no section for {Deployment.__module__}"):
        parse("-f", file)


def test_a_section_without_a_component_is_not_passed_over(tmp_path: Path) -> None:
    text = SERVE_FILE.format(module=Deployment.__module__) + "common:\n  namespace: n\n"
    with pytest.raises(UserError, match=r":11: section common has no component:"):
        parse("-f", write(tmp_path / "graph.yaml", text))


def test_a_file_of_the_same_name_elsewhere_is_not_this_component(tmp_path: Path) -> None:
    other = f"elsewhere/{Path(__file__).name}"
    file = write(tmp_path / "graph.yaml", SERVE_FILE.format(module=other))
    with pytest.raises(UserError, match="no section for"):
        parse("-f", file)


def test_a_key_without_a_value_says_nothing(tmp_path: Path) -> None:
    found = parse("-f", write(tmp_path / "a.yaml", "Common:\n  namespace: n\nnamespace:\ndrain-timeout:\n"))
    assert (found.settings.namespace, found.settings.drain_timeout) == ("n", 30.0)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbfnamespace = 'n'\n")
    assert parse("-f", str(file)).settings.namespace == "n"
