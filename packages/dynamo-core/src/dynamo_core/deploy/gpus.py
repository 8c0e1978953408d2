"""The GPUs of this machine, as its NVIDIA driver tells of them, and those that a process may see."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dynamo_core import environment
from dynamo_core.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"
GIB = 2**30
IN_USE = 0.1
"""Share of the memory. An idle driver holds less for itself, a loaded model more."""
_ENDS = ("-1", "NoDevFiles")
"""What is written where nothing, or nothing more, is to be visible; the second by Slurm."""


@dataclass(frozen=True)
class GpuProcess:
    """One process that computes on a GPU."""

    pid: int
    name: str = ""
    """Empty, as the user's, if it cannot be seen from here: of another container, for instance."""
    user: str = ""
    used: int | None = None
    """Bytes of the GPU's memory; None if the driver does not tell."""

    def __str__(self) -> str:
        user = f", user {self.user}" if self.user else ""
        memory = "" if self.used is None else f", {in_gib(self.used)}"
        return f"{self.name or 'a hidden process'} (process {self.pid}{user}{memory})"


@dataclass(frozen=True)
class Gpu:
    """What CUDA can be given: a GPU, or one instance of a GPU that is split (MIG)."""

    name: str
    """As in CUDA_VISIBLE_DEVICES: the index that nvidia-smi prints; of an instance its UUID."""
    uuid: str
    product: str = ""
    total: int = 0
    """Bytes; 0 if the driver does not tell, as where CPU and GPU share one memory."""
    used: int = 0
    """Bytes, without those of what only draws on a screen."""
    processes: tuple[GpuProcess, ...] = ()
    """Those that compute; none as well if the driver does not tell."""
    parent: Gpu | None = None
    """The GPU that an instance is a part of."""
    holder: str = ""
    """The running graph that has been given it, in words; its engine may still be on the way there."""

    @property
    def user(self) -> str:
        """Who uses it, in words; empty if it is free."""
        if self.holder or self.processes:
            return ", ".join(filter(None, (self.holder, *map(str, self.processes))))
        if self.used > IN_USE * self.total:
            return f"a process that cannot be seen from here ({in_gib(self.used)} of {in_gib(self.total)})"
        return ""

    def __str__(self) -> str:
        return f"{self.name} ({self.product})" if self.product else self.name


@dataclass(frozen=True)
class Inventory:
    """The devices that there are, or that may be used, in the order in which CUDA counts them."""

    gpus: tuple[Gpu, ...] = ()
    has_driver: bool = True
    driver: str = ""
    """Its version, if it tells."""
    why: str = ""
    """Why there are none."""
    left_out: tuple[str, ...] = ()
    """What is there but cannot be used, each with the reason."""
    shown: str | None = None
    """What CUDA_VISIBLE_DEVICES is, if that is what chose them."""

    @property
    def is_without(self) -> bool:
        """Whether this machine has no GPU, or all are hidden on purpose: not where they only fail."""
        return not self.gpus and not self.left_out

    @property
    def summary(self) -> str:
        """What there is and why, in words."""
        names = ", ".join(gpu.name for gpu in self.gpus)
        reasons = "; ".join(filter(None, (self.why, *self.left_out)))
        if not names and self.shown is None:
            return f"this machine has no GPU that can be used: {reasons}"
        those = "this machine has" if self.shown is None else f"{VISIBLE}={self.shown} shows"
        return f"{those} {names or 'none'}" + (f" ({reasons})" if reasons else "")


def in_gib(size: int) -> str:
    """Bytes as nvidia-smi's readers know them."""
    return f"{size / GIB:.1f} GiB"


