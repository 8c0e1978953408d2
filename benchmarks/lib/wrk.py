"""Requests per second by wrk (Debian package `wrk`)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
ERRORS = re.compile(r"Non-2xx or 3xx responses: (\d+)")


def requests_per_second(port: int, model: str, *, connections: int, seconds: int, tokens: int = 1) -> float:
    """Whole completions of a few tokens, on connections that stay open."""
    if shutil.which("wrk") is None:
        raise SystemExit("error: wrk is not installed\n  fix: apt-get install wrk")
    body = json.dumps({"model": model, "prompt": "hello", "max_tokens": tokens})
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(
            f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n"
        )
        load = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script)]
        argv = [*load, f"http://127.0.0.1:{port}/v1/completions"]
        output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    rate = RATE.search(output)
    if rate is None or ERRORS.search(output):
        raise SystemExit(f"wrk says:\n{output}")
    return float(rate[1])
