"""What a component says of itself before it is started."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from dynamo_core.errors import UserError

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")
RESOURCES = ("gpu", "cpu", "memory")
Role = Literal["", "frontend", "worker", "prefill", "decode"]


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
    the component (`drain_timeout = 5`) is that setting's default here, and `engine_options` holds
    defaults for options of its engine by file key (`{"max-model-len": 4096}`).
    """

    namespace: ClassVar[str] = "dynamo"
    name: ClassVar[str]
    resources: ClassVar[Mapping[str, int | str]] = {}
    """Per replica: `gpu` as a count, `cpu` and `memory` as Kubernetes quantities."""
    container: ClassVar[Mapping[str, Any]] = {}
    """What a cluster is told, by field of `dynamo_core.deploy.container.Container`; `container:` of a serve
    file overrides it key by key."""
    replicas: ClassVar[int] = 1
    ready_port: ClassVar[str] = "status_port"
    """The setting with the port whose `/health` answers 200 once this component is ready."""
    role: ClassVar[Role] = ""
    """What it is among the others; a planner checks that they fit together."""
    engine_options: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if unknown := set(cls.resources) - set(RESOURCES):
            raise TypeError(
                f"{cls.__qualname__}.resources has {sorted(unknown)}; known are {', '.join(RESOURCES)}"
            )
        if cls.container:
            from dynamo_core.deploy.container import check_declared

            check_declared(cls.container, f"{cls.__qualname__}.container")

    @classmethod
    def check_attributes(cls, settings: Collection[str], *, has_engine: bool) -> None:
        """Raise `TypeError` for an attribute that nothing reads; those with an underscore are private."""
        known = {*vars(BaseDeployment), *settings}
        own = {
            name
            for base in cls.__mro__
            if issubclass(base, BaseDeployment)
            for name, value in vars(base).items()
            if not name.startswith("_") and not callable(getattr(cls, name, value))
        }
        if unknown := sorted(own - known - {"name"}):
            raise TypeError(
                f"{cls.__qualname__} has {', '.join(unknown)}, which is no setting of its component"
            )
        if cls.ready_port != BaseDeployment.ready_port and cls.ready_port not in settings:
            raise TypeError(f"{cls.__qualname__}.ready_port is {cls.ready_port!r}, which is no setting")
        if cls.engine_options and not has_engine:
            raise TypeError(f"{cls.__qualname__} has engine_options, but its component has no engine")

    @classmethod
    def own_attributes(cls) -> set[str]:
        """The words that describe a deployment and so cannot be settings."""
        return {
            name for name, value in vars(BaseDeployment).items() if name[0] != "_" and not callable(value)
        }

    @classmethod
    def default_of(cls, setting: str) -> Any:
        """This class's value for a setting, or None if it has none."""
        return getattr(cls, "name" if setting == "component" else setting, None)

    @classmethod
    def to_kubernetes(cls, name: str, **common: Any) -> list[dict[str, Any]]:
        """The objects of this component alone, with settings such as `model`. Raises `UserError`."""
        from dynamo_core.deploy.objects import Graph

        return Graph(cls, common=common).to_kubernetes(name)

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """The deployment as plain data, for a planner in another process."""
        return {
            "namespace": cls.namespace,
            "name": cls.name,
            "resources": dict(cls.resources),
            "container": dict(cls.container),
            "replicas": cls.replicas,
            "ready_port": cls.ready_port,
            "role": cls.role,
            "kv_events": False,
            "foreground": False,
        }
