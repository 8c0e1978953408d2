from tensorrt_llm._double import CompletionOutput, GuidedDecodingParams, RequestOutput, SamplingParams
from tensorrt_llm.llmapi.llm_args import KvCacheConfig, TorchLlmArgs

__all__ = [
    "CompletionOutput",
    "GuidedDecodingParams",
    "KvCacheConfig",
    "RequestOutput",
    "SamplingParams",
    "TorchLlmArgs",
]
