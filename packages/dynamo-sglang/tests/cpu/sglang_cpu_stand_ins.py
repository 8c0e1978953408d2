"""What SGLang 0.5.21 asks of a GPU machine while it is imported on a CPU. For tests only.

`install.py` puts this module into an environment, where a `.pth` file imports it at interpreter start;
until SGLang, torchvision or NIXL is imported it does nothing but watch for them. Nothing here computes:
what a CPU cannot do raises NotImplementedError when it is called.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.metadata
import re
import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NoReturn

KERNELS = "sgl_kernel"
NIXL = re.compile(r"nixl_cu\d+\._api")
_kept_alive: list[Any] = []


def missing_kernel(name: str) -> Callable[..., NoReturn]:
    def kernel(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            f"{KERNELS}.{name} needs SGLang's compiled kernels, which PyPI has for GPUs only"
        )

    kernel.__name__ = name
    return kernel


class HostEvent:
    """`torch.cuda.Event` where all work is synchronous: whatever was recorded has already happened."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._recorded_at = 0.0

    def record(self, stream: object = None) -> None:
        self._recorded_at = time.perf_counter()

    def wait(self, stream: object = None) -> None: ...

    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: HostEvent) -> float:
        return (end._recorded_at - self._recorded_at) * 1e3


class KernelLoader(importlib.abc.Loader):
    """Makes `sgl_kernel`, every name of which is a kernel that refuses to run.

    It has no submodules: SGLang imports those only where it has a fallback.
    """

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        import torch

        # Prompt logprobs and disaggregated prefill record CUDA events on every device, and LoRA adapters ask
        # for memory that a GPU can read.
        if torch.version.cuda is None:
            torch.cuda.Event = HostEvent
            take_any_memory_for_pinned(torch)

        def attribute(name: str) -> Callable[..., NoReturn]:
            if name.startswith("__"):
                raise AttributeError(name)
            return missing_kernel(name)

        module.__getattr__ = attribute  # type: ignore[method-assign]


def take_any_memory_for_pinned(torch: Any) -> None:
    """Pinned memory is the host's as a GPU reaches it; without one torch refuses to pin any."""
    torch.Tensor.pin_memory = lambda tensor: tensor
    for name in ("arange", "empty", "tensor", "zeros"):
        setattr(torch, name, without_pinning(getattr(torch, name)))


def without_pinning(make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def made(*args: Any, pin_memory: bool = False, **kwargs: Any) -> Any:
        return make(*args, **kwargs)

    return made


class HostMemoryLoader(importlib.abc.Loader):
    """Loads NIXL's Python side as it is; then what SGLang calls video memory is the host's, where a KV cache
    is that a CPU computes. SGLang has no name for it that NIXL would know."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        agent = module.nixl_agent
        original = agent.__init__

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            self.nixl_mems["VRAM"] = self.nixl_mems["DRAM"]

        agent.__init__ = init


class StandInFinder(importlib.abc.MetaPathFinder):
    """Serves `sgl_kernel`, and prepares torch right before torchvision is imported, and NIXL after it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torchvision":
            declare_torchvision_operators()
        elif fullname == KERNELS:
            return importlib.machinery.ModuleSpec(fullname, KernelLoader())
        elif NIXL.fullmatch(fullname) and cuda_is_missing():
            spec = importlib.machinery.PathFinder.find_spec(fullname, path)
            if spec is not None and spec.loader is not None:
                spec.loader = HostMemoryLoader(spec.loader)
            return spec
        return None


def cuda_is_missing() -> bool:
    import torch

    return torch.version.cuda is None


def declare_torchvision_operators() -> None:
    """torchvision describes its compiled operators to torch even where their library cannot load."""
    import torch

    if torch.version.cuda is not None or _kept_alive or torchvision_is_cpu_build():
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept_alive.append(library)


def torchvision_is_cpu_build() -> bool:
    """PyTorch's own CPU index has a build that brings its operators along."""
    try:
        return importlib.metadata.version("torchvision").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return True


sys.meta_path.insert(0, StandInFinder())
