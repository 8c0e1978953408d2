"""`DYN_…` variables: which of those that are set does anybody read?"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable

from dynamo_core import environment
from dynamo_core.args.suggest import nearest

PREFIX = "DYN_"
OF_OTHER_COMPONENTS = (
    "DYN_ENGINE_ARGS_FILE",
    "DYN_HTTP_HOST",
    "DYN_HTTP_PORT",
    "DYN_INPUT",
    "DYN_MIGRATION_LIMIT",
    "DYN_MODEL",
    "DYN_ROUTER_MODE",
    "DYN_SERVED_MODEL_NAME",
    "DYN_TLS_CERT_PATH",
    "DYN_TLS_KEY_PATH",
)
"""Settings of our packages; which of them are installed here must not decide what is a mistake."""


def unknown_variables(declared: Iterable[str]) -> list[str]:
    """One problem for each `DYN_…` variable that is set and that nobody reads.

    `declared` are the variables of the component that asks.
    """
    ours = {*declared, *OF_OTHER_COMPONENTS}
    present = [name for name in environment.snapshot() if name.startswith(PREFIX) and name not in ours]
    if not present:
        return []
    foreign = foreign_names()
    families = tuple(name for name in foreign if name.endswith("_"))
    return [
        f"{name} is set, but nothing reads it; {nearest(name, ours | foreign) or 'unset it'}"
        for name in sorted(present)
        if name not in foreign and not name.startswith(families)
    ]


def foreign_names() -> set[str]:
    """The variables of the Rust runtime and of the Kubernetes operator."""
    text = importlib.resources.files(__package__).joinpath("foreign_names.txt").read_text()
    return {line for line in text.splitlines() if line and not line.startswith("#")}
