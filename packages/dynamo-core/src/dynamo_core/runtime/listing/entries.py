"""The entries of a discovery backend, as the Rust runtime writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar


@dataclass(frozen=True)
class Stored:
    """One value of the backend, not yet read."""

    text: bytes
    age: float | None = None
    """Seconds since it was made."""
    silent: float | None = None
    """Seconds since its process renewed it last."""
    is_stale: bool = False
    """Whether its process is gone and nobody has cleared it away."""


@dataclass(frozen=True)
class Entry:
    """What one instance has registered; None is what the backend does not tell."""

    namespace: str
    component: str
    endpoint: str
    instance_id: int
    age: float | None
    """Seconds since it was registered."""
    silent: float | None
    """Seconds since its process renewed it last."""

    is_stale: bool
    """Whether its process is gone and nobody has cleared it away."""

    @property
    def path(self) -> str:
        return f"{self.namespace}.{self.component}.{self.endpoint}"


@dataclass(frozen=True)
class Instance(Entry):
    """An endpoint of one process."""

    address: str
    """Host and port, or the NATS subject."""


@dataclass(frozen=True)
class Model(Entry):
    """A model that one instance serves."""

    name: str
    """What clients ask for."""
    role: str
    """`aggregated`, `prefill` or `decode`; the last two need each other."""


@dataclass(frozen=True)
class Publisher(Entry):
    """What tells routers about the KV cache of one instance, or of one of its data-parallel ranks."""


@dataclass(frozen=True)
class Listing:
    """What a backend holds, sorted by name."""

    place: str
    """`folder /tmp/dynamo-1000` or `etcd at http://host:2379`; without a password."""
    instances: tuple[Instance, ...] = ()
    models: tuple[Model, ...] = ()
    publishers: tuple[Publisher, ...] = ()

    @property
    def live(self) -> Listing:
        """Without what is stale."""
        return self._only(lambda entry: not entry.is_stale)

    @property
    def stale(self) -> Listing:
        """Only what is stale."""
        return self._only(lambda entry: entry.is_stale)

    def _only(self, wanted: Callable[[Entry], bool]) -> Listing:
        return Listing(
            self.place,
            tuple(filter(wanted, self.instances)),
            tuple(filter(wanted, self.models)),
            tuple(filter(wanted, self.publishers)),
        )


def parse(place: str, stored: Iterable[Stored]) -> Listing:
    """Read what is stored; values that are not the Rust runtime's are passed over."""
    found = [entry for value in stored if (entry := _entry(value)) is not None]
    instances = [entry for entry in found if isinstance(entry, Instance)]
    models = [entry for entry in found if isinstance(entry, Model)]
    publishers = [entry for entry in found if isinstance(entry, Publisher)]
    instances.sort(key=lambda entry: (entry.path, entry.instance_id))
    models.sort(key=lambda entry: (entry.name, entry.path, entry.instance_id))
    publishers.sort(key=lambda entry: (entry.path, entry.instance_id))
    return Listing(place, tuple(instances), tuple(models), tuple(publishers))


def _entry(stored: Stored) -> Entry | None:
    try:
        data = json.loads(stored.text)
        kind = _get(data, "type", str)
        common: dict[str, Any] = {"age": stored.age, "silent": stored.silent, "is_stale": stored.is_stale}
        if kind == "EventSource":
            endpoint = _get(_get(data, "scope", dict), "endpoint", dict)
            worker = _get(_get(data, "metadata", dict), "worker", dict)
            common |= {name: _get(endpoint, name, str) for name in ("namespace", "component")}
            common["endpoint"] = _get(endpoint, "name", str)
            return Publisher(**common, instance_id=_get(worker, "worker_id", int))
        common |= {name: _get(data, name, str) for name in ("namespace", "component", "endpoint")}
        common["instance_id"] = _get(data, "instance_id", int)
        if kind == "Endpoint":
            return Instance(**common, address=_address(_get(data, "transport", dict)))
        if kind == "Model":
            card = _get(data, "card_json", dict)
            role = str(card.get("worker_type") or "aggregated")
            name = _get(card, "display_name", str)
            return Model(**common, name=name, role=role)
    except (ValueError, RecursionError):
        pass
    return None


T = TypeVar("T")


def _get(data: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, kind):
        raise ValueError(key)
    return value


def _address(transport: Mapping[str, Any]) -> str:
    """`{"tcp": "host:port/…"}` or `{"nats_tcp": "subject"}`."""
    for kind, value in transport.items():
        return str(value).partition("/")[0] if kind == "tcp" else str(value)
    return ""
