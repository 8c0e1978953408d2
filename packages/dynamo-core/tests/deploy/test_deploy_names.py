"""Names, and what a deployment class says of a component."""

from __future__ import annotations

import pytest

from dynamo_core.deploy import BaseDeployment
from dynamo_core.deploy.deployment import check_name
from dynamo_core.errors import UserError


@pytest.mark.parametrize("name", ["a", "dynamo", "A9", "my-worker_2", "0", "a" * 200])
def test_names(name: str) -> None:
    assert check_name("component", name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "_a", "a_", "a.b", "a/b", "a b", "a\n", "ä", "a*", "a>", "..", "a:b", "\x00"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UserError) as raised:
        check_name("component", name)
    assert str(raised.value) == (
        f"component {name!r} is not a name: letters, digits, '-' and '_' only, "
        "starting and ending with a letter or digit"
    )


def test_describe_is_plain_data() -> None:
    class Deployment(BaseDeployment):
        name = "worker"
        resources = {"gpu": 2, "memory": "8Gi"}
        replicas = 3

    assert Deployment.describe() == {
        "namespace": "dynamo",
        "name": "worker",
        "resources": {"gpu": 2, "memory": "8Gi"},
        "container": {},
        "replicas": 3,
        "ready_port": "status_port",
        "role": "",
        "kv_events": False,
        "foreground": False,
    }


def test_an_unknown_resource_fails_where_it_is_written() -> None:
    with pytest.raises(TypeError, match=r"Deployment.resources has \['disk'\]; known are gpu, cpu, memory"):
        type("Deployment", (BaseDeployment,), {"name": "worker", "resources": {"disk": 1}})