def read_gpus() -> Inventory:
    """Ask the driver. A machine without GPUs, or without a driver, is no error."""
    import pynvml  # loads the driver's library at the first call, not here

    try:
        pynvml.nvmlInit()
        try:
            return _inventory(pynvml)
        finally:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
    except pynvml.NVMLError_LibraryNotFound:
        return Inventory(has_driver=False, why="no NVIDIA driver is installed")
    except pynvml.NVMLError_DriverNotLoaded:
        return Inventory(has_driver=False, why="the NVIDIA driver is not loaded")
    except pynvml.NVMLError as error:  # after an update without a reboot, for instance
        return Inventory(left_out=(f"the NVIDIA driver fails: {error}",))


def visible_gpus() -> Inventory:
    """Those of this machine that this process, and what it starts, may use. Raises `UserError`."""
    return visible(read_gpus(), environment.read(VISIBLE))


def visible(inventory: Inventory, value: str | None) -> Inventory:
    """What CUDA_VISIBLE_DEVICES lets through, in its order; None is not set, and lets all through.

    As CUDA reads it: indices, UUIDs and their beginnings, up to `-1`; nothing if it is empty. Where
    CUDA would silently stop, at what is not there or named twice, this raises `UserError`. A split GPU
    stands for all of its instances; CUDA would take the first one.
    """
    if value is None:
        return inventory
    entries = _entries(value)
    if not entries:
        return replace(inventory, gpus=(), left_out=(), why="", shown=value)
    if not inventory.gpus:
        return inventory
    try:
        gpus = [gpu for entry in entries for gpu in _find(inventory.gpus, entry)]
        _check_once(gpus)
    except LookupError as error:
        raise UserError(
            f"{VISIBLE} is {value!r}, but {error.args[0]}; {inventory.summary}",
            fix=f"unset {VISIBLE}, or name what is there, each once",
        ) from None
    return replace(inventory, gpus=tuple(gpus), shown=value)


def choose(inventory: Inventory, names: str) -> tuple[Gpu, ...]:
    """The devices that a `gpus` setting names, in that order. Raises `UserError`."""
    try:
        found = [(entry, _find(inventory.gpus, entry)) for entry in _entries(names)]
        for entry, gpus in found:
            if gpus[0].parent and not entry.startswith("MIG-"):
                instances = ", ".join(gpu.name for gpu in gpus)
                raise LookupError(f"GPU {entry} is split (MIG) into {instances}")
        gpus = [gpu for _, (gpu,) in found]
        _check_once(gpus)
    except LookupError as error:
        raise UserError(
            f"gpus is {names!r}, but {error.args[0]}; {inventory.summary}",
            fix="name some of these, each once, or leave gpus out" if inventory.gpus else "leave gpus out",
        ) from None
    return tuple(gpus)


def check_gpus(names: str) -> None:
    """Raise `UserError` if one process cannot be given these devices on this machine."""
    gpus = choose(visible_gpus(), names)
    if len(gpus) > 1 and any(gpu.parent for gpu in gpus):
        raise UserError(
            f"gpus is {names!r}, but of MIG instances a process can use no more than one",
            fix="name one instance, or GPUs that are not split",
        )


def check_names(names: str, value: str | None) -> None:
    """Raise `UserError` for a device that CUDA_VISIBLE_DEVICES cannot show, as far as names tell.

    Asks no driver, so that settings can be read on any machine: an index and a UUID may or may not be
    the same device.
    """
    if value is None:
        return
    shown = _entries(value)
    hidden = [name for name in _entries(names) if all(_differ(name, other) for other in shown)]
    if hidden:
        raise UserError(
            f"gpus is {names!r}, but {VISIBLE} is {value!r}, which does not show {', '.join(hidden)}",
            fix=f"name some of those that it shows, or change {VISIBLE}",
        )


def _entries(value: str) -> list[str]:
    """The names in a list, up to where nothing more is to be visible."""
    entries = [entry.strip() for entry in value.rstrip(", ").split(",")]
    entries = [str(int(entry)) if entry.isdecimal() else entry for entry in entries]
    return [] if entries == [""] else list(itertools.takewhile(lambda entry: entry not in _ENDS, entries))


