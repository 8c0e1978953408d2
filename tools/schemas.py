"""Write the schemas of deployment targets as `tests/schemas/` holds them: no prose, and no unknown field.

    python tools/schemas.py FOLDER

FOLDER has the definitions of custom resources (`NAME.crd.yaml`), as their projects publish them, and the
schemas of values of charts (`NAME.schema.json`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parents[1] / "tests" / "schemas"
PROSE = {"description", "title", "$comment", "examples"}
UNUSED = {
    "production-stack": {
        "cacheserverSpec",
        "kube-prometheus-stack",
        "loraAdapters",
        "loraController",
        "prometheus-adapter",
    },
    "kserve": {"prefill", "scaling", "worker"},
}
"""Parts that no graph of ours is written as, by the beginning of the file's name."""
OLD = {"kserve-llminferenceservices.v1alpha1.json"}


def closed(schema: Any, *, in_properties: bool = False) -> Any:
    """A schema without prose, whose objects take the properties that they name and no others."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: closed(value, in_properties=key in ("properties", "definitions", "$defs"))
        for key, value in schema.items()
        if in_properties or key not in PROSE
    }
    is_open = found.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in found
    if not in_properties and "properties" in found and not is_open:
        found["additionalProperties"] = False
    if not in_properties and found.get("x-kubernetes-int-or-string"):
        found = {"type": ["integer", "string"]}
    return found


def main(folder: Path) -> None:
    for path in sorted(folder.glob("*.crd.yaml")):
        definition = yaml.safe_load(path.read_text())
        for version in definition["spec"]["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}  # the API server's own
            schema["properties"].pop("status", None)
            write(f"{path.name.removesuffix('.crd.yaml')}.{version['name']}.json", schema)
    for path in sorted(folder.glob("*values.schema.json")):
        write(path.name, closed(json.loads(path.read_text())))


def write(name: str, schema: Any) -> None:
    """One file, unless it is of a version that nobody stores any more."""
    properties = schema["properties"]
    properties = properties["spec"]["properties"] if "spec" in properties else properties
    for part in next((parts for start, parts in UNUSED.items() if name.startswith(start)), ()):
        properties.pop(part, None)
    if name not in OLD:
        (HERE / name).write_text(json.dumps(schema, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
