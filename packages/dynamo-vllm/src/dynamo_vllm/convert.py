"""Requests and chunks of the wire in vLLM's terms, and back.

Imports vLLM, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vllm.inputs.engine import TokensInput, tokens_input
from vllm.logprobs import Logprob, PromptLogprobs
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

from dynamo_core.errors import InvalidArgument
from dynamo_core.handlers.requests import (
    end_tokens,
    max_new_tokens,
    refuse_beam_search,
    the_constraint,
)
from dynamo_core.handlers.types import (
    Chunk,
    CompletionUsage,
    FinishReason,
    GuidedDecoding,
    Request,
    SamplingOptions,
    StopConditions,
    TopLogprob,
)
from dynamo_vllm.errors import engine_errors

_SAME_IN_VLLM = (
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
)

_FINISH_REASONS: dict[str, FinishReason] = {
    # An end token is a "stop" too: the frontend shows clients the same for both, and a prefill worker's
    # "stop" is what keeps it from starting a decode.
    "stop": "stop",
    "repetition": "stop",
    "length": "length",
    "abort": "cancelled",
}

_LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON does not have; `vllm serve` sends the same."""


def engine_input(request: Request) -> TokensInput:
    """The prompt in the form that vLLM takes without looking for text to tokenize."""
    salt = (request.get("routing") or {}).get("cache_salt")
    return tokens_input(request["token_ids"], cache_salt=salt)


def sampling_params(request: Request, *, defaults: Mapping[str, Any], max_model_len: int) -> SamplingParams:
    """What the client asked for, as vLLM's parameters for one request.

    `defaults` holds the model's own generation settings under vLLM's names and counts where the
    client said nothing. The engine sees tokens only: stop strings, `include_stop_str_in_output` and
    `skip_special_tokens` concern text, which the frontend makes. What vLLM cannot do, and values that
    it refuses, raise `InvalidArgument`; what depends on the running engine is checked when it takes
    the request.
    """
    options = request.get("sampling_options") or {}
    stop = request.get("stop_conditions") or {}
    output = request.get("output_options") or {}
    extra = (request.get("extra_args") or {}).get("sampling_options") or {}
    _refuse_unsupported(options, extra)
    chosen = {name: value for name in _SAME_IN_VLLM if (value := options.get(name)) is not None}
    with engine_errors():
        return SamplingParams(
            **{**defaults, **chosen, "max_tokens": _max_tokens(request, defaults, max_model_len)},
            min_tokens=stop.get("min_tokens") or 0,
            stop_token_ids=_stop_token_ids(request, stop),
            ignore_eos=bool(stop.get("ignore_eos")),
            thinking_token_budget=stop.get("max_thinking_tokens"),
            logprobs=output.get("logprobs"),
            prompt_logprobs=output.get("prompt_logprobs"),
            structured_outputs=_structured_outputs(options.get("guided_decoding") or {}),
            allowed_token_ids=extra.get("allowed_token_ids"),
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
            skip_clone=True,  # nobody else holds these parameters, so vLLM need not copy them deeply
        )


def _refuse_unsupported(options: SamplingOptions, extra: Mapping[str, Any]) -> None:
    refuse_beam_search(options, "vLLM", "vLLM's engine samples")
    if extra.get("bad_words_token_ids"):
        raise InvalidArgument(
            "bad_words_token_ids is not supported: vLLM bans words only as text; leave it out"
        )


def _max_tokens(request: Request, defaults: Mapping[str, Any], max_model_len: int) -> int:
    prompt_len = len(request["token_ids"])
    left = max_model_len - prompt_len
    if left < 1:
        raise InvalidArgument(
            f"the prompt and at least one new token must fit into the model's context of {max_model_len} "
            f"tokens, but the prompt has {prompt_len}; shorten it, or raise max_model_len of the worker"
        )
    return max_new_tokens(request, context=max_model_len, left=left, default=defaults.get("max_tokens"))


def _stop_token_ids(request: Request, stop: StopConditions) -> list[int]:
    ids, eos = end_tokens(request), set(request.get("eos_token_ids") or ())
    return sorted(ids - eos if stop.get("ignore_eos") else ids | eos)


