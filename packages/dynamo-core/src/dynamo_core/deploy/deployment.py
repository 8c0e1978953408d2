"""What a component says of itself before it is started."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from dynamo_core.errors import UserError

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")
RESOURCES = ("gpu", "cpu", "memory")


def check_name(kind: str, name: str) -> str:
    """`name`, if it can be a namespace, component or endpoint.

    Names become parts of discovery keys, NATS subjects and file names, where dots and slashes
    separate; the Rust runtime takes anything and fails later. Raises `UserError`.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"{kind} {name!r} is not a name: letters, digits, '-' and '_' only, "
            "starting and ending with a letter or digit"
        )
    return name


class BaseDeployment:
    """Plain values that describe how a component is deployed. Subclass it in the component's file:

        class Deployment(BaseDeployment):
            namespace = "dynamo"
            name = "sgldecode"
            resources = {"gpu": 1}

    Every value can be overridden: `namespace` and `name` by `--namespace` and `--component`,
    `replicas` and `resources` in a serve file. An attribute with the name of any other setting of
    the component (`drain_timeout = 5`) is that setting's default here.
    """

    namespace: ClassVar[str] = "dynamo"
    name: ClassVar[str]
    resources: ClassVar[Mapping[str, int | str]] = {}
    """Per replica: `gpu` as a count, `cpu` and `memory` as Kubernetes quantities."""
    replicas: ClassVar[int] = 1
    ready_port: ClassVar[str] = "status_port"
    """The setting with the port whose `/health` answers 200 once this component is ready."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if unknown := set(cls.resources) - set(RESOURCES):
            raise TypeError(
                f"{cls.__qualname__}.resources has {sorted(unknown)}; known are {', '.join(RESOURCES)}"
            )

    @classmethod
    def default_of(cls, setting: str) -> Any:
        """This class's value for a setting, or None if it has none."""
        return getattr(cls, "name" if setting == "component" else setting, None)

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """The deployment as plain data, for a planner in another process."""
        return {
            "namespace": cls.namespace,
            "name": cls.name,
            "resources": dict(cls.resources),
            "replicas": cls.replicas,
            "ready_port": cls.ready_port,
        }
