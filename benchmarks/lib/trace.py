"""A trace of requests with shared prefixes, played against a frontend that tells where each went."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import string
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

BODY = {"max_tokens": 16, "nvext": {"extra_fields": ["worker_id", "timing"]}}
LIMIT = 60.0
"""Seconds for one answer."""


@dataclass(frozen=True)
class Asked:
    """One request of a trace: when it comes, in seconds, and its prompt; a character is a token."""

    at: float
    prompt: str


@dataclass(frozen=True)
class Answered:
    worker: int
    first_token: float
    """Milliseconds, as the frontend measured them."""
    prompt: int
    cached: int
    """Tokens."""


def shared_prefixes(
    requests: int, *, groups: int, rate: float, prefix: int = 1024, rest: int = 64, seed: int = 0
) -> list[Asked]:
    """Requests that come at random at a mean rate; each has the prefix of its group and an end of its own.

    A few groups are asked for often and many seldom (Zipf).
    """
    chance = random.Random(seed)
    prefixes = [text(chance, prefix) for _ in range(groups)]
    weights = [1 / (rank + 1) for rank in range(groups)]
    found, at = [], 0.0
    for group in chance.choices(range(groups), weights, k=requests):
        at += chance.expovariate(rate)
        found.append(Asked(at, prefixes[group] + text(chance, rest)))
    return found


def text(chance: random.Random, length: int) -> str:
    return "".join(chance.choices(string.ascii_letters, k=length))


def play(port: int, model: str, trace: Sequence[Asked]) -> list[Answered]:
    """Send each request at its time, whatever has become of those before."""
    return asyncio.run(_play(port, model, trace))


async def _play(port: int, model: str, trace: Sequence[Asked]) -> list[Answered]:
    began = time.perf_counter()

    async def one(asked: Asked) -> Answered:
        await asyncio.sleep(asked.at - (time.perf_counter() - began))
        return await asyncio.wait_for(_ask(port, model, asked.prompt), LIMIT)

    return await asyncio.gather(*(one(asked) for asked in trace))


async def _ask(port: int, model: str, prompt: str) -> Answered:
    body = json.dumps({"model": model, "prompt": prompt, **BODY})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    answer = await reader.read()
    writer.close()
    status, _, rest = answer.partition(b"\r\n")
    if b" 200 " not in status:
        raise SystemExit(f"a request of the trace failed: {answer[-500:]!r}")
    data = json.loads(rest[rest.index(b"{") : rest.rindex(b"}") + 1])
    usage, more = data["usage"], data["nvext"]
    return Answered(
        worker=more["worker_id"]["decode_worker_id"],
        first_token=more["timing"]["ttft_ms"],
        prompt=usage["prompt_tokens"],
        cached=usage["prompt_tokens_details"]["cached_tokens"],
    )


def summary(answers: Sequence[Answered], workers: int) -> dict[str, float]:
    """Medians, hits and balance."""
    times = sorted(answer.first_token for answer in answers)
    per_worker = Counter(answer.worker for answer in answers)
    return {
        "p50 TTFT": statistics.median(times),
        "p99 TTFT": times[len(times) * 99 // 100],
        "prefix hits": 100 * sum(a.cached for a in answers) / sum(a.prompt for a in answers),
        "busiest worker": max(per_worker.values()) / (len(answers) / workers),
    }
