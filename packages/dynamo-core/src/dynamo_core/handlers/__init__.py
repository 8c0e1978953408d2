"""What the workers of every engine share: their life cycle and the types on the wire."""

from dynamo_core.handlers.base import BaseWorker
from dynamo_core.handlers.card import ModelCard
from dynamo_core.handlers.disaggregation import BaseDecodeWorker, BasePrefillWorker
from dynamo_core.handlers.types import Chunk, EmbeddingRequest, Embeddings, Request

__all__ = [
    "BaseDecodeWorker",
    "BasePrefillWorker",
    "BaseWorker",
    "Chunk",
    "EmbeddingRequest",
    "Embeddings",
    "ModelCard",
    "Request",
]
