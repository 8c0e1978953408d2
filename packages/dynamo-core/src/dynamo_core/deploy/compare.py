"""What differs between two graphs, in effect: a default that is written out is no difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dynamo_core.args.foreign import is_secret_variable
from dynamo_core.args.show import MASK
from dynamo_core.deploy.describe import Described, Description
from dynamo_core.deploy.graph import GraphConfig, Section

ABSENT = object()


@dataclass(frozen=True)
class Hidden:
    """A value that is compared and not shown."""

    value: str


@dataclass(frozen=True)
class Difference:
    """One value that is another one in the second graph."""

    where: str
    """`Worker.max-model-len`, or the name of a section."""
    before: str
    after: str


def differences(
    first: tuple[GraphConfig, Mapping[str, Description]],
    second: tuple[GraphConfig, Mapping[str, Description]],
) -> list[Difference]:
    """Section by section, key by key, in the order of the files."""
    (a, described_a), (b, described_b) = first, second
    sections_a, sections_b = ({s.name: s for s in graph.sections} for graph in (a, b))
    found = []
    for name in [*sections_a, *(n for n in sections_b if n not in sections_a)]:
        if name not in sections_b or name not in sections_a:
            words = ("a section", "no section") if name in sections_a else ("no section", "a section")
            found.append(Difference(name, *words))
            continue
        before = _values(sections_a[name], described_a[name])
        after = _values(sections_b[name], described_b[name])
        found += _different(name, before, after)
    return found


def _values(section: Section, description: Description) -> dict[str, Described | Any]:
    own: dict[str, Any] = {
        "module": section.component,
        "python": section.python,
        "replicas": section.replicas.value if section.replicas else description.deployment.get("replicas", 1),
        "resources": section.resources.value
        if section.resources
        else description.deployment.get("resources", {}),
        **{
            f"env.{name}": Hidden(value) if is_secret_variable(name) else value
            for name, value in section.env.items()
        },
        **({} if description.settings else {key: v.value for key, v in section.values.items()}),
    }
    return {**own, **description.settings, **description.engine_options}


def _different(section: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for key in [*before, *(k for k in after if k not in before)]:
        old, new = before.get(key, ABSENT), after.get(key, ABSENT)
        if _plain(old) != _plain(new):
            yield Difference(f"{section}.{key}", _text(old), _text(new))


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Described) else value


def _text(value: Any) -> str:
    if value is ABSENT:
        return "not given"
    if isinstance(value, Hidden):
        return MASK
    if not isinstance(value, Described):
        return str(value)
    shown = MASK if value.is_secret else value.value
    return f"{shown} ({value.origin})"