def _structured_outputs(guided: GuidedDecoding) -> StructuredOutputsParams | None:
    constraints: dict[str, Any] = dict(the_constraint(guided))
    if not constraints:
        return None
    tag = constraints.get("structural_tag")
    if tag is not None and not isinstance(tag, str):
        constraints["structural_tag"] = json.dumps(tag)
    params = StructuredOutputsParams(**constraints, whitespace_pattern=guided.get("whitespace_pattern"))
    # The backend is the engine's, chosen at start: vLLM takes its name here and refuses any other.
    params._backend = guided.get("backend")
    return params


class ChunkBuilder:
    """Turns the outputs of one request into chunks. It counts tokens: create one per request, and feed
    it every output in order."""

    __slots__ = ("_cached_tokens", "_completion_tokens", "_logprobs", "_prompt_logprobs_due")

    def __init__(self, params: SamplingParams) -> None:
        self._logprobs = params.logprobs
        self._prompt_logprobs_due = params.prompt_logprobs is not None
        self._completion_tokens = 0
        self._cached_tokens: int | None = None

    def chunks(self, output: RequestOutput) -> list[Chunk]:
        """One chunk for each choice that has something new; the request's last one has the usage."""
        chunks: list[Chunk] = []
        for completion in output.outputs:
            token_ids = completion.token_ids
            self._completion_tokens += len(token_ids)
            chunk: Chunk = {"token_ids": token_ids}
            if completion.index:
                chunk["index"] = completion.index
            if completion.finish_reason is not None:
                _finish(chunk, completion)
            if self._logprobs is not None:
                _add_logprobs(chunk, completion, alternatives=self._logprobs != 0)
            chunks.append(chunk)
        if self._cached_tokens is None:
            # Later outputs may belong to a choice that found its siblings' blocks in the cache.
            self._cached_tokens = output.num_cached_tokens or 0
        if self._prompt_logprobs_due and output.prompt_logprobs:
            self._prompt_logprobs_due = False
            chunks[0]["engine_data"] = {"prompt_logprobs": _prompt_logprobs(output.prompt_logprobs)}
        if output.finished:
            chunks[-1]["completion_usage"] = self._usage(output)
        return chunks

    def _usage(self, output: RequestOutput) -> CompletionUsage:
        prompt_tokens = len(output.prompt_token_ids or ())
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "total_tokens": prompt_tokens + self._completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self._cached_tokens or 0},
        }


def _finish(chunk: Chunk, completion: CompletionOutput) -> None:
    reason = completion.finish_reason or ""
    chunk["finish_reason"] = _FINISH_REASONS.get(reason) or {
        "error": f"vLLM gave the request up with finish reason {reason!r}; the worker's log has the cause"
    }
    if completion.stop_reason is not None:
        chunk["stop_reason"] = completion.stop_reason


def _add_logprobs(chunk: Chunk, completion: CompletionOutput, *, alternatives: bool) -> None:
    positions = completion.logprobs
    if not positions:
        return
    chunk["log_probs"] = [
        _finite(position[token_id])
        for token_id, position in zip(completion.token_ids, positions, strict=True)
    ]
    if alternatives:
        chunk["top_logprobs"] = [_by_rank(position) for position in positions]
    if completion.cumulative_logprob is not None:
        chunk["cum_log_probs"] = completion.cumulative_logprob


def _by_rank(position: dict[int, Logprob]) -> list[TopLogprob]:
    """The likeliest first, and last the chosen token where it is not among them."""
    ranked = sorted(position.items(), key=lambda item: item[1].rank or 0)
    return [
        {"rank": logprob.rank or 0, "token_id": token_id, "logprob": _finite(logprob)}
        for token_id, logprob in ranked
    ]


def _prompt_logprobs(positions: PromptLogprobs) -> list[dict[str, dict[str, Any]] | None]:
    """In the shape of `vllm serve`, which the frontend reads too: the first token has none."""
    return [
        {str(id_): {"logprob": _finite(logprob), "rank": logprob.rank} for id_, logprob in position.items()}
        if position
        else None
        for position in positions
    ]


def _finite(logprob: Logprob) -> float:
    return max(logprob.logprob, _LOWEST_LOGPROB)
