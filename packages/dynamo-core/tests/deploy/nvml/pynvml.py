"""A double of nvidia-ml-py that answers from a description of a machine.

A process that has this folder first on its path imports it in place of the real one; `FAKE_NVML` names
the description. Those beside this file were written by hand, in the shape in which NVML answers: no GPU
was at hand to record them from. A word in place of a value is the error that NVML has for it there.

Errors, constants and structures are the real ones, and a function that is not here does not exist, so
that code which calls the real module wrongly fails here as well.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent


def _load_real() -> ModuleType:
    found = importlib.machinery.PathFinder.find_spec(
        "pynvml", [p for p in sys.path if Path(p).resolve() != HERE]
    )
    assert found is not None
    spec = importlib.util.spec_from_file_location("real_pynvml", str(found.origin))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # it adds its errors to what it finds there
    spec.loader.exec_module(module)
    return module


real = _load_real()
globals().update(
    {name: value for name, value in vars(real).items() if name.startswith(("NVMLError", "NVML_"))}
)
_machine: dict[str, Any] | None = None


class _Handle:
    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers


def _or_error(answer: Any) -> Any:
    if isinstance(answer, str):
        raise getattr(real, f"NVMLError_{answer}")
    return answer


def _text(handle: Any, name: str) -> str:
    if _machine is None:
        raise real.NVMLError(real.NVML_ERROR_UNINITIALIZED)
    if not isinstance(handle, _Handle):
        raise TypeError(f"{handle!r} is no handle of a device")
    return handle.answers[name]


def _answer(handle: Any, name: str) -> Any:
    return _or_error(_text(handle, name))


def nvmlInit():  # noqa: N802
    global _machine
    machine = json.loads(Path(os.environ["FAKE_NVML"]).read_text())
    _or_error(machine.get("init"))
    _machine = machine


def nvmlShutdown():  # noqa: N802
    global _machine
    if _machine is None:
        raise real.NVMLError(real.NVML_ERROR_UNINITIALIZED)
    _machine = None


def nvmlSystemGetDriverVersion():  # noqa: N802
    return _machine["driver"] if "driver" in _machine else _or_error("NotSupported")


def nvmlDeviceGetCount():  # noqa: N802
    if _machine is None:
        raise real.NVMLError(real.NVML_ERROR_UNINITIALIZED)
    return len(_machine["devices"])


def nvmlDeviceGetHandleByIndex(index):  # noqa: N802
    if index >= nvmlDeviceGetCount():
        raise real.NVMLError(real.NVML_ERROR_INVALID_ARGUMENT)
    return _Handle(_or_error(_machine["devices"][index]))


def nvmlDeviceGetUUID(handle):  # noqa: N802
    return _text(handle, "uuid")


def nvmlDeviceGetName(handle):  # noqa: N802
    return _text(handle, "name")


def nvmlDeviceGetMemoryInfo(handle, version=None):  # noqa: N802
    assert version is None
    return real.c_nvmlMemory_t(**_answer(handle, "memory"))


def nvmlDeviceGetMigMode(device):  # noqa: N802
    return _answer(device, "mig_mode")


def nvmlDeviceGetMaxMigDeviceCount(device):  # noqa: N802
    return len(_answer(device, "instances"))


def nvmlDeviceGetMigDeviceHandleByIndex(device, index):  # noqa: N802
    return _Handle(_or_error(_answer(device, "instances")[index]))


def nvmlDeviceGetComputeRunningProcesses_v3(handle):  # noqa: N802
    return [real.nvmlFriendlyObject(process) for process in _answer(handle, "compute")]


def nvmlDeviceGetGraphicsRunningProcesses_v3(handle):  # noqa: N802
    return [real.nvmlFriendlyObject(process) for process in _answer(handle, "graphics")]
