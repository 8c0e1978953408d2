"""The processes of a graph as a table, drawn by rich."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterable

from dynamo_core.serve.director import Member, State

_PERCENT = re.compile(r"(\d{1,3})\s?%")
_COLOURS = {
    State.STARTING: "yellow",
    State.READY: "green",
    State.WAITING: "magenta",
    State.STOPPING: "yellow",
    State.ENDED: "red",
}


def render(
    members: Iterable[Member],
    now: float,
    *,
    colour: bool,
    progress: Callable[[str], str] = lambda name: "",
) -> str:
    """The table, in lines that fit the terminal, each with its newline.

    `progress` tells the unfinished line of a process, which often is a progress bar. Where there are
    more processes than lines, those that are ready are only counted.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    width, height = shutil.get_terminal_size()
    members = list(members)
    shown = members
    if len(members) > height - 4:
        shown = [member for member in members if member.state is not State.READY][: max(1, height - 5)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("component", "GPUs", "ports", "state", "time"):
        table.add_column(title, no_wrap=True, justify="right" if title == "time" else "left")
    for member in shown:
        state = f"[{_COLOURS[member.state]}]{_state(member, progress(member.name))}[/]"
        process = member.process
        ports = ", ".join(f"{key.removesuffix('-port')} {p}" for key, p in process.port_ranges.items()) or "–"
        seconds = f"{member.took if member.state is State.READY else now - member.since:.1f} s"
        table.add_row(process.name, ",".join(process.gpus) or "–", ports, state, seconds)
    output = io.StringIO()
    console = Console(
        file=output, width=width - 1, force_terminal=colour, no_color=not colour, legacy_windows=False
    )
    console.print(table)
    if hidden := len(members) - len(shown):
        console.print(f"and {hidden} more")
    return output.getvalue()


def _state(member: Member, partial: str) -> str:
    percent = _PERCENT.search(partial) if member.state is State.STARTING else None
    return f"loading {percent[1]} %" if percent else str(member.state)
