"""Vectors through the frontend are those that SGLang computes alone."""

from __future__ import annotations

from pathlib import Path

from dynamo_core.testing.embedding_checks import MATRYOSHKA, EmbeddingChecks


class TestSglangEmbeddings(EmbeddingChecks):
    """The checks are core's; conftest.py says how to start SGLang."""

    script = Path(__file__).with_name("embeddings_alone.py")
    flags = ("--is-embedding", "--json-model-override-args", MATRYOSHKA)
    tolerance = 1e-3  # SGLang computes in 16 bits what the model has in 32
