"""A double of TensorRT-LLM; `_double` says what it can."""

from tensorrt_llm._double import LLM, SamplingParams
from tensorrt_llm.disaggregated_params import DisaggregatedParams

__all__ = ["LLM", "DisaggregatedParams", "SamplingParams"]
