"""A Procfile: one line for each process, for foreman, honcho, overmind and their like."""

from __future__ import annotations

from dynamo_core.deploy.process import Process
from dynamo_core.deploy.site import HERE, Site
from dynamo_core.errors import UserError
from dynamo_core.targets.target import Files, Rendering, Target, dashed, refuse_foreground


class Procfile(Target):
    name = "procfile"
    summary = "a Procfile for foreman, honcho or overmind on this machine"

    def site(self) -> Site:
        return HERE

    def render(self, rendering: Rendering) -> Files:
        if problems := list(refuse_foreground(rendering.plan, "a Procfile")):
            raise UserError("\n".join(problems))
        lines = [f"{dashed(process.name)}: {_command(process)}\n" for process in rendering.plan.processes]
        return {"Procfile": rendering.header() + "".join(lines)}


def _command(process: Process) -> str:
    """Without a shell that stays and keeps signals from the process."""
    return f"exec env {process.command()}" if process.env or process.secrets else f"exec {process.command()}"
