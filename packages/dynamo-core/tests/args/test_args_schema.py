"""The JSON schema takes what the parser takes, and refuses what it refuses."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from every_setting import DECLARED, WorkerSettings
from toy_engine import TOY

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.args.schema import file_schema, serve_file_schema
from dynamo_core.deploy import BaseDeployment


class Deployment(BaseDeployment):
    name = "toy"
    drain_timeout = 5


COMPONENT = file_schema(DynamoFlexibleArgumentParser(WorkerSettings, Deployment, engine=TOY))
SERVE_FILE = serve_file_schema({"toy.worker": COMPONENT})


def is_valid(value: Any, schema: dict[str, Any]) -> bool:
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema).is_valid(value)


def test_every_setting_is_there_with_help_and_default() -> None:
    properties = COMPONENT["properties"]
    assert DECLARED.keys() - {key.replace("-", "_") for key in properties} == set()
    assert properties["drain-timeout"]["default"] == 5
    assert properties["status-port"]["description"] == DECLARED["status_port"].help
    assert properties["max-len"]["description"] == "Tokens of a sequence."
    assert "default" not in properties["nats-server"]  # a secret


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("status-port", [0, 32767, "${PORT}", "${PORT:-1}"], [40000, "http", -2, 1.5]),
        ("log-level", ["info"], ["loud", 5]),
        ("drain-timeout", [0, 2.5], [-1, "soon"]),
        ("served-model-name", ["x", None], ["", 5]),
        ("max-len", [5], ["five", 5.5]),
        ("fraction", [0.5, 1], ["half"]),
        ("dtype", ["float32", "${D}"], ["float31"]),
        ("eager", [True, False], [1, "yes"]),
        ("prefix-caching", [False], ["no"]),
        ("no-prefix-caching", [True], [3]),
        ("sizes", [[1, 2], 3], [["a"], "b"]),
        ("options", [{"a": 1}, [1], "{}"], []),
    ],
)
def test_values(key: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert is_valid({key: value}, COMPONENT), value
    for value in bad:
        assert not is_valid({key: value}, COMPONENT), value


@pytest.mark.parametrize("key", ["worker-id", "statusport", "max_len"])
def test_keys_that_a_component_does_not_take(key: str) -> None:
    assert not is_valid({key: 1}, COMPONENT)


GRAPH = {
    "Common": {"model": "m", "max-len": 5},
    "Worker": {
        "component": "toy.worker",
        "python": ".venv/bin/python",
        "replicas": 2,
        "resources": {"gpu": 1, "memory": "8Gi"},
        "env": {"HF_HOME": "/models", "N": 1},
        "dtype": "float32",
    },
    "Mine": {"component": "my_own.module", "anything": 1},
}


def test_a_graph() -> None:
    assert is_valid(GRAPH, SERVE_FILE)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("Common", "modle", "m"),
        ("Worker", "component", 5),
        ("Worker", "replicas", -1),
        ("Worker", "resources", {"gpus": 1}),
        ("Worker", "env", {"A": [1]}),
        ("Worker", "dtype", "float31"),
        ("Worker", "dtpye", "float32"),
    ],
)
def test_a_graph_with_a_mistake(section: str, key: str, value: Any) -> None:
    assert not is_valid({**GRAPH, section: {**GRAPH[section], key: value}}, SERVE_FILE)


def test_a_section_needs_a_component() -> None:
    assert not is_valid({"Worker": {"dtype": "float32"}}, SERVE_FILE)
