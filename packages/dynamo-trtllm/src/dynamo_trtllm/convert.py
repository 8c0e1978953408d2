"""Requests and chunks of the wire in TensorRT-LLM's terms, and back.

Imports TensorRT-LLM, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tensorrt_llm import SamplingParams
from tensorrt_llm.llmapi import CompletionOutput, GuidedDecodingParams, RequestOutput

from dynamo_core.errors import InvalidArgument, StreamIncomplete
from dynamo_core.handlers.media import refuse_media
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
    TopLogprob,
)

_SAME_IN_TRTLLM = (
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
_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_NO_END = -1
"""The `end_id` that no token has: generation goes on past the model's own end."""


def sampling_params(request: Request, *, defaults: Mapping[str, Any], context_length: int) -> SamplingParams:
    """What the client asked for, as TensorRT-LLM's parameters for one request.

    `defaults` holds the model's own generation settings under TensorRT-LLM's names and counts where
    the client said nothing. The engine sees tokens only; text is the frontend's. What TensorRT-LLM
    cannot do raises `InvalidArgument`.
    """
    refuse_media(request)
    options = request.get("sampling_options") or {}
    stop = request.get("stop_conditions") or {}
    output = request.get("output_options") or {}
    extra = (request.get("extra_args") or {}).get("sampling_options") or {}
    refuse_beam_search(options, "TensorRT-LLM", "its sequences cannot be streamed")
    _refuse_what_is_not_there(request)
    chosen = {name: value for name in _SAME_IN_TRTLLM if (value := options.get(name)) is not None}
    if chosen.get("top_k") == -1:
        chosen["top_k"] = 0  # all tokens
    eos = sorted(request.get("eos_token_ids") or ())
    ignore_eos = bool(stop.get("ignore_eos"))
    ends = end_tokens(request) - set(eos) if ignore_eos else end_tokens(request) | set(eos)
    return SamplingParams(
        **{**defaults, **chosen, "max_tokens": _max_tokens(request, defaults, context_length)},
        end_id=eos[0] if eos and not ignore_eos else _NO_END,
        min_tokens=stop.get("min_tokens") or None,
        stop_token_ids=sorted(ends) or None,
        bad_token_ids=_single_tokens(extra.get("bad_words_token_ids")),
        ignore_eos=ignore_eos,
        logprobs=output.get("logprobs"),
        guided_decoding=_guided(options.get("guided_decoding") or {}),
        include_stop_str_in_output=True,  # the frontend hides the token that ended the output, and counts it
        detokenize=False,
        add_special_tokens=False,
    )


def priority(request: Request) -> float:
    """TensorRT-LLM's priority of a request, from 0 to 1, for the frontend's, which is any whole number: 0 is
    0.5, and more is sooner to both."""
    wanted: int = (request.get("routing") or {}).get("priority") or 0
    return 0.5 + wanted / (2 + 2 * abs(wanted))


def _refuse_what_is_not_there(request: Request) -> None:
    stop = request.get("stop_conditions") or {}
    extra = (request.get("extra_args") or {}).get("sampling_options") or {}
    routing = request.get("routing") or {}
    if adapter := routing.get("lora_name"):
        raise InvalidArgument(
            f"the adapter {adapter} is not loaded: this worker of TensorRT-LLM takes no LoRA adapters"
        )
    if rank := routing.get("dp_rank"):  # 0 is what routers say of a worker whose only rank it is
        raise InvalidArgument(
            f"dp_rank {rank} cannot be chosen: TensorRT-LLM distributes requests among its ranks itself"
        )
    for name, is_asked in (
        ("max_thinking_tokens", stop.get("max_thinking_tokens")),
        ("allowed_token_ids", extra.get("allowed_token_ids")),
        ("prompt_logprobs", (request.get("output_options") or {}).get("prompt_logprobs") is not None),
    ):
        if is_asked:
            raise InvalidArgument(f"{name} is not supported by TensorRT-LLM; leave it out")


def _max_tokens(request: Request, defaults: Mapping[str, Any], context_length: int) -> int:
    prompt_len = len(request["token_ids"])
    left = context_length - prompt_len
    if left < 1:
        raise InvalidArgument(
            f"the prompt and at least one new token must fit into the model's context of {context_length} "
            f"tokens, but the prompt has {prompt_len}; shorten it, or raise max_seq_len of the worker"
        )
    return max_new_tokens(request, context=context_length, left=left, default=defaults.get("max_tokens"))


