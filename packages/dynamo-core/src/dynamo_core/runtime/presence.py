"""Whether discovery still has what a living process has registered."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

logger = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two looks at what discovery has told this process already."""
TIMEOUT = 3.0
"""Seconds that registering again may take."""
PATIENCE = 5
"""Refusals in a row after which discovery has given this process up."""


def in_folder(folder: Path, entry: str, *, is_model: bool) -> bool:
    """Whether a discovery folder has the file of an instance, and that of its model.

    `entry` is `namespace/component/endpoint/instance`, the instance in hexadecimal.
    """
    buckets = ("instances", "mdc") if is_model else ("instances",)
    name = re.sub("[^A-Za-z0-9]", lambda character: f"%{ord(character[0]):02X}", entry)
    return all((folder / "v1" / bucket / name).exists() for bucket in buckets)


async def stay_registered(
    what: str, is_registered: Callable[[], bool], register: Callable[[], Awaitable[None]]
) -> None:
    """Register again whenever the registration is gone: a laptop has slept for longer than a discovery
    folder keeps entries, or somebody has emptied the folder.

    Ends if discovery does not take it again, as an etcd that has come back without its data.
    """
    refusals = 0
    while refusals < PATIENCE:
        await asyncio.sleep(INTERVAL)
        if is_registered():
            refusals = 0
            continue
        try:
            await asyncio.wait_for(register(), TIMEOUT)
        except Exception as error:  # the Rust side has one type for everything
            refusals += 1
            why = str(error) or f"no answer within {TIMEOUT:g} s"
            logger.warning("%s is no longer registered and cannot register again: %s", what, why)
        else:
            logger.warning("%s was no longer registered and has registered again", what)
