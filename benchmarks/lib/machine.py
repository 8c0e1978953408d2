"""The machine that the figures come from, and what else it did meanwhile."""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import psutil

LOOK = 0.3
"""Seconds for which others are watched before each run."""


class Machine:
    """Notes, before each run, how much of the processors others use."""

    def __init__(self) -> None:
        self._others: list[float] = []
        self._load: list[float] = []

    def look(self) -> None:
        """Call it while nothing of ours runs."""
        self._others.append(psutil.cpu_percent(LOOK) / 100 * cores())
        self._load.append(os.getloadavg()[0])

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "cores": cores(),
            "processor": processor(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "cores_used_by_others": summary(self._others),
            "load_average": summary(self._load),
        }


def summary(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"median": round(statistics.median(values), 2), "most": round(max(values), 2)}


def cores() -> int:
    return len(os.sched_getaffinity(0))


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
