"""Whether the component that is being checked will see the files of this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_has_own_files = ContextVar("_has_own_files", default=False)


def has_own_files() -> bool:
    """Whether it will run from an image or on another machine, so that a path that is missing here may well
    be there."""
    return _has_own_files.get()


@contextlib.contextmanager
def in_an_image(yes: bool) -> Iterator[None]:
    """Check what will run so."""
    token = _has_own_files.set(yes)
    try:
        yield
    finally:
        _has_own_files.reset(token)