def _differ(name: str, other: str) -> bool:
    """Whether two names are surely not of one device."""
    if name.isdecimal() and other.isdecimal():
        return name != other
    is_same_kind = name[:4] == other[:4]
    return is_same_kind and not (name.startswith(other) or other.startswith(name))


def _find(gpus: Sequence[Gpu], entry: str) -> list[Gpu]:
    """The device of a name, or all instances of the GPU of that name. Raises `LookupError`."""

    def is_meant(gpu: Gpu) -> bool:
        return gpu.name == entry or (entry.startswith(("GPU-", "MIG-")) and gpu.uuid.startswith(entry))

    meant = {device for gpu in gpus for device in (gpu, gpu.parent) if device and is_meant(device)}
    if len(meant) > 1:
        raise LookupError(f"{entry} is the beginning of {len(meant)} UUIDs")
    found = [gpu for gpu in gpus if not meant.isdisjoint((gpu, gpu.parent))]
    if not found:
        raise LookupError(f"there is no {entry or 'name between two commas'}")
    return found


def _check_once(gpus: Sequence[Gpu]) -> None:
    for index, gpu in enumerate(gpus):
        if gpu in gpus[:index]:
            raise LookupError(f"{gpu.name} is named twice")


def _inventory(nvml: Any) -> Inventory:
    found: list[Gpu] = []
    left_out: list[str] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            units = list(_units(nvml, index, handle))
        except nvml.NVMLError as error:  # lost, or not for this user; the others are as good as before
            left_out.append(f"GPU {index}: {error}")
            continue
        found += units
        if not units:
            left_out.append(f"GPU {index} is split (MIG), but has no instance")
    try:
        driver = nvml.nvmlSystemGetDriverVersion()
    except nvml.NVMLError:
        driver = ""
    why = "" if found else "the driver finds none"
    return Inventory(tuple(found), driver=driver, left_out=tuple(left_out), why=why)


def _units(nvml: Any, index: int, handle: Any) -> Iterator[Gpu]:
    """A GPU, or its instances, which are then all that CUDA can be given of it."""
    gpu = Gpu(str(index), nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle))
    if not _is_split(nvml, handle):
        yield _with_use(nvml, handle, gpu)
        return
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except (nvml.NVMLError_NotFound, nvml.NVMLError_NoPermission):  # numbers have gaps
            continue
        uuid = nvml.nvmlDeviceGetUUID(instance)
        unit = Gpu(uuid, uuid, nvml.nvmlDeviceGetName(instance), parent=gpu)
        yield _with_use(nvml, instance, unit)


def _is_split(nvml: Any, handle: Any) -> bool:
    try:
        mode, _after_reset = nvml.nvmlDeviceGetMigMode(handle)
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):  # before Ampere; an old driver
        return False
    return bool(mode == nvml.NVML_DEVICE_MIG_ENABLE)


def _with_use(nvml: Any, handle: Any, gpu: Gpu) -> Gpu:
    computing = _processes(nvml, nvml.nvmlDeviceGetComputeRunningProcesses_v3, handle)
    drawing = _processes(nvml, nvml.nvmlDeviceGetGraphicsRunningProcesses_v3, handle)
    pids = {process.pid for process in computing}
    drawn = sum(process.usedGpuMemory or 0 for process in drawing if process.pid not in pids)
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:  # it has none of its own
        total = used = 0
    else:
        total, used = memory.total, max(0, memory.used - drawn)
    return replace(gpu, total=total, used=used, processes=tuple(map(_process, computing)))


def _processes(nvml: Any, ask: Callable[[Any], list[Any]], handle: Any) -> list[Any]:
    """What the driver lists; none where it does not, since the memory in use tells as much."""
    try:
        return ask(handle)
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission, nvml.NVMLError_FunctionNotFound):
        return []


def _process(listed: Any) -> GpuProcess:
    import psutil

    try:
        process = psutil.Process(listed.pid)
        name, user = process.name(), process.username()
    except psutil.Error:
        name = user = ""
    return GpuProcess(listed.pid, name, user, listed.usedGpuMemory)
