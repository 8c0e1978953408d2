"""What would go wrong later on this machine, found before anything is started."""

from __future__ import annotations

from collections.abc import Iterator

from dynamo_core.args.groups import RuntimeSettings
from dynamo_core.doctor import installation, machine, meeting
from dynamo_core.doctor.findings import Check, Finding, Level

__all__ = ["CHECKS", "Check", "Finding", "Level", "diagnose"]

CHECKS: tuple[Check, ...] = (
    installation.python,
    installation.packages,
    installation.runtime_library,
    installation.event_loop,
    installation.components,
    machine.gpus,
    machine.shared_memory,
    machine.open_files,
    machine.temporary_folder,
    machine.http_port,
    meeting.variables,
    meeting.discovery_folder,
    meeting.watches,
    meeting.etcd,
    meeting.nats,
)


def diagnose(settings: RuntimeSettings, checks: tuple[Check, ...] = CHECKS) -> Iterator[Finding]:
    """Run every check; one that fails itself is an error, and the others go on."""
    for check in checks:
        try:
            yield from check(settings)
        except Exception as error:  # what a broken installation does to a check cannot be foreseen
            subject = check.__name__.replace("_", " ")
            yield Finding("error", subject, f"could not check: {type(error).__name__}: {error}")
