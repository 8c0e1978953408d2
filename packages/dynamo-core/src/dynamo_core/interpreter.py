"""Python's garbage collector, where its defaults cost an inference worker something.

Engines import hundreds of thousands of objects that stay for good. Every collection of the oldest generation
looks at all of them again: with vLLM in the process that stops the event loop for a quarter of a second, and
during the import itself it takes a sixth of the time. What has been imported is therefore frozen, and
collections are rare until then.

What else was tried and changed nothing that could be measured, since chunks are sent by a thread: another
switch interval of the interpreter lock (1 ms, 50 ms instead of 5 ms).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

_USUAL = gc.get_threshold()
_WHILE_IMPORTING = 100_000
"""New objects between two collections. They still happen: an engine may load weights while it is imported."""


def collect_rarely() -> None:
    """From here to `collect_as_usual`."""
    gc.set_threshold(_WHILE_IMPORTING, *_USUAL[1:])


def collect_as_usual() -> None:
    """Only what is made from here on."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # or libraries say at the end that their objects have leaked
    gc.set_threshold(*_USUAL)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Wrap an import whose objects stay."""
    collect_rarely()
    try:
        yield
    finally:
        collect_as_usual()
