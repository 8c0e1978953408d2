"""Graphs that run beside each other on the GPUs of one machine.

The driver is the double of `deploy/nvml`: what no driver tells here is that an engine has loaded something.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from serving import Served

from dynamo_core.testing.processes import Running

NVML = Path(__file__).parents[1] / "deploy" / "nvml"
EIGHT = {"PYTHONPATH": str(NVML), "FAKE_NVML": str(NVML / "eight_idle.json")}


def serve(served: Served, name: str, count: int, *words: object) -> Running:
    """A graph of one worker that takes so many GPUs."""
    flags = ("--name", name, f"--Common.namespace={name}", f"--Worker.resources={{gpu: {count}}}")
    return served.serve(*flags, *words, env=EIGHT)


def gpus(serving: Running) -> set[str]:
    return set(serving.wait_for_line(r"\| gpus (\S+)")[1].split(","))


def test_graphs_that_start_together_get_different_gpus(served: Served) -> None:
    """P02 (ai-dynamo #390, #1373): nothing is stacked on a GPU that nobody has named for it."""
    served.write("Worker: {component: dynamo_core.testing.scripted, trace: true}\n")
    graphs = [serve(served, name, 2) for name in ("a", "b", "c")]
    taken = [gpus(graph) for graph in graphs]
    assert all(len(found) == 2 for found in taken)
    assert len(set.union(*taken)) == 6

    refused = serve(served, "d", 3)
    assert refused.wait() == 2
    assert "3 GPUs are asked for, but 2 are free" in refused.output
    for graph, found in zip(graphs, taken, strict=True):
        for gpu in found:
            holder = rf"{gpu} \(.*\) is used by the graph [abc] \(process {graph.pid}\)"
            assert re.search(holder, refused.output), refused.output

    named = serve(served, "e", 1, f"--Worker.gpus={min(taken[0])}")
    named.wait_for_line(rf"warning: Worker: GPU {min(taken[0])} is shared with the graph a \(process")
    assert gpus(named) == {min(taken[0])}

    graphs[1].process.send_signal(signal.SIGKILL)
    graphs[1].process.wait()
    served.stack.running.remove(graphs[1])
    assert gpus(serve(served, "f", 4)) >= taken[1]
