"""The dicts that travel between frontend and worker (ai-dynamo-runtime 1.6.1).

They stay plain dicts because the Rust side builds and reads them for every chunk; these classes give
their keys types and cost nothing at run time. The frontend sends many keys with the value None:
treat None and a missing key alike.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class StopConditions(TypedDict, total=False):
    """When to stop. `stop` strings are cut by the frontend, which owns the tokenizer."""

    max_tokens: int | None
    min_tokens: int | None
    stop: list[str] | None
    stop_token_ids: list[int] | None
    stop_token_ids_visible: list[int] | None
    """End the stream and stay in the output."""
    stop_token_ids_hidden: list[int] | None
    """End the stream and are not part of the output."""
    ignore_eos: bool | None
    max_thinking_tokens: int | None


class GuidedDecoding(TypedDict, total=False):
    """At most one of `json`, `regex`, `choice`, `grammar` and `structural_tag` is set."""

    json: dict[str, Any] | str | None
    regex: str | None
    choice: list[str] | None
    grammar: str | None
    structural_tag: dict[str, Any] | str | None
    backend: str | None
    whitespace_pattern: str | None


class SamplingOptions(TypedDict, total=False):
    """How to choose the next token; None means the model's own default."""

    n: int | None
    best_of: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    """-1 for all tokens."""
    min_p: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    seed: int | None
    use_beam_search: bool | None
    length_penalty: float | None
    include_stop_str_in_output: bool | None
    guided_decoding: GuidedDecoding | None


class OutputOptions(TypedDict, total=False):
    """What to return besides the tokens."""

    logprobs: int | None
    """How many alternatives per token; 0 asks for the chosen token's own only."""
    prompt_logprobs: int | None
    skip_special_tokens: bool | None
    formatted_prompt: bool | None
    return_tokens_as_token_ids: bool | None


class Request(TypedDict, total=False):
    """What `generate` receives: a tokenized prompt and the client's options."""

    token_ids: list[int]
    model: str
    stop_conditions: StopConditions
    sampling_options: SamplingOptions
    output_options: OutputOptions
    eos_token_ids: list[int]
    routing: dict[str, Any] | None
    prefill_result: dict[str, Any] | None
    bootstrap_info: dict[str, Any] | None
    multi_modal_data: dict[str, Any] | None
    extra_args: dict[str, Any] | None
    annotations: list[str]
    require_reasoning: bool | None
    """Whether the answer begins with reasoning, which guided decoding leaves free."""
    _HEALTH_CHECK: bool
    """A probe: to be answered without any other worker."""


class EmbeddingRequest(TypedDict, total=False):
    """What `embed` receives: one or several tokenized texts."""

    token_ids: list[list[int]]
    model: str
    dimensions: int | None
    """How many numbers of each vector to return; None for all."""


class Embeddings(TypedDict):
    """What `embed` yields, once."""

    embeddings: list[str]
    """One vector for each text, in the same order: 32-bit floats, little-endian, in base64. The frontend
    makes of them what the client asked for."""
    prompt_tokens: int
    total_tokens: int


class TopLogprob(TypedDict, total=False):
    """One alternative at one position; `rank` counts from 1, `logprob` is a natural logarithm."""

    rank: int
    token_id: int
    token: str | None
    logprob: float
    bytes: list[int] | None


class CompletionUsage(TypedDict, total=False):
    """Token counts of one request, over all of its choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int] | None
    """`{"cached_tokens": n}`: prompt tokens that were not computed again."""


FinishReason = Literal["eos", "stop", "length", "cancelled", "content_filter"]


class Chunk(TypedDict, total=False):
    """What `generate` yields: the tokens that are new since the last chunk of the same choice."""

    token_ids: list[int]
    index: int
    """Which choice, 0 unless n > 1."""
    finish_reason: FinishReason | dict[str, str]
    """In a choice's last chunk only; `{"error": message}`, a 500 to the client, for a failure that
    nobody can retry. The frontend finds out about tool calls by itself."""
    stop_reason: str | int
    log_probs: list[float]
    """Natural logarithms, aligned to `token_ids`."""
    top_logprobs: list[list[TopLogprob]]
    cum_log_probs: float
    completion_usage: CompletionUsage
    """In the request's last chunk."""
    disaggregated_params: dict[str, Any]
    engine_data: dict[str, Any]
