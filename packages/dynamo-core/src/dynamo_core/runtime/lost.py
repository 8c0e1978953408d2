"""The end of the Rust runtime that nobody has asked for: discovery has given this process up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_core import environment
from dynamo_core.errors import UserError

if TYPE_CHECKING:
    from dynamo_core.args import RuntimeSettings

LEASE = "ETCD_LEASE_TTL"
DEFAULT_LEASE = "30"
"""Seconds; the Rust runtime's own default. It renews its lease after each half of it."""


class RegistrationLost(UserError):
    """Exit code 1: the settings are right, and a supervisor does well to start the process again."""

    exit_code = 1


def registration_lost(settings: RuntimeSettings, meeting_point: str) -> RegistrationLost:
    """What has happened, and the way back."""
    if settings.discovery_backend != "etcd":
        return RegistrationLost(
            f"the Rust runtime has ended by itself; this process is no longer registered in {meeting_point}",
            fix="start this process again, as dynamo serve does",
        )
    lease = environment.read(LEASE) or DEFAULT_LEASE
    return RegistrationLost(
        f"this process is no longer registered in {meeting_point}: its lease of {lease} s has ended",
        fix="bring etcd back with its data and start this process again, as dynamo serve does; "
        f"{LEASE}=SECONDS in the environment of all components survives longer outages",
    )
