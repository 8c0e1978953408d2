from tensorrt_llm._double import CompletionOutput, GuidedDecodingParams, RequestOutput, SamplingParams
from tensorrt_llm.disaggregated_params import DisaggregatedParams
from tensorrt_llm.llmapi.llm_args import CacheTransceiverConfig, KvCacheConfig, TorchLlmArgs

__all__ = [
    "CacheTransceiverConfig",
    "CompletionOutput",
    "DisaggregatedParams",
    "GuidedDecodingParams",
    "KvCacheConfig",
    "RequestOutput",
    "SamplingParams",
    "TorchLlmArgs",
]
