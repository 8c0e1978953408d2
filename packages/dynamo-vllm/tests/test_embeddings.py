"""Vectors through the frontend are those that vLLM computes alone."""

from __future__ import annotations

from pathlib import Path

from dynamo_core.testing.embedding_checks import MATRYOSHKA, EmbeddingChecks
from dynamo_core.testing.engine_checks import START_TIMEOUT
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.processes import Stack


class TestVllmEmbeddings(EmbeddingChecks):
    """The checks are core's; conftest.py says how to start vLLM."""

    script = Path(__file__).with_name("embeddings_alone.py")
    flags = ("--runner", "pooling", "--convert", "embed", "--hf-overrides", MATRYOSHKA)


def test_a_model_that_classifies_is_refused(stack: Stack, engine: EngineUnderTest) -> None:
    worker = engine.start(stack, "--runner", "pooling", "--convert", "classify")
    assert worker.wait(START_TIMEOUT) == 2
    assert "vLLM has loaded this one for" in worker.output
