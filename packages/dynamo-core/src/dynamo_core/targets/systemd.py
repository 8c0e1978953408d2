"""systemd units: one service for each process, and a target that stands for the graph."""

from __future__ import annotations

from pathlib import Path

from dynamo_core.deploy.process import Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError
from dynamo_core.targets.target import (
    Files,
    Rendering,
    Target,
    dashed,
    hidden_names,
    refuse_foreground,
)

STOP_MARGIN = 10
"""Seconds beyond the drain budget until systemd kills what is left."""
_RESTARTS = {None: "on-failure", "never": "no", "on-failure": "on-failure", "always": "always"}


class Systemd(Target):
    name = "systemd"
    summary = "user or system units for this machine"

    def site(self) -> Site:
        return Site("systemd", has_own_environment=True)

    def render(self, rendering: Rendering) -> Files:
        if problems := list(refuse_foreground(rendering.plan, "systemd")):
            raise UserError("\n".join(problems))
        target = f"{rendering.name}.target"
        units = {
            f"{rendering.name}-{dashed(process.name)}.service": process
            for process in rendering.plan.processes
        }
        files = {name: _service(rendering, process, target) for name, process in units.items()}
        files[target] = rendering.header() + _section(
            "Unit", [("Description", f"The graph {rendering.name}"), ("Wants", " ".join(units))]
        )
        files[target] += "\n" + _section("Install", [("WantedBy", "default.target")])
        return files


def _service(rendering: Rendering, process: Process, target: str) -> str:
    environment = [
        ("Environment", f'"{_escaped(_plain(f"{name}={value}"))}"')
        for name, value in process.env.items()
        if name not in hidden_names(process)
    ]
    hidden, path = hidden_names(process), f"%E/{rendering.name}/{dashed(process.name)}.env"
    if hidden:
        environment.insert(0, ("EnvironmentFile", path))
    unit = [("Description", f"{process.name} of the graph {rendering.name}"), ("PartOf", target)]
    service = [
        ("Type", "exec"),
        ("WorkingDirectory", _plain(str(Path.cwd()))),
        *environment,
        ("ExecStart", " ".join(map(_quoted, process.argv))),
        ("Restart", _RESTARTS[process.restart]),
        ("RestartSec", "2"),
        ("RestartPreventExitStatus", "2"),  # wrong settings do not get better
        ("KillMode", "mixed"),  # the component ends its own engine; SIGKILL at the end is for all
        ("TimeoutStopSec", f"{process.drain_timeout + STOP_MARGIN:g}"),
    ]
    note = f"# Make {path}, mode 600: {', '.join(hidden)}\n" if hidden else ""
    return "\n".join(
        [
            rendering.header() + note + _section("Unit", unit),
            _section("Service", service),
            _section("Install", [("WantedBy", target)]),
        ]
    )


def _section(name: str, lines: list[tuple[str, str]]) -> str:
    return "".join([f"[{name}]\n", *(f"{key}={value}\n" for key, value in lines)])


def _plain(text: str) -> str:
    """With what systemd would replace kept as it is."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word of a command line as systemd reads it, with its quotes, escapes, `%` and `$`."""
    return '"' + _escaped(_plain(word).replace("$", "$$")) + '"'


def _escaped(text: str) -> str:
    return "".join(map(_escaped_character, text))


def _escaped_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if not character.isprintable():
        return "".join(f"\\x{byte:02x}" for byte in character.encode())
    return character
