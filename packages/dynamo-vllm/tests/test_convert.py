"""Requests become vLLM's parameters option by option; vLLM's outputs become chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from vllm.logprobs import FlatLogprobs, Logprob
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams

from dynamo_core.errors import InvalidArgument
from dynamo_core.handlers.types import Request
from dynamo_vllm.convert import ChunkBuilder, sampling_params

CONTEXT = 100


def request(
    *,
    prompt: int = 10,
    sampling: dict[str, Any] | None = None,
    stop: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    **more: Any,
) -> Request:
    made: Any = {
        "token_ids": list(range(prompt)),
        "sampling_options": sampling or {},
        "stop_conditions": stop or {},
        "output_options": output or {},
        **more,
    }
    return made


def convert(made: Request, **defaults: Any) -> SamplingParams:
    return sampling_params(made, defaults=defaults, max_model_len=CONTEXT)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n", 3),
        ("temperature", 0.5),
        ("top_p", 0.9),
        ("top_k", 7),
        ("top_k", -1),
        ("min_p", 0.1),
        ("presence_penalty", 0.2),
        ("frequency_penalty", -0.3),
        ("repetition_penalty", 1.2),
        ("seed", 0),
    ],
)
def test_sampling_option(option: str, value: float) -> None:
    assert getattr(convert(request(sampling={option: value})), option) == value


@pytest.mark.parametrize(
    ("section", "option", "value", "field"),
    [
        ("stop", "min_tokens", 4, "min_tokens"),
        ("stop", "ignore_eos", True, "ignore_eos"),
        ("stop", "max_thinking_tokens", 5, "thinking_token_budget"),
        ("output", "logprobs", 0, "logprobs"),
        ("output", "logprobs", 4, "logprobs"),
        ("output", "prompt_logprobs", 0, "prompt_logprobs"),
        ("output", "prompt_logprobs", 2, "prompt_logprobs"),
    ],
)
def test_stop_and_output_option(section: str, option: str, value: int, field: str) -> None:
    assert getattr(convert(request(**{section: {option: value}})), field) == value


NOTHING = {
    "token_ids": [5],
    "sampling_options": dict.fromkeys(
        [
            "n",
            "best_of",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
            "seed",
            "use_beam_search",
            "length_penalty",
            "include_stop_str_in_output",
            "guided_decoding",
        ]
    ),
    "stop_conditions": dict.fromkeys(
        [
            "max_tokens",
            "min_tokens",
            "stop",
            "stop_token_ids",
            "stop_token_ids_visible",
            "stop_token_ids_hidden",
            "ignore_eos",
            "max_thinking_tokens",
        ]
    ),
    "output_options": dict.fromkeys(["logprobs", "prompt_logprobs", "skip_special_tokens"]),
    "eos_token_ids": None,
    "extra_args": None,
}


@pytest.mark.parametrize(
    "nothing",
    [{"token_ids": [5]}, NOTHING, {**NOTHING, "sampling_options": None, "stop_conditions": None}],
    ids=["missing keys", "every key None", "sections None"],
)
def test_none_and_a_missing_key_are_the_same(nothing: Any) -> None:
    params = convert(nothing)
    expected = SamplingParams(max_tokens=CONTEXT - 1, detokenize=False, output_kind=RequestOutputKind.DELTA)
    assert repr(params) == repr(expected)


def test_only_what_was_asked_for_costs_work_per_token() -> None:
    params = convert(request())
    assert params.detokenize is False
    assert params.output_kind is RequestOutputKind.DELTA
    assert params.skip_clone is True
    assert params.logprobs is None
    assert params.prompt_logprobs is None
    assert params.structured_outputs is None


def test_model_defaults_count_where_the_client_said_nothing() -> None:
    defaults = {"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.1}
    params = convert(request(sampling={"temperature": 0.9, "top_k": None}), **defaults)
    assert (params.temperature, params.top_k, params.repetition_penalty) == (0.9, 20, 1.1)


def test_zero_is_said_and_not_a_gap() -> None:
    params = convert(request(sampling={"temperature": 0.0, "min_p": 0.0}), temperature=0.6, min_p=0.2)
    assert (params.temperature, params.min_p) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("asked", "default", "expected"),
    [
        (None, None, 90),
        (None, 16, 16),
        (None, 500, 90),
        (7, None, 7),
        (50, 16, 50),
        (90, None, 90),
        (95, None, 90),
        (100, None, 90),
    ],
)
def test_max_tokens_is_at_most_what_the_prompt_leaves(
    asked: int | None, default: int | None, expected: int
) -> None:
    defaults = {} if default is None else {"max_tokens": default}
    assert convert(request(stop={"max_tokens": asked}), **defaults).max_tokens == expected


def test_max_tokens_beyond_the_whole_context_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"max_tokens.* 100 tokens.* 101"):
        convert(request(stop={"max_tokens": 101}))


def test_the_last_free_token_may_be_used() -> None:
    assert convert(request(prompt=99)).max_tokens == 1


@pytest.mark.parametrize("prompt", [100, 150])
def test_a_prompt_without_room_is_refused_with_the_numbers(prompt: int) -> None:
    with pytest.raises(InvalidArgument, match=f"context of 100 tokens.* prompt has {prompt}; shorten it"):
        convert(request(prompt=prompt))


@pytest.mark.parametrize("option", ["stop_token_ids", "stop_token_ids_visible", "stop_token_ids_hidden"])
def test_every_kind_of_stop_token_ends_the_output(option: str) -> None:
    assert convert(request(stop={option: [8, 7]})).stop_token_ids == [7, 8]


def test_stop_tokens_and_end_tokens_are_joined() -> None:
    stop = {"stop_token_ids": [4], "stop_token_ids_visible": [5], "stop_token_ids_hidden": [2, 6]}
    assert convert(request(stop=stop, eos_token_ids=[2, 3])).stop_token_ids == [2, 3, 4, 5, 6]


def test_ignore_eos_leaves_the_other_stop_tokens() -> None:
    stop = {"ignore_eos": True, "stop_token_ids": [9], "stop_token_ids_hidden": [2]}
    params = convert(request(stop=stop, eos_token_ids=[2]))
    assert params.ignore_eos is True
    assert params.stop_token_ids == [9]


def test_stop_strings_stay_with_the_frontend() -> None:
    params = convert(request(stop={"stop": ["END"]}, sampling={"include_stop_str_in_output": True}))
    assert params.stop == []


def test_allowed_token_ids_come_in_the_extra_arguments() -> None:
    extra = {"sampling_options": {"allowed_token_ids": [3, 4]}, "nvext": {}}
    assert convert(request(extra_args=extra)).allowed_token_ids == [3, 4]


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TAG = {"type": "structural_tag", "format": {"type": "const_string", "value": "x"}}


@pytest.mark.parametrize(
    ("constraint", "value", "expected"),
    [
        ("json", SCHEMA, SCHEMA),
        ("json", json.dumps(SCHEMA), json.dumps(SCHEMA)),
        ("json", {}, {}),
        ("regex", "[0-9]+", "[0-9]+"),
        ("choice", ["red", "green"], ["red", "green"]),
        ("grammar", 'root ::= "a"', 'root ::= "a"'),
        ("structural_tag", TAG, json.dumps(TAG)),
        ("structural_tag", json.dumps(TAG), json.dumps(TAG)),
    ],
)
def test_guided_decoding(constraint: str, value: Any, expected: Any) -> None:
    guided = {"json": None, "regex": None, "backend": None, constraint: value}
    structured = convert(request(sampling={"guided_decoding": guided})).structured_outputs
    assert structured is not None
    assert getattr(structured, constraint) == expected
    assert structured._backend is None


def test_guided_decoding_takes_whitespace_and_backend_along() -> None:
    guided = {"json": SCHEMA, "whitespace_pattern": "[ ]?", "backend": "xgrammar"}
    structured = convert(request(sampling={"guided_decoding": guided})).structured_outputs
    assert structured is not None
    assert structured.whitespace_pattern == "[ ]?"
    assert structured._backend == "xgrammar"


@pytest.mark.parametrize("guided", [None, {}, {"json": None, "backend": "xgrammar"}])
def test_guided_decoding_without_a_constraint_is_none(guided: Any) -> None:
    assert convert(request(sampling={"guided_decoding": guided})).structured_outputs is None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (request(sampling={"use_beam_search": True}), "use_beam_search is not supported"),
        (request(sampling={"best_of": 3}), "best_of is 3 and n is 1"),
        (request(sampling={"best_of": 3, "n": 2}), "best_of is 3 and n is 2"),
        (request(sampling={"length_penalty": 0.5}), "length_penalty .* it is 0.5"),
        (
            request(extra_args={"sampling_options": {"bad_words_token_ids": [[4]]}}),
            "bad_words_token_ids is not supported",
        ),
        (
            request(sampling={"guided_decoding": {"json": SCHEMA, "regex": "a"}}),
            "json and regex are set; keep one",
        ),
        (request(sampling={"guided_decoding": {"choice": [1]}}), "choice.0: Input should be a valid string$"),
        (request(sampling={"top_p": 2.0}), r"^top_p must be in \(0, 1\], got 2.0.$"),
        (request(sampling={"temperature": 3.0}), r"^temperature must be in \[0, 2\], got 3.0.$"),
        (request(sampling={"n": 2, "temperature": 0.0}), "n must be 1 when using greedy sampling"),
        (request(stop={"max_tokens": 3, "min_tokens": 5}), "min_tokens .* max_tokens=3, got 5"),
        (request(output={"logprobs": -2}), "logprobs must be non-negative or -1"),
    ],
)
def test_what_vllm_cannot_do_is_refused_by_name(made: Request, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        convert(made)


@pytest.mark.parametrize("sampling", [{"best_of": 2, "n": 2}, {"best_of": 1}, {"length_penalty": 1.0}])
def test_values_that_change_nothing_are_taken(sampling: dict[str, Any]) -> None:
    assert convert(request(sampling=sampling)).n == sampling.get("n", 1)


def completion(
    token_ids: list[int],
    *,
    index: int = 0,
    finish: str | None = None,
    stop: int | str | None = None,
    logprobs: Any = None,
    cumulative: float | None = None,
) -> CompletionOutput:
    return CompletionOutput(
        index=index,
        text="",
        token_ids=token_ids,
        cumulative_logprob=cumulative,
        logprobs=logprobs,
        finish_reason=finish,
        stop_reason=stop,
    )


def output(
    *completions: CompletionOutput, finished: bool = False, cached: int = 0, prompt_logprobs: Any = None
) -> RequestOutput:
    return RequestOutput(
        request_id="r",
        prompt=None,
        prompt_token_ids=[5, 6, 7],
        prompt_logprobs=prompt_logprobs,
        outputs=list(completions),
        finished=finished,
        num_cached_tokens=cached,
    )


def test_a_chunk_holds_its_tokens_and_nothing_else() -> None:
    tokens = [11, 12]
    (chunk,) = ChunkBuilder(SamplingParams()).chunks(output(completion(tokens)))
    assert chunk == {"token_ids": [11, 12]}
    assert chunk["token_ids"] is tokens


@pytest.mark.parametrize(
    ("finish", "stop", "expected"),
    [
        ("stop", None, {"finish_reason": "stop"}),
        ("stop", 12, {"finish_reason": "stop", "stop_reason": 12}),
        ("length", None, {"finish_reason": "length"}),
        ("abort", None, {"finish_reason": "cancelled"}),
        (
            "repetition",
            "repetition_detected",
            {"finish_reason": "stop", "stop_reason": "repetition_detected"},
        ),
    ],
)
def test_finish_reasons(finish: str, stop: int | str | None, expected: dict[str, Any]) -> None:
    (chunk,) = ChunkBuilder(SamplingParams()).chunks(output(completion([12], finish=finish, stop=stop)))
    assert chunk == {"token_ids": [12], **expected}


@pytest.mark.parametrize("finish", ["error", "a reason of tomorrow"])
def test_a_finish_reason_that_is_no_end_is_an_error(finish: str) -> None:
    (chunk,) = ChunkBuilder(SamplingParams()).chunks(output(completion([], finish=finish)))
    reason = chunk["finish_reason"]
    assert isinstance(reason, dict)
    assert finish in reason["error"]


def test_the_last_chunk_counts_the_whole_request() -> None:
    builder = ChunkBuilder(SamplingParams())
    first = builder.chunks(output(completion([1]), cached=2))
    second = builder.chunks(output(completion([2, 3, 4])))
    last = builder.chunks(output(completion([5], finish="length"), finished=True))
    assert all("completion_usage" not in chunk for chunk in first + second)
    assert last[-1]["completion_usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def test_choices_have_an_index_and_one_usage() -> None:
    builder = ChunkBuilder(SamplingParams(n=2))
    chunks = builder.chunks(output(completion([1]), completion([2], index=1)))
    assert chunks == [{"token_ids": [1]}, {"token_ids": [2], "index": 1}]
    (ended,) = builder.chunks(output(completion([3], finish="stop")))
    assert ended == {"token_ids": [3], "finish_reason": "stop"}
    # The second choice found the first one's blocks in the cache; the client's prompt did not.
    last = builder.chunks(output(completion([4, 5], index=1, finish="length"), finished=True, cached=3))
    assert last[-1]["completion_usage"]["completion_tokens"] == 5
    assert last[-1]["completion_usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


def test_choices_that_end_together_have_the_usage_once() -> None:
    ends = output(completion([1], finish="stop"), completion([2], index=1, finish="stop"), finished=True)
    first, last = ChunkBuilder(SamplingParams(n=2)).chunks(ends)
    assert "completion_usage" not in first
    assert last["completion_usage"]["completion_tokens"] == 2


CHOSEN_THIRD = {9: Logprob(-2.0, rank=3), 4: Logprob(-0.5, rank=1), 5: Logprob(-1.0, rank=2)}
CHOSEN_FIRST = {4: Logprob(-0.25, rank=1), 5: Logprob(-1.5, rank=2)}


def test_logprobs_of_zero_bring_the_chosen_tokens_only() -> None:
    positions = [{9: Logprob(-2.0, rank=3)}, {4: Logprob(-0.25, rank=1)}]
    (chunk,) = ChunkBuilder(SamplingParams(logprobs=0)).chunks(
        output(completion([9, 4], logprobs=positions, cumulative=-2.25))
    )
    assert chunk == {"token_ids": [9, 4], "log_probs": [-2.0, -0.25], "cum_log_probs": -2.25}


def flat(*positions: dict[int, Logprob]) -> FlatLogprobs:
    made = FlatLogprobs()
    made.extend(positions)
    return made


@pytest.mark.parametrize("positions", [[CHOSEN_THIRD, CHOSEN_FIRST], flat(CHOSEN_THIRD, CHOSEN_FIRST)])
def test_top_logprobs_are_ranked(positions: Any) -> None:
    (chunk,) = ChunkBuilder(SamplingParams(logprobs=2)).chunks(
        output(completion([9, 4], logprobs=positions, cumulative=-2.25))
    )
    assert chunk["log_probs"] == [-2.0, -0.25]
    assert chunk["top_logprobs"] == [
        [
            {"rank": 1, "token_id": 4, "logprob": -0.5},
            {"rank": 2, "token_id": 5, "logprob": -1.0},
            {"rank": 3, "token_id": 9, "logprob": -2.0},
        ],
        [{"rank": 1, "token_id": 4, "logprob": -0.25}, {"rank": 2, "token_id": 5, "logprob": -1.5}],
    ]


def test_minus_infinity_is_sent_as_a_number() -> None:
    positions = [{9: Logprob(float("-inf"), rank=2), 4: Logprob(0.0, rank=1)}]
    (chunk,) = ChunkBuilder(SamplingParams(logprobs=1)).chunks(output(completion([9], logprobs=positions)))
    assert chunk["log_probs"] == [-9999.0]
    assert chunk["top_logprobs"][0][1] == {"rank": 2, "token_id": 9, "logprob": -9999.0}


def test_an_aborted_choice_has_no_logprobs() -> None:
    (chunk,) = ChunkBuilder(SamplingParams(logprobs=1)).chunks(
        output(completion([], finish="abort", logprobs=[], cumulative=-1.0))
    )
    assert chunk == {"token_ids": [], "finish_reason": "cancelled"}


def test_prompt_logprobs_travel_once_in_the_engine_data() -> None:
    builder = ChunkBuilder(SamplingParams(n=2, prompt_logprobs=1))
    scored = [None, {6: Logprob(-3.0, rank=2), 8: Logprob(-1.0, rank=1)}]
    first = builder.chunks(output(completion([1]), prompt_logprobs=scored))
    sibling = builder.chunks(output(completion([2], index=1), prompt_logprobs=scored))
    later = builder.chunks(output(completion([3]), prompt_logprobs=[]))
    assert first[0]["engine_data"] == {
        "prompt_logprobs": [None, {"6": {"logprob": -3.0, "rank": 2}, "8": {"logprob": -1.0, "rank": 1}}]
    }
    assert all("engine_data" not in chunk for chunk in sibling + later)
