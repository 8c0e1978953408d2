"""Machines as NVML would tell of them; see `nvml/pynvml.py` for what these descriptions are worth."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dynamo_core.deploy.gpus import Inventory, read_gpus

NVML = Path(__file__).parent / "nvml"


def description(machine: str) -> Path:
    return NVML / f"{machine}.json"


def double() -> ModuleType:
    """A new one, as no process of the machine has used it."""
    spec = importlib.util.spec_from_file_location("pynvml", NVML / "pynvml.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    """Let this process believe that it runs there."""
    monkeypatch.setitem(sys.modules, "pynvml", double())
    monkeypatch.setenv("FAKE_NVML", str(machine))


def environment_of(machine: str, **others: str) -> dict[str, str]:
    """What lets another process believe that it runs there."""
    return {"PYTHONPATH": str(NVML), "FAKE_NVML": str(description(machine)), **others}


def inventory(machine: str) -> Inventory:
    with pytest.MonkeyPatch.context() as monkeypatch:
        put(monkeypatch, description(machine))
        return read_gpus()
