"""A double of TensorRT-LLM; `_double` says what it can."""

from tensorrt_llm._double import LLM, SamplingParams

__all__ = ["LLM", "SamplingParams"]
