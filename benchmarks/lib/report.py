"""Results as files: for each part JSON, Markdown and SVG, and one table of the figures to reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lib.bench import Part
from lib.compare import Figure

VERDICT = {True: "reached", False: "**not reached**", None: "not measured"}


def write(part: Part, machine: dict[str, Any], runs: int, folder: Path) -> None:
    """Write one part's files, and the table of all parts anew."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "part": part.name,
        "title": part.title,
        "runs": runs,
        "machine": machine,
        "notes": part.notes,
        "figures": [as_data(figure) for figure in part.figures],
    }
    (folder / f"{part.name}.json").write_text(json.dumps(data, indent=1) + "\n")
    for plot in part.plots:
        (folder / f"{plot.name}.svg").write_text(plot.svg())
    (folder / f"{part.name}.md").write_text(markdown(part, machine, runs))
    (folder / "README.md").write_text(overview(folder))


def as_data(figure: Figure) -> dict[str, Any]:
    names = list(figure.samples)
    return {
        "name": figure.name,
        "unit": figure.unit,
        "better": figure.better,
        "samples": {name: [round(value, 6) for value in figure.samples[name]] for name in names},
        "medians": {name: figure.median(name) for name in names},
        "subject": figure.subject,
        "peer": figure.peer,
        "ratio": figure.ratio,
        "goal": str(figure.goal) if figure.goal else None,
        "reached": figure.reached,
    }


def markdown(part: Part, machine: dict[str, Any], runs: int) -> str:
    lines = [f"# {part.title}", "", conditions(machine, runs), ""]
    lines += [line for note in part.notes for line in (f"- {note}",)]
    contestants = list(dict.fromkeys(name for figure in part.figures for name in figure.samples))
    lines += [
        "",
        f"| figure | {' | '.join(contestants)} | ratio | goal |",
        "| --- |" + " --- |" * (len(contestants) + 2),
    ]
    for figure in part.figures:
        cells = [shown(figure, name) for name in contestants]
        goal = f"{figure.goal}: {VERDICT[figure.reached]}" if figure.goal else ""
        lines.append(f"| {figure.name}, {figure.unit} | {' | '.join(cells)} | {ratio(figure)} | {goal} |")
    for plot in part.plots:
        lines += ["", f"![{plot.title}]({plot.name}.svg)"]
    return "\n".join([*lines, ""])


def conditions(machine: dict[str, Any], runs: int) -> str:
    others, load = machine["cores_used_by_others"], machine["load_average"]
    return (
        f"{machine['time']}, {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB. "
        f"Medians of {runs} alternating runs, least and most in brackets; a ratio is ours to the best of the "
        f"others. Before the runs others used {others.get('median', 0)} cores (at most "
        f"{others.get('most', 0)}), load average {load.get('median', 0)} (at most {load.get('most', 0)})."
    )


def shown(figure: Figure, contestant: str) -> str:
    values = figure.samples.get(contestant)
    if not values:
        return "–"
    return f"{number(figure.median(contestant))} ({number(min(values))} to {number(max(values))})"


def ratio(figure: Figure) -> str:
    return "–" if figure.ratio is None else f"{figure.ratio:.3g} × {figure.peer}"


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def overview(folder: Path) -> str:
    """Every figure that has a goal, from whatever parts have been measured."""
    parts = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    lines = ["# Figures to reach", "", "| figure | peer | ours | ratio | goal | |", "| --- |" + " --- |" * 5]
    for part in parts:
        for figure in part["figures"]:
            if figure["goal"]:
                lines.append(goal_row(part, figure))
    lines += ["", "# Parts", ""]
    for part in parts:
        lines.append(f"- [{part['title']}]({part['part']}.md): {conditions(part['machine'], part['runs'])}")
    return "\n".join([*lines, ""])


def goal_row(part: dict[str, Any], figure: dict[str, Any]) -> str:
    peer = figure["peer"]
    theirs = f"{peer} {number(figure['medians'][peer])}" if peer else "–"
    ours = number(figure["medians"].get(figure["subject"]))
    of = f"{figure['ratio']:.3g}" if figure["ratio"] is not None else "–"
    name = f"[{figure['name']}]({part['part']}.md), {figure['unit']}"
    return f"| {name} | {theirs} | {ours} | {of} | {figure['goal']} | {VERDICT[figure['reached']]} |"
