"""SGLang behind the real runtime and frontend says what SGLang says alone."""

from __future__ import annotations

from dynamo_core.testing.engine_checks import GREEDY_CHOICES, EngineChecks


class TestSglang(EngineChecks):
    """The checks are core's, the fixtures too; conftest.py says how to start SGLang."""

    has_seeds = False  # only with --enable-deterministic-inference, which no CPU backend has
    choices = GREEDY_CHOICES
    no_memory = ("--max-total-tokens", "8")  # not one block
    refused_flags = {
        ("--context-lenght", "100"): "did you mean --context-length",
        ("--dtype", "float31"): "float31",
        ("--schedule-policy", "nonsense"): "nonsense",
    }
