"""How a worker can be chosen for a request."""

from __future__ import annotations

from typing import Literal

RouterMode = Literal["round-robin", "random", "least-loaded", "power-of-two", "kv"]
"""In the words of `--router-mode`."""

RUST_NAMES: dict[RouterMode, str] = {
    "round-robin": "RoundRobin",
    "random": "Random",
    "least-loaded": "LeastLoaded",
    "power-of-two": "PowerOfTwoChoices",
    "kv": "KV",
}
"""The same in the words of the Rust runtime."""
