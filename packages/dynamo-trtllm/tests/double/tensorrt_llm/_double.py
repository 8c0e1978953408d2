"""A double of TensorRT-LLM, which cannot be installed where these tests run.

It has the published signatures of its Python API (about 1.3.0) and refuses what is not in them. It
computes nothing: the token at position p of a sequence is p in a circle of digits and letters.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from dynamo_core.testing.tiny_model import encode

ALPHABET = encode("0123456789abcdefghijklmnopqrstuvwxyz")
BLOCKS = 64


@dataclass(kw_only=True)
class GuidedDecodingParams:
    json: Any = None
    regex: str | None = None
    grammar: str | None = None
    json_object: bool = False
    structural_tag: str | None = None

    def __post_init__(self) -> None:
        if sum(value not in (None, False) for value in vars(self).values()) > 1:
            raise ValueError("Only one guide can be used for a request")


@dataclass(kw_only=True)
class SamplingParams:
    end_id: int | None = None
    pad_id: int | None = None
    max_tokens: int = 32
    bad: Any = None
    bad_token_ids: list[int] | None = None
    stop: Any = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    logits_processor: Any = None
    n: int = 1
    best_of: int | None = None
    use_beam_search: bool = False
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    temperature: float | None = None
    min_tokens: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    length_penalty: float | None = None
    early_stopping: int | None = None
    no_repeat_ngram_size: int | None = None
    min_p: float | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    guided_decoding: GuidedDecodingParams | None = None
    ignore_eos: bool = False
    detokenize: bool = True
    add_special_tokens: bool = True
    skip_special_tokens: bool = True

    def __post_init__(self) -> None:
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.end_id is None:
            raise ValueError("end_id must be given where there is no tokenizer")


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None


@dataclass
class CompletionOutput:
    index: int
    token_ids: list[int] = field(default_factory=list)
    token_ids_diff: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Logprob]] = field(default_factory=list)
    logprobs_diff: list[dict[int, Logprob]] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class RequestOutput:
    """Iterating yields this same object, changed, as the original does."""

    def __init__(self, llm: LLM, prompt: list[int], params: SamplingParams) -> None:
        self.request_id = 0
        self.prompt_token_ids = prompt
        self.outputs = [CompletionOutput(index) for index in range(params.n)]
        self.finished = False
        self._llm = llm
        self._params = params
        self._aborted = False

    def abort(self) -> None:
        self._aborted = True
        self._llm.aborted += 1
        print(f"double: aborted after {len(self.outputs[0].token_ids)} tokens", flush=True)

    def aborted(self) -> bool:
        return self._aborted

    def __aiter__(self) -> RequestOutput:
        return self

    async def __anext__(self) -> RequestOutput:
        if self.finished:
            raise StopAsyncIteration
        await asyncio.sleep(self._llm.token_delay)
        if self._llm.is_down:
            raise RuntimeError("LLM is shutting down")
        for output in self.outputs:
            self._advance(output)
        self.finished = all(output.finish_reason for output in self.outputs)
        return self

    def _advance(self, output: CompletionOutput) -> None:
        output.token_ids_diff, output.logprobs_diff = [], []
        if output.finish_reason:
            return
        params = self._params
        token = ALPHABET[(len(self.prompt_token_ids) + len(output.token_ids)) % len(ALPHABET)]
        output.token_ids_diff = [token]
        output.token_ids.append(token)
        if params.logprobs is not None:
            output.logprobs_diff = [{token: Logprob(-0.5, 1)}]
        if token in (params.stop_token_ids or ()):
            output.finish_reason, output.stop_reason = "stop", token
        elif len(output.token_ids) >= params.max_tokens:
            output.finish_reason = "length"


class LLM:
    """The engine. A token takes as many hundredths of a second as `stream_interval` is above 1."""

    def __init__(
        self,
        model: str,
        tokenizer: Any = None,
        tokenizer_mode: str = "auto",
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        **kwargs: Any,
    ) -> None:
        from tensorrt_llm.llmapi import TorchLlmArgs

        for name in kwargs:
            if name not in TorchLlmArgs.model_fields:
                raise ValueError(f"LLM got invalid argument: {name}")
        if not skip_tokenizer_init:
            raise ValueError("the double has no tokenizer")
        self.args = TorchLlmArgs(
            model=model, tensor_parallel_size=tensor_parallel_size, dtype=dtype, **kwargs
        )
        self.token_delay = (self.args.stream_interval - 1) / 100
        self.is_down = False
        self.aborted = 0

    def generate_async(
        self,
        inputs: list[int],
        sampling_params: SamplingParams | None = None,
        lora_request: Any = None,
        prompt_adapter_request: Any = None,
        streaming: bool = False,
        kv_cache_retention_config: Any = None,
        disaggregated_params: Any = None,
        trace_headers: Any = None,
        _postproc_params: Any = None,
        scheduling_params: Any = None,
        conversation_params: Any = None,
        cache_salt: str | None = None,
        priority: float = 0.5,
    ) -> RequestOutput:
        if self.is_down:
            raise RuntimeError("LLM is shutting down")
        if not streaming or sampling_params is None:
            raise ValueError("the double streams, with parameters")
        if max(inputs) >= 1000:
            raise ValueError(f"token id {max(inputs)} is out of range")
        return RequestOutput(self, list(inputs), sampling_params)

    def get_kv_cache_capacity(self) -> dict[str, int]:
        size = self.args.kv_cache_config.tokens_per_block
        return {"maxNumBlocks": BLOCKS, "tokensPerBlock": size, "maxNumTokens": BLOCKS * size}

    def shutdown(self) -> None:
        self.is_down = True
        print("double: shut down", flush=True)
