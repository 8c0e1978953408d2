"""The components that are installed in this interpreter.

A package makes its components known by an entry point under the name of their console script:

    [project.entry-points."dynamo.components"]
    dynamo-vllm-worker = "dynamo_vllm.worker"
"""

from __future__ import annotations

from importlib.metadata import entry_points

GROUP = "dynamo.components"


def components() -> dict[str, str]:
    """The modules of the installed components by the names of their console scripts."""
    return {point.name: point.value for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}
