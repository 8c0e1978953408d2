"""Who looks at the GPUs, and when."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from dynamo_core.deploy.gpus import Gpu, Inventory
from dynamo_core.deploy.process import Plan, Process
from dynamo_core.serve import turn
from dynamo_core.serve.registry import registered
from dynamo_core.serve.turn import Turn

TWO = Inventory((Gpu("0", "GPU-a"), Gpu("1", "GPU-b")))
TAKEN = Plan("", (Process("Worker/0", ("worker",), gpus=("1",)),))


def test_the_next_one_looks_once_the_first_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(turn, "visible_gpus", lambda: TWO)
    seen: list[Inventory] = []

    def look() -> None:
        with Turn() as mine:
            seen.append(mine.inventory())

    with Turn() as first:
        assert [gpu.holder for gpu in first.inventory().gpus] == ["", ""]
        other = threading.Thread(target=look)
        other.start()
        other.join(0.2)
        assert seen == []
        with registered("agg", TAKEN, log_dir="", join=False):
            first.end()
            other.join()
    (found,) = seen
    assert [gpu.holder for gpu in found.gpus] == ["", f"the graph agg (process {os.getpid()})"]
    with Turn() as last:
        assert [gpu.holder for gpu in last.inventory().gpus] == ["", ""]