def _single_tokens(words: list[list[int]] | None) -> list[int] | None:
    if not words:
        return None
    if longer := [word for word in words if len(word) != 1]:
        raise InvalidArgument(
            f"bad_words_token_ids must have one token each, which is all that TensorRT-LLM bans, "
            f"but {longer[0]} is given; leave it out"
        )
    return [word[0] for word in words]


def _guided(guided: GuidedDecoding) -> GuidedDecodingParams | None:
    constraint = dict(the_constraint(guided))
    if not constraint:
        return None
    name, value = constraint.popitem()
    for option in ("backend", "whitespace_pattern"):
        if guided.get(option) is not None:
            raise InvalidArgument(
                f"{option} is chosen when TensorRT-LLM starts, not by a request; leave it out"
            )
    if name == "choice":
        name, value = "regex", f"({'|'.join(_literally(choice) for choice in _texts(value))})"
    elif name == "structural_tag" and not isinstance(value, str):
        value = json.dumps(value)
    return GuidedDecodingParams(**{name: value})


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _literally(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\.^$*+?{}[]()|/" else c for c in text)


class ChunkBuilder:
    """Turns the outputs of one request into chunks. It counts tokens: create one per request, and feed
    it every output in order."""

    __slots__ = ("_logprobs", "_open", "_prefill_details", "_prompt_tokens", "_sent")

    def __init__(self, request: Request, params: SamplingParams) -> None:
        self._prompt_tokens = len(request["token_ids"])
        self._prefill_details = (request.get("prefill_result") or {}).get("prompt_tokens_details")
        self._logprobs = params.logprobs
        self._open = set(range(params.n or 1))
        self._sent = dict.fromkeys(self._open, 0)

    def chunks(self, output: RequestOutput) -> list[Chunk]:
        """One chunk for each choice that has something new; the request's last one has the usage."""
        chunks: list[Chunk] = []
        for completion in output.outputs:
            if completion.index not in self._open:
                continue  # outputs of finished choices are repeated
            # Not `token_ids_diff`: where a prefill worker has made the first token, it leaves that out.
            sent = self._sent[completion.index]
            token_ids = list(completion.token_ids[sent:])
            self._sent[completion.index] += len(token_ids)
            chunk: Chunk = {"token_ids": token_ids}
            if completion.index:
                chunk["index"] = completion.index
            if completion.finish_reason is not None:
                self._open.discard(completion.index)
                _finish(chunk, completion)
            if self._logprobs is not None:
                _add_logprobs(chunk, completion.logprobs[sent:], alternatives=self._logprobs)
            if token_ids or "finish_reason" in chunk:
                chunks.append(chunk)
        if chunks and not self._open:
            chunks[-1]["completion_usage"] = self._usage(output)
        return chunks

    def _usage(self, output: RequestOutput) -> CompletionUsage:
        completion_tokens = sum(self._sent.values())
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self._prompt_tokens + completion_tokens,
            "prompt_tokens_details": self._prefill_details or {"cached_tokens": output.cached_tokens},
        }


def _finish(chunk: Chunk, completion: CompletionOutput) -> None:
    reason = _FINISH_REASONS.get(completion.finish_reason or "")
    if reason is None:  # cancelled, but not by us: a KV cache did not arrive in time
        raise StreamIncomplete(
            f"TensorRT-LLM gave the request up with finish reason {completion.finish_reason!r}; its log has "
            "the cause"
        )
    chunk["finish_reason"] = reason
    if completion.stop_reason is not None:
        chunk["stop_reason"] = completion.stop_reason


def _add_logprobs(chunk: Chunk, positions: Sequence[Mapping[int, Any]], *, alternatives: int) -> None:
    if not positions:
        return
    chosen = zip(chunk["token_ids"], positions, strict=True)
    chunk["log_probs"] = [position[token_id].logprob for token_id, position in chosen]
    if alternatives:
        chunk["top_logprobs"] = [_by_rank(position) for position in positions]


def _by_rank(position: Mapping[int, Any]) -> list[TopLogprob]:
    ranked = sorted(position.items(), key=lambda item: item[1].rank or 0)
    return [{"rank": entry.rank or 0, "token_id": id_, "logprob": entry.logprob} for id_, entry in ranked]
