"""Requests and chunks of the wire in SGLang's terms, and back.

SGLang counts on its own flags for some options of a request, so what is not there is refused by name,
and some requests would take the whole engine down: those are refused here too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

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
from dynamo_sglang.errors import abort_error, readable

if TYPE_CHECKING:
    from sglang.srt.entrypoints.engine import Engine

_IN_SGLANG = {
    "n": "n",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repetition_penalty",
    "seed": "sampling_seed",
}
_ROUTING = {
    "cache_salt": "cache_salt",
    "dp_rank": "routed_dp_rank",
    "lora_name": "lora_path",  # SGLang looks the name up among the adapters that it has loaded
    "priority": "priority",
}
MEETING = ("bootstrap_host", "bootstrap_port", "bootstrap_room")
"""What both halves of a pair are told, under SGLang's names and the runtime's."""
_TOP_LOGPROBS_OF_A_PAIR = 128
"""What the prefill worker's buffer for the first token holds; more of them kill its scheduler."""
_CONSTRAINTS = {
    "json": "json_schema",
    "regex": "regex",
    "choice": "regex",
    "grammar": "ebnf",
    "structural_tag": "structural_tag",
}

_FINISH_REASONS: dict[str, FinishReason] = {
    # An end token is a "stop" too: the frontend shows clients the same for both, and a prefill worker's
    # "stop" is what keeps it from starting a decode.
    "stop": "stop",
    "length": "length",
    "abort": "cancelled",
}

_NAN = "NaN happened"
"""SGLang ends a request as if at a stop string of this text when the model computed NaN."""

_LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON does not have."""


@dataclass(frozen=True)
class EngineLimits:
    """What a started engine can take in one request."""

    context_len: int
    """Prompt and output together, in tokens."""
    prompt_limit: int
    """SGLang's `max_req_input_len`: the first prompt length that it refuses."""
    kv_tokens: int
    """Size of the KV cache."""
    page_size: int
    """Tokens per KV block."""
    vocab_size: int
    deterministic: bool = False
    """Started with `--enable-deterministic-inference`: seeds count, `min_p` kills the scheduler."""
    thinking_budget: bool = False
    """Started with `--enable-strict-thinking`."""
    grammar_backend: str = "xgrammar"
    reserved: int = 0
    """Tokens of the KV cache that a decode worker keeps free for each answer."""

    @classmethod
    def of(cls, engine: Engine) -> Self:
        manager = engine.tokenizer_manager
        # The fields of `server_args` itself keep what the user gave; here they are resolved.
        args = engine.server_args.resolved_dict()
        return cls(
            context_len=manager.context_len - manager.num_reserved_tokens,
            prompt_limit=manager.max_req_input_len,
            kv_tokens=engine._scheduler_init_result.scheduler_infos[0]["max_total_num_tokens"],
            page_size=args["page_size"],
            vocab_size=manager.model_config.vocab_size,
            deterministic=args["enable_deterministic_inference"],
            thinking_budget=args["enable_strict_thinking"],
            grammar_backend=args["grammar_backend"],
            reserved=args["num_reserved_decode_tokens"] if args["disaggregation_mode"] == "decode" else 0,
        )

    @property
    def longest_prompt(self) -> int:
        """The longest prompt after which at least one token can follow."""
        return min(self.prompt_limit - 1, self.context_len - 3, self._longest_in_cache)

    @property
    def _longest_in_cache(self) -> int:
        free = self.kv_tokens - max(self.page_size + 2, self.reserved)
        return free // self.page_size * self.page_size

    def left_by(self, prompt_len: int) -> int:
        """How many tokens can follow a prompt; below 1 for one that is longer than `longest_prompt`.

        SGLang admits a request only with two positions of the context and one page of the KV cache to
        spare. One that will never be admitted waits at the head of the queue and blocks it for good.
        """
        paged_prompt = -(-prompt_len // self.page_size) * self.page_size
        return min(self.context_len - prompt_len - 2, self.kv_tokens - paged_prompt - self.page_size - 1)

    def too_long(self, prompt_len: int) -> str:
        """What to tell a client whose prompt is longer than `longest_prompt`."""
        if self.longest_prompt == self._longest_in_cache:
            free = f"{self.reserved} stay" if self.reserved else f"one block of {self.page_size} stays"
            reason = f"the worker's KV cache has {self.kv_tokens}, and {free} free"
        else:
            reason = f"the model's context has {self.context_len}, a few of which SGLang keeps free"
        return (
            f"the prompt must have at most {self.longest_prompt} tokens to leave room for an answer "
            f"({reason}), but it has {prompt_len}; shorten it"
        )


def engine_arguments(
    request: Request, *, defaults: Mapping[str, Any], limits: EngineLimits
) -> dict[str, Any]:
    """What the client asked for, as the arguments of `Engine.async_generate`; see `sampling_params`."""
    return {
        "input_ids": request["token_ids"],
        "sampling_params": sampling_params(request, defaults=defaults, limits=limits),
        "require_reasoning": bool(request.get("require_reasoning")),
        **logprob_arguments(request, limits=limits),
        **routing_arguments(request),
    }


def half_arguments(
    request: Request, meeting: Mapping[str, Any], *, defaults: Mapping[str, Any], limits: EngineLimits
) -> dict[str, Any]:
    """The same for one half of a pair: it meets the other where `meeting` says.

    For `n` choices SGLang would send all of them to one room. As requests of their own they meet in as many
    rooms, one after the other.
    """
    _refuse_on_a_pair(request)
    arguments = choices_apart(engine_arguments(request, defaults=defaults, limits=limits))
    return {**arguments, **{name: meeting[name] for name in MEETING}}


def choices_apart(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with `n` choices as requests of their own, whose outputs have an index each."""
    params = dict(arguments["sampling_params"])
    if (n := params.pop("n", 1)) == 1:
        return arguments
    return {**arguments, "input_ids": [arguments["input_ids"]] * n, "sampling_params": params}


def _refuse_on_a_pair(request: Request) -> None:
    output = request.get("output_options") or {}
    if output.get("prompt_logprobs") is not None:
        raise InvalidArgument(
            "prompt_logprobs is not supported where prefill and decode are two SGLang workers: the one that "
            "computes them does not hand them over; leave it out"
        )
    if (output.get("logprobs") or 0) > _TOP_LOGPROBS_OF_A_PAIR:
        raise InvalidArgument(
            f"logprobs must be at most {_TOP_LOGPROBS_OF_A_PAIR} where prefill and decode are two SGLang "
            f"workers, but it is {output['logprobs']}"
        )


def sampling_params(request: Request, *, defaults: Mapping[str, Any], limits: EngineLimits) -> dict[str, Any]:
    """What the client asked for, as SGLang's `sampling_params` for one request.

    `defaults` holds the model's own generation settings under SGLang's names and counts where the
    client said nothing. The engine sees tokens only: stop strings, `include_stop_str_in_output` and
    `skip_special_tokens` concern text, which the frontend makes. What SGLang cannot do raises
    `InvalidArgument`; values out of range are refused by the engine when it takes the request.
    """
    options = request.get("sampling_options") or {}
    stop = request.get("stop_conditions") or {}
    extra = (request.get("extra_args") or {}).get("sampling_options") or {}
    check_tokens(request["token_ids"], limits)
    _refuse_unsupported(options, stop, extra, limits)
    params = {**defaults}
    for name, theirs in _IN_SGLANG.items():
        if (value := options.get(name)) is not None:
            params[theirs] = value
    if limits.deterministic and params.get("min_p"):
        raise InvalidArgument(
            f"min_p is not supported with --enable-deterministic-inference, but it is {params['min_p']}; "
            "set it to 0 or start the worker without that flag"
        )
    params["max_new_tokens"] = _max_tokens(request, defaults, limits)
    if min_tokens := stop.get("min_tokens"):
        if min_tokens > params["max_new_tokens"]:
            raise InvalidArgument(
                f"min_tokens must not be greater than max_tokens or than what the prompt leaves, "
                f"{params['max_new_tokens']} tokens, but it is {min_tokens}; ask for fewer"
            )
        params["min_new_tokens"] = min_tokens
    if stop_token_ids := _stop_token_ids(request, stop):
        params["stop_token_ids"] = stop_token_ids
    if stop.get("ignore_eos"):
        params["ignore_eos"] = True
    if (budget := stop.get("max_thinking_tokens")) is not None:
        params["custom_params"] = {"thinking_budget": budget}
    if guided := options.get("guided_decoding"):
        params.update(_constraint(guided, limits))
    left = limits.left_by(len(request["token_ids"]))
    if request.get("multi_modal_data") and params["max_new_tokens"] == left:
        params["max_new_tokens"] = None  # as many as fit: only SGLang knows how long images make the prompt
    return params


def logprob_arguments(request: Request, *, limits: EngineLimits) -> dict[str, Any]:
    """The arguments of `Engine.async_generate` for the log probabilities that the client asked for."""
    output = request.get("output_options") or {}
    options = {"logprobs": output.get("logprobs"), "prompt_logprobs": output.get("prompt_logprobs")}
    asked = {name: n for name, n in options.items() if n is not None}
    if not asked:
        return {}
    for name, n in asked.items():
        if not 0 <= n <= limits.vocab_size:
            raise InvalidArgument(
                f"{name} must be between 0 and {limits.vocab_size}, the size of the vocabulary, but it is {n}"
            )
    return {
        "return_logprob": True,
        "top_logprobs_num": max(asked.values()),  # SGLang has one number for prompt and output
        "logprob_start_len": 0 if "prompt_logprobs" in asked else -1,
    }


def routing_arguments(request: Request) -> dict[str, Any]:
    """The arguments of `Engine.async_generate` for what the router decided; the engine refuses a rank or
    an adapter that it does not have."""
    routing = request.get("routing") or {}
    return {theirs: value for name, theirs in _ROUTING.items() if (value := routing.get(name)) is not None}


def check_tokens(token_ids: Sequence[int], limits: EngineLimits) -> None:
    """Raise `InvalidArgument` for a token that the model does not have, which would end SGLang's scheduler
    with an IndexError, and for no token at all."""
    if not token_ids:
        raise InvalidArgument("the prompt must have at least one token, but it is empty")
    for token_id in (max(token_ids), min(token_ids)):
        if not 0 <= token_id < limits.vocab_size:
            raise InvalidArgument(
                f"token ids must be between 0 and {limits.vocab_size - 1}, the model's last, "
                f"but the prompt has {token_id}"
            )


def _refuse_unsupported(
    options: SamplingOptions, stop: StopConditions, extra: Mapping[str, Any], limits: EngineLimits
) -> None:
    n = options.get("n")
    if n is not None and n < 1:
        raise InvalidArgument(f"n must be at least 1, but it is {n}")
    refuse_beam_search(options, "SGLang", "its sequences cannot be streamed")
    seed = options.get("seed")
    if seed is not None and not limits.deterministic:
        raise InvalidArgument(
            f"seed works only in an engine started with --enable-deterministic-inference, but it is {seed}; "
            "leave it out or start the worker with that flag"
        )
    if seed is not None and (n or 1) > 1:
        raise InvalidArgument(
            f"seed must not be combined with n, since SGLang would give {n} equal choices, but it is {seed}; "
            "send one request per seed"
        )
    if stop.get("max_thinking_tokens") is not None and not limits.thinking_budget:
        raise InvalidArgument(
            "max_thinking_tokens works only in an engine started with --enable-strict-thinking; "
            "leave it out or start the worker with that flag"
        )
    for name in ("allowed_token_ids", "bad_words_token_ids"):
        if extra.get(name):
            raise InvalidArgument(f"{name} is not supported by SGLang; leave it out")


def _max_tokens(request: Request, defaults: Mapping[str, Any], limits: EngineLimits) -> int:
    prompt_len = len(request["token_ids"])
    if prompt_len > limits.longest_prompt:
        raise InvalidArgument(limits.too_long(prompt_len))
    left = limits.left_by(prompt_len)
    default = defaults.get("max_new_tokens")
    return max_new_tokens(request, context=limits.context_len, left=left, default=default)


def _stop_token_ids(request: Request, stop: StopConditions) -> list[int]:
    ids = end_tokens(request)
    eos = set(request.get("eos_token_ids") or ())
    if not stop.get("ignore_eos"):
        return sorted(ids | eos)
    if others := sorted(ids - eos):
        raise InvalidArgument(
            f"stop_token_ids must not be combined with ignore_eos, which makes SGLang ignore every token "
            f"that could end the output, but they are {others}; leave one of the two out"
        )
    return []


def _constraint(guided: GuidedDecoding, limits: EngineLimits) -> dict[str, str]:
    """The one constraint under SGLang's name; empty if there is none."""
    given: dict[str, Any] = dict(the_constraint(guided))
    if not given:
        return {}
    if guided.get("whitespace_pattern") is not None:
        raise InvalidArgument(
            "whitespace_pattern is not an option of a request in SGLang; leave it out, "
            "or start the worker with --constrained-json-whitespace-pattern"
        )
    backend = guided.get("backend")
    if backend not in (None, limits.grammar_backend):
        raise InvalidArgument(
            f"the worker's backend for guided decoding is {limits.grammar_backend!r}, "
            f"chosen when it started, but backend is {backend!r}; leave it out"
        )
    name, value = given.popitem()
    if not value and value != {}:
        raise InvalidArgument(f"{name} must not be empty, but it is {value!r}")
    if name == "choice":
        value = f"({'|'.join(_literally(choice) for choice in value)})"
    elif not isinstance(value, str):
        value = json.dumps(value)
    return {_CONSTRAINTS[name]: value}


def _literally(text: str) -> str:
    """`re.escape` for what grammar backends call a regex: they warn about escapes that they do not need."""
    return "".join(f"\\{c}" if c in r"\.^$*+?{}[]()|/" else c for c in text)


class ChunkBuilder:
    """Turns the outputs of one request into chunks. It counts tokens: create one per request, and feed
    it every output in order. The engine must have been started with `--incremental-streaming-output`."""

    __slots__ = (
        "_choices",
        "_completion_tokens",
        "_eos_token_ids",
        "_has_images",
        "_logprobs",
        "_prompt_len",
        "_prompt_logprobs",
        "_unfinished",
    )

    def __init__(self, request: Request) -> None:
        output = request.get("output_options") or {}
        self._logprobs = output.get("logprobs")
        self._prompt_logprobs = output.get("prompt_logprobs")
        self._prompt_len = len(request["token_ids"])
        self._has_images = bool(request.get("multi_modal_data"))
        self._eos_token_ids = request.get("eos_token_ids") or ()
        self._choices = self._unfinished = (request.get("sampling_options") or {}).get("n") or 1
        self._completion_tokens = 0

    def chunk(self, output: Mapping[str, Any]) -> Chunk:
        """What is new for one choice; the request's last chunk has the usage.

        Raises the request error for an output that ends because the engine refused the request.
        """
        meta = output["meta_info"]
        chunk: Chunk = {"token_ids": output["output_ids"]}
        if index := output.get("index"):
            chunk["index"] = index
        if (reason := meta["finish_reason"]) is not None:
            self._finish(chunk, meta, reason)
        if self._logprobs is not None:
            _add_logprobs(chunk, meta, alternatives=self._logprobs)
        if self._prompt_logprobs is not None and meta.get("input_token_logprobs"):
            # They come with every output of every choice.
            chunk["engine_data"] = {
                "prompt_logprobs": _prompt_logprobs(meta, alternatives=self._prompt_logprobs)
            }
            self._prompt_logprobs = None
        return chunk

    def _finish(self, chunk: Chunk, meta: Mapping[str, Any], reason: Mapping[str, Any]) -> None:
        kind = reason["type"]
        matched = reason.get("matched")
        if kind == "abort" and (error := abort_error(reason)) is not None:
            raise error
        if kind == "abort" and reason.get("status_code") is not None:
            chunk["finish_reason"] = {"error": readable(reason["message"])}
        elif matched == _NAN:
            chunk["finish_reason"] = {"error": "the model computed NaN; the worker's log has more"}
        else:
            chunk["finish_reason"] = _FINISH_REASONS[kind]
            if matched is not None and matched not in self._eos_token_ids:
                chunk["stop_reason"] = matched
        self._completion_tokens += meta["completion_tokens"]
        self._unfinished -= 1
        if not self._unfinished:
            chunk["completion_usage"] = self._usage(meta)

    def _usage(self, meta: Mapping[str, Any]) -> CompletionUsage:
        prompt_tokens = meta["prompt_tokens"] if self._has_images else self._prompt_len
        usage: CompletionUsage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "total_tokens": prompt_tokens + self._completion_tokens,
        }
        # For several choices SGLang computes the prompt once by itself, then finds all of it in the cache.
        if self._choices == 1:
            usage["prompt_tokens_details"] = {"cached_tokens": meta.get("cached_tokens") or 0}
        return usage


def _add_logprobs(chunk: Chunk, meta: Mapping[str, Any], *, alternatives: int) -> None:
    positions = meta.get("output_token_logprobs")
    if not positions:
        return
    chunk["log_probs"] = [_finite(logprob) for logprob, _, _ in positions]
    if alternatives:
        chunk["top_logprobs"] = [_by_rank(position, alternatives) for position in meta["output_top_logprobs"]]


def _by_rank(position: Sequence[Sequence[Any]] | None, alternatives: int) -> list[TopLogprob]:
    return [
        {"rank": rank, "token_id": token_id, "logprob": _finite(logprob)}
        for rank, (logprob, token_id, _) in enumerate((position or ())[:alternatives], start=1)
    ]


def _prompt_logprobs(meta: Mapping[str, Any], *, alternatives: int) -> list[dict[str, dict[str, Any]] | None]:
    """One entry per prompt token: the token's own log probability and the likeliest alternatives. The
    first token has none; SGLang does not tell the rank of a token that is not among the alternatives."""
    positions = meta["input_token_logprobs"]
    tops = meta.get("input_top_logprobs") or [None] * len(positions)
    entries: list[dict[str, dict[str, Any]] | None] = []
    for (logprob, token_id, _), top in zip(positions, tops, strict=True):
        if logprob is None:
            entries.append(None)
            continue
        ranked = _by_rank(top, alternatives)
        entry: dict[str, dict[str, Any]] = {str(token_id): {"logprob": _finite(logprob)}}
        entry.update({str(t["token_id"]): {"logprob": t["logprob"], "rank": t["rank"]} for t in ranked})
        entries.append(entry)
    return entries


def _finite(logprob: float) -> float:
    return max(logprob, _LOWEST_LOGPROB)
