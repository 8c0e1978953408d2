"""A Procfile: one line for each process, for foreman, honcho, overmind and their like."""

from __future__ import annotations

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
        lines = [
            f"{dashed(process.name)}: exec {process.command()}\n"
            if not process.env and not process.secrets
            else f"{dashed(process.name)}: exec env {process.command()}\n"
            for process in rendering.plan.processes
        ]
        return {"Procfile": rendering.header() + "".join(lines)}
