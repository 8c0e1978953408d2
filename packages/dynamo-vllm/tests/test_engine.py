"""vLLM behind the real runtime and frontend says what vLLM says alone."""

from __future__ import annotations

from dynamo_core.testing.engine_checks import EngineChecks


class TestVllm(EngineChecks):
    """The checks are core's, the fixtures too; conftest.py says how to start vLLM."""

    no_memory = ("--kv-cache-memory-bytes", 1000)
    refused_flags = {
        ("--max-modle-len", "100"): "did you mean --max-model-len",
        ("--dtype", "float31"): "float31",
        ("--max-model-len", "100000"): "100000",
    }
