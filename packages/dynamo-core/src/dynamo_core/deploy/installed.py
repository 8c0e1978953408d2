"""The components that are installed in this interpreter.

A package makes its components known by an entry point under the name of their console script:

    [project.entry-points."dynamo.components"]
    dynamo-vllm-worker = "dynamo_vllm.worker"
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from dynamo_core.args.parser import DynamoFlexibleArgumentParser
from dynamo_core.deploy.describe import load

GROUP = "dynamo.components"


def components() -> dict[str, str]:
    """The modules of the installed components by the names of their console scripts."""
    return {point.name: point.value for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def parsers(problems: list[str]) -> dict[str, DynamoFlexibleArgumentParser[Any]]:
    """The parsers of the installed components; `problems` gets those that cannot be imported."""
    found = {}
    for name, module in components().items():
        try:
            found[name] = load(module).parser()
        except (ImportError, AttributeError) as error:
            problems.append(f"{name} is left out: {module} is no component: {error}")
    return found
