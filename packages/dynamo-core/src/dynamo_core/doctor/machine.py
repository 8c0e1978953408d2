"""What the machine gives to the components that run on it."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator

from dynamo_core import environment
from dynamo_core.args.groups import RuntimeSettings
from dynamo_core.doctor.findings import Finding, refused
from dynamo_core.errors import UserError
from dynamo_core.ports import check_port

GIB = 1 << 30
SHARED_MEMORY = "/dev/shm"  # noqa: S108, it is the place itself that is looked at
ENOUGH_SHARED_MEMORY = GIB
"""Bytes. Engines pass tensors between their processes through it; containers get 64 MiB by default."""
DESCRIPTORS_PER_REQUEST = 2
"""What a frontend opens for one request in flight, measured; a worker opens one."""
ENOUGH_DESCRIPTORS = 8192
"""For some 4,000 requests in flight. The usual limit of 1,024 ends at 500, in the middle of a request;
vLLM and SGLang raise it for themselves, a frontend does not."""
ENOUGH_SPACE = GIB
"""Bytes. Discovery and sockets need next to nothing, engines unpack and compile there."""


def gpus(_: RuntimeSettings) -> Iterator[Finding]:
    """What CUDA would see. A machine without a GPU is all right: not every engine needs one."""
    try:
        from dynamo_core.deploy.gpus import in_gib, visible_gpus

        inventory = visible_gpus()
    except ImportError:
        yield Finding("ok", "GPUs", "not checked", "pip install nvidia-ml-py, to have them checked")
        return
    except UserError as error:
        yield refused("error", "GPUs", error)
        return
    if not inventory.has_driver:
        yield Finding("ok", "GPUs", f"none; {inventory.why}")
        return
    if inventory.driver:
        yield Finding("ok", "NVIDIA driver", inventory.driver)
    for gpu in inventory.gpus:
        size = f"{gpu}, {in_gib(gpu.total)}" if gpu.total else str(gpu)
        if gpu.user:
            yield Finding(
                "warning", "GPU", f"{size}, in use by {gpu.user}", "name others with CUDA_VISIBLE_DEVICES"
            )
        else:
            yield Finding("ok", "GPU", f"{size}, free")
    for text in inventory.left_out:
        yield Finding("warning", "GPU", text, "nvidia-smi tells more")
    if inventory.is_without:
        yield Finding("ok", "GPUs", inventory.summary)


def shared_memory(_: RuntimeSettings, path: str = SHARED_MEMORY) -> Iterator[Finding]:
    """The size of the file system that processes share memory through."""
    fix = "docker run --shm-size=8g; in a pod, an emptyDir with medium: Memory at /dev/shm"
    try:
        size = _size(path)
    except OSError as error:
        yield Finding("warning", path, f"cannot be looked at: {error.strerror}", fix)
        return
    text = f"{size / GIB:.1f} GiB"
    if size < ENOUGH_SHARED_MEMORY:
        yield Finding("warning", path, f"{text}; engines of several processes want at least 1 GiB", fix)
    else:
        yield Finding("ok", path, text)


def open_files(_: RuntimeSettings) -> Iterator[Finding]:
    """The limit of open files, sockets among them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH_DESCRIPTORS:
        yield Finding("ok", "open files", "no limit" if soft == resource.RLIM_INFINITY else f"up to {soft}")
        return
    text = (
        f"up to {soft}, which a frontend exhausts with {soft // DESCRIPTORS_PER_REQUEST} requests in flight"
    )
    fix = "ulimit -n 65536"
    if hard != resource.RLIM_INFINITY and hard < ENOUGH_DESCRIPTORS:
        fix = "raise the hard limit: LimitNOFILE= of a systemd unit, docker run --ulimit nofile=65536"
    yield Finding("warning", "open files", text, fix)


def temporary_folder(_: RuntimeSettings, path: str = "") -> Iterator[Finding]:
    """Space where engines and sockets have their temporary files."""
    folder = path or tempfile.gettempdir()
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < ENOUGH_SPACE:
        text = f"{free / GIB:.1f} GiB free in {folder}"
        yield Finding("warning", "temporary files", text, "make room, or set TMPDIR to another folder")
    else:
        yield Finding("ok", "temporary files", f"{free / GIB:.0f} GiB free in {folder}")


def http_port(_: RuntimeSettings) -> Iterator[Finding]:
    """Whether a frontend that is started here without flags gets its port."""
    host = environment.read("DYN_HTTP_HOST") or "127.0.0.1"
    port = environment.read("DYN_HTTP_PORT") or "8000"
    subject = f"HTTP port {port}"
    if not port.isdecimal():
        yield Finding("error", "HTTP port", f"DYN_HTTP_PORT is {port!r}", "set it to a number")
        return
    try:
        check_port(host, int(port), "http-port")
    except UserError as error:
        yield refused("warning", subject, error)
    else:
        yield Finding("ok", subject, f"free on {host}")


def _size(path: str) -> int:
    status = os.statvfs(path)
    return status.f_blocks * status.f_frsize
