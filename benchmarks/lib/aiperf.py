"""Load and latencies by aiperf, which `tools/install_peers.py` has put into an environment of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from lib.bench import Bench
from lib.models import Model

LIMIT = 300.0
"""Seconds for one measurement."""
REPORT = "profile_export_aiperf.json"


def profile(
    bench: Bench, port: int, model: Model, *, clients: int, requests: int, prompt: int, answer: int
) -> dict[str, float]:
    """`clients` at a time ask for `answer` tokens each, streamed, until there were `requests`."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [bench.command("aiperf", "aiperf"), "profile", "--url", f"http://127.0.0.1:{port}"]
        argv += [
            "--model",
            model.name,
            "--tokenizer",
            str(model.path),
            "--endpoint-type",
            "chat",
            "--streaming",
        ]
        argv += ["--concurrency", str(clients), "--request-count", str(requests)]
        argv += ["--isl", str(prompt), "--isl-stddev", "0", "--osl", str(answer), "--osl-stddev", "0"]
        argv += ["--extra-inputs", "ignore_eos:true", "--use-server-token-count", "--random-seed", "1"]
        argv += ["--ui", "none", "--no-gpu-telemetry", "--no-server-metrics", "--artifact-dir", folder]
        argv += ["--workers-max", "1", "--record-processors", "1"]
        result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=LIMIT)
        report = Path(folder) / REPORT
        if result.returncode != 0 or not report.exists():
            raise SystemExit(f"aiperf failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
        data = json.loads(report.read_text())
    if data["request_error_rate"]["avg"] > 0:
        raise SystemExit(f"{data['request_error_rate']['avg']} % of the requests of {clients} clients failed")
    return {
        "tokens/s": data["output_token_throughput"]["avg"],
        "p50 TTFT": data["time_to_first_token"]["p50"],
        "p99 TTFT": data["time_to_first_token"]["p99"],
        "p50 ITL": data["inter_token_latency"]["p50"],
        "p99 ITL": data["inter_token_latency"]["p99"],
    }
