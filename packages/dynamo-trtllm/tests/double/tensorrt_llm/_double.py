"""A double of TensorRT-LLM, which cannot be installed where these tests run.

It has the published signatures of its Python API (about 1.3.0) and refuses what is not in them. It
computes nothing: its KV cache of a sequence are the sequence's tokens, and the next token is as far
around a circle of digits and letters as there are tokens in the cache, from where its first one says.
Whoever goes on from the cache of another prompt therefore says something else.

It prints what it does where no answer shows it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamo_core.testing.tiny_model import encode
from tensorrt_llm._cache import BlockCache
from tensorrt_llm._transfer import Transceiver
from tensorrt_llm.disaggregated_params import DisaggregatedParams
from tensorrt_llm.executor.result import IterationResult, Logprob

ALPHABET = encode("0123456789abcdefghijklmnopqrstuvwxyz")
BLOCKS = 64
STEP = "TRTLLM_DOUBLE_STEP"
"""The variable with the seconds that a step takes, in which each sequence gets a token."""
ENGINE_PROCESS = [sys.executable, "-c", "import sys; sys.stdin.read()"]
"""Stands for the processes that the original computes in; ends with its parent."""


def next_token(cache: Sequence[int]) -> int:
    return ALPHABET[(cache[0] + len(cache)) % len(ALPHABET)]


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
class CompletionOutput:
    index: int
    token_ids: list[int] = field(default_factory=list)
    token_ids_diff: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Logprob]] = field(default_factory=list)
    logprobs_diff: list[dict[int, Logprob]] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    disaggregated_params: DisaggregatedParams | None = None


def schema_of(guide: GuidedDecodingParams) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(guide.json) if isinstance(guide.json, str) else guide.json or {}
    return schema


class RequestOutput:
    """Iterating yields this same object, changed, as the original does."""

    def __init__(
        self,
        llm: LLM,
        prompt: list[int],
        params: SamplingParams,
        streaming: bool,
        disaggregated_params: DisaggregatedParams | None,
    ) -> None:
        self.request_id = 0
        self.prompt_token_ids = prompt
        self.outputs = [CompletionOutput(index) for index in range(params.n)]
        self.finished = False
        self.error: str | None = None
        self.cached_tokens = 0
        self.disaggregated_params = disaggregated_params
        self._kind = disaggregated_params.request_type if disaggregated_params else None
        self._llm = llm
        self._params = params
        self._max_tokens = 1 if self._kind == "context_only" else params.max_tokens
        self._streaming = streaming
        self._cache: list[int] | None = None
        self._aborted = False

    def abort(self) -> None:
        self._aborted = True
        self._end()
        print(f"double: aborted after {len(self.outputs[0].token_ids)} tokens", flush=True)

    def aborted(self) -> bool:
        return self._aborted

    async def aresult(self) -> RequestOutput:
        async for _ in self:
            pass
        return self

    def __aiter__(self) -> RequestOutput:
        return self

    async def __anext__(self) -> RequestOutput:
        if self.finished:
            raise StopAsyncIteration
        while True:
            if self._cache is None:
                await self._begin()
            if not self.finished:
                await self._step()
            if self.finished:
                self._end()
            if self._streaming or self.finished:
                return self

    async def _begin(self) -> None:
        """Compute the prompt, or fetch what a prefill worker has made of it."""
        if self._kind != "generation_only":
            self.cached_tokens = self._llm.compute(self.prompt_token_ids)
            self._cache = self.prompt_token_ids
            return
        params = self.disaggregated_params
        assert params is not None
        try:
            self._cache = await self._llm.fetched(params)
        except TimeoutError:
            self.finished = True
            for output in self.outputs:
                output.finish_reason = "cancelled"
            return
        for output in self.outputs:
            for token in params.first_gen_tokens or ():
                self._append(output, token)
            output.logprobs = list(params.first_gen_log_probs or ())

    async def _step(self) -> None:
        await asyncio.sleep(self._llm.step)
        if self._llm.is_down:
            raise RuntimeError("LLM is shutting down")
        assert self._cache is not None
        for output in self.outputs:
            output.token_ids_diff, output.logprobs_diff = [], []
            if output.finish_reason:
                continue
            token = self._next(output.token_ids)
            output.token_ids_diff = [token]
            if self._params.logprobs is not None:
                output.logprobs_diff = [self._alternatives(token, -len(output.token_ids) - 0.5)]
            output.logprobs += output.logprobs_diff
            self._append(output, token)
        self.finished = all(output.finish_reason for output in self.outputs)
        self._llm.tell_stats(len(self._cache), self.outputs)

    def _next(self, answer: list[int]) -> int:
        """By the rule; or word for word the first value that a JSON schema allows."""
        assert self._cache is not None
        guide = self._params.guided_decoding
        if guide is None:
            return next_token([*self._cache, *answer])
        allowed = [*encode(json.dumps(schema_of(guide)["enum"][0])), self._params.end_id or 0]
        return allowed[len(answer)]

    def _alternatives(self, token: int, logprob: float) -> dict[int, Logprob]:
        """A token and as many others as were asked for, the likeliest first."""
        others = [other for other in ALPHABET if other != token][: (self._params.logprobs or 1) - 1]
        entries = [(token, logprob), *((other, logprob - 1 - i) for i, other in enumerate(others))]
        return {id_: Logprob(value, rank) for rank, (id_, value) in enumerate(entries, 1)}

    def _append(self, output: CompletionOutput, token: int) -> None:
        output.token_ids.append(token)
        if token == self._params.end_id or token in (self._params.stop_token_ids or ()):
            output.finish_reason, output.stop_reason = "stop", token
        elif len(output.token_ids) >= self._max_tokens:
            output.finish_reason = "length"

    def _end(self) -> None:
        self.finished = True
        if self._cache is None:
            return
        for output in self.outputs:
            self._llm.cache.store([*self._cache, *output.token_ids], partial=True)
        if self._kind == "context_only" and not self._aborted:
            self.disaggregated_params = self._llm.kept(self._cache, self.outputs[0])
            for output in self.outputs:
                output.disaggregated_params = self.disaggregated_params


class LLM:
    """The engine."""

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
        self.step = float(os.environ.get(STEP, "0.002"))
        self.is_down = False
        kv = self.args.kv_cache_config
        self.cache = BlockCache(BLOCKS, kv.tokens_per_block, kv.event_buffer_max_size)
        self._stats: deque[dict[str, Any]] = deque(maxlen=self.args.max_stats_len)
        self._steps = itertools.count()
        config = self.args.cache_transceiver_config
        self._transceiver = Transceiver(config) if config and config.backend else None
        self._process = subprocess.Popen(ENGINE_PROCESS, stdin=subprocess.PIPE)

    def generate_async(
        self,
        inputs: list[int],
        sampling_params: SamplingParams | None = None,
        lora_request: Any = None,
        prompt_adapter_request: Any = None,
        streaming: bool = False,
        kv_cache_retention_config: Any = None,
        disaggregated_params: DisaggregatedParams | None = None,
        trace_headers: Mapping[str, str] | None = None,
        _postproc_params: Any = None,
        scheduling_params: Any = None,
        conversation_params: Any = None,
        cache_salt: str | None = None,
        priority: float = 0.5,
    ) -> RequestOutput:
        if self.is_down:
            raise RuntimeError("LLM is shutting down")
        not_doubled = (lora_request, prompt_adapter_request, kv_cache_retention_config, _postproc_params)
        if any(given is not None for given in (*not_doubled, scheduling_params, conversation_params)):
            raise TypeError("the published notes do not tell what these arguments hold")
        if not 0 <= priority <= 1:
            raise ValueError(f"priority must lie between 0 and 1, got {priority}")
        if trace_headers is not None and not self.args.otlp_traces_endpoint:
            raise TypeError("nobody has asked for traces")
        print(f"double: priority {priority:g}, trace {dict(trace_headers or {})}", flush=True)
        if sampling_params is None:
            raise ValueError("the double needs parameters")
        if max(inputs) >= 1000:
            raise ValueError(f"token id {max(inputs)} is out of range")
        guide = sampling_params.guided_decoding
        if guide is not None and "enum" not in schema_of(guide):
            raise ValueError(f"the double knows schemas of values only, not {guide}")
        if disaggregated_params is not None and self._transceiver is None:
            raise ValueError("disaggregated_params need cache_transceiver_config.backend")
        return RequestOutput(self, list(inputs), sampling_params, streaming, disaggregated_params)

    def compute(self, prompt: list[int]) -> int:
        """The KV cache of a prompt, as far as it is not there yet; returns how far that is."""
        reused = self.cache.reuse(prompt)
        print(f"double: {len(prompt)} tokens of prompt, {reused} of them reused", flush=True)
        self.cache.store(prompt, partial=False)
        return reused

    async def fetched(self, params: DisaggregatedParams) -> list[int]:
        """The KV cache of a prefill worker; raises `RequestError` or `TimeoutError`."""
        assert self._transceiver is not None
        if params.opaque_state is None or params.ctx_request_id is None:
            raise ValueError("generation_only needs ctx_request_id and opaque_state")
        cache = await self._transceiver.fetch(params.opaque_state)
        print(f"double: fetched {len(cache)} tokens of {params.ctx_request_id}", flush=True)
        return cache

    def kept(self, cache: list[int], output: CompletionOutput) -> DisaggregatedParams:
        """What the other half of a request must know."""
        assert self._transceiver is not None
        id_, state = self._transceiver.keep(cache)
        return DisaggregatedParams(
            request_type="context_only",
            first_gen_tokens=output.token_ids,
            first_gen_log_probs=output.logprobs or None,
            ctx_request_id=id_,
            opaque_state=state,
            ctx_info_endpoint=self._transceiver.endpoint,
        )

    def tell_stats(self, cached: int, outputs: list[CompletionOutput]) -> None:
        """One step's; the original tells of its last step, too, before the blocks are free again."""
        if not self.args.enable_iter_perf_stats:
            return
        size, hit_rate = self.cache.block_size, self.cache.hit_rate
        used = sum(-(-(cached + len(output.token_ids)) // size) for output in outputs)
        kv_cache = {"maxNumBlocks": BLOCKS, "freeNumBlocks": BLOCKS - used, "usedNumBlocks": used}
        batch = {"numScheduledRequests": 1, "numContextRequests": 0, "numGenRequests": 1}
        self._stats.append(
            {
                "iter": next(self._steps),
                "numActiveRequests": 1,
                "numQueuedRequests": 0,
                "kvCacheStats": {**kv_cache, "tokensPerBlock": size, "cacheHitRate": hit_rate},
                "inflightBatchingStats": batch,
            }
        )

    def get_stats_async(self, timeout: float | None = 2) -> IterationResult:
        return IterationResult(self._stats, timeout)

    def get_kv_cache_events_async(self, timeout: float | None = 2) -> IterationResult:
        return IterationResult(self.cache.events, timeout)

    def get_kv_cache_capacity(self) -> dict[str, int]:
        size = self.cache.block_size
        return {"maxNumBlocks": BLOCKS, "tokensPerBlock": size, "maxNumTokens": BLOCKS * size}

    def shutdown(self) -> None:
        self.is_down = True
        if self._transceiver is not None:
            self._transceiver.shutdown()
        self._process.communicate()
        print("double: shut down", flush=True)
