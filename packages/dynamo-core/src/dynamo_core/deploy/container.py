"""What a cluster is told about a component besides its command: its image, its secrets, where it may run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from dynamo_core.args.config_files import CONTAINER
from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.suggest import with_hint

Word = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S+$")]
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?$")]
MountPath = Annotated[str, StringConstraints(pattern=r"^/[^:]*$")]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")]
Volume = Annotated[str, StringConstraints(pattern=r"^(claim:[a-z0-9.-]+|host:/.*|memory|scratch)$")]
DnsName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
Policy = Annotated[str, StringConstraints(pattern=r"^(Always|IfNotPresent|Never)$")]

_FORMS = {
    "secrets": "a variable's name with SECRET/KEY, as HF_TOKEN: hugging-face/token",
    "volumes": "a path with claim:NAME, host:/PATH, memory or scratch, as /models: claim:models",
    "shared_memory": "a Kubernetes quantity, as 16Gi",
    "image_pull_policy": "Always, IfNotPresent or Never",
    "autoscale": "{max: N, min: N, metric: NAME, average: NUMBER, prometheus: URL}, or max alone; min is at "
    "most max, and at least 1 without prometheus",
    "scraped_from": "the name of a namespace",
}


class Autoscale(BaseModel):
    """How many replicas there are to be, by a metric of the component."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max: int = Field(ge=1)
    min: int = Field(default=1, ge=0)
    metric: Word = "dynamo_core_requests_waiting"
    """One of the component's own, as its `/metrics` has it."""
    average: float = Field(default=4.0, gt=0, strict=False)
    """What a replica should have of it: more replicas are started above it, some stopped below."""
    prometheus: Word | None = None
    """The address of a Prometheus, for KEDA; without it the cluster's own metrics adapter is asked."""

    @model_validator(mode="after")
    def _order(self) -> Autoscale:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        if not self.min and not self.prometheus:
            raise ValueError("min 0 needs KEDA, and so prometheus")
        return self


class Container(BaseModel):
    """Keys of `container:` by field, each weaker than the same key nearer to the component."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image: Word | None = None
    image_pull_policy: Policy | None = None
    image_pull_secrets: tuple[Word, ...] = Field(default=(), strict=False)
    secrets: dict[Word, SecretKey] = {}
    """Environment variable → `SECRET/KEY` of the cluster."""
    volumes: dict[MountPath, Volume] = {}
    """Path in the container → `claim:NAME`, `host:/PATH`, `memory` or `scratch`."""
    shared_memory: Quantity | None = None
    """Size of /dev/shm; engines with several ranks need more than the 64 MiB that containers get."""
    node_selector: dict[Word, str] = {}
    tolerations: tuple[dict[str, str | int], ...] = Field(default=(), strict=False)
    """As Kubernetes writes them."""
    service_account: Word | None = None
    labels: dict[Word, str] = {}
    annotations: dict[Word, str] = {}
    autoscale: Autoscale | None = None
    scraped_from: DnsName | None = None
    """The namespace whose pods may read the status ports; a Prometheus elsewhere could not, otherwise."""


Keys = Mapping[str, Located]
"""Keys of `container:` with their sources, by field."""


def keys_of(located: Located, problems: list[str], where: str) -> dict[str, Located]:
    """The keys of a whole `container:`; `problems` gets one if it is no mapping."""
    if not isinstance(located.value, dict):
        problems.append(f"{where}: {located.origin}: {CONTAINER} must be a mapping, found {located.value!r}")
        return {}
    return {str(key).replace("-", "_"): Located(v, located.origin) for key, v in located.value.items()}


def declared(values: Mapping[str, Any], where: str) -> dict[str, Located]:
    """The keys that a deployment class declares."""
    return {key: Located(value, Origin("deployment", where)) for key, value in values.items()}


def container_of(keys: Keys, problems: list[str], where: str) -> Container:
    """What the keys say; `problems` gets what is wrong with each, with its source."""
    try:
        return Container.model_validate({key: located.value for key, located in keys.items()})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = str(detail["loc"][0])
            origin, shown = keys[key].origin, key.replace("_", "-")
            if key not in Container.model_fields:
                known = {name.replace("_", "-") for name in Container.model_fields}
                problems.append(
                    with_hint(f"{where}: {origin}: unknown key {CONTAINER}.{shown}", shown, known)
                )
                continue
            form = f"\n  fix: give {_FORMS[key]}" if key in _FORMS else f": {detail['msg']}"
            value = "" if key == "secrets" else f" {keys[key].value!r}"
            problems.append(f"{where}: {origin}: {CONTAINER}.{shown}{value} is not what it takes{form}")
        return Container()


def check_declared(values: Mapping[str, Any], where: str) -> None:
    """Raise `TypeError` for a class that declares what no container has."""
    problems: list[str] = []
    container_of(declared(values, where), problems, where)
    if problems:
        raise TypeError("\n".join(problems))
