"""The last lines of a graph: what became of it and why."""

from __future__ import annotations

from dynamo_core.serve.director import Director, Member, describe_exit


def summary(director: Director, now: float, code: int) -> list[str]:
    """One line for each process that there is something to say of, then one for all."""
    lines = [line for member in director.members.values() if (line := _line(member))]
    ran = duration(now - director.began)
    return [*lines, f"stopped after {ran}, exit code {code}: {director.verdict}"]


def duration(seconds: float) -> str:
    """A time span as a person would say it: `2.4 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _line(member: Member) -> str:
    restarts = len(member.restarts)
    if not restarts and not member.code:
        return ""
    times = f" after {restarts} restart{'s' if restarts > 1 else ''}" if restarts else ""
    return f"{member.name} ended {describe_exit(member.code or 0)}{times}"
