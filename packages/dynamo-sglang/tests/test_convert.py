"""Requests become SGLang's arguments option by option; what SGLang 0.5.21 streamed becomes chunks."""

from __future__ import annotations

import json
import math
import re
from types import SimpleNamespace
from typing import Any

import pytest

from dynamo_core.errors import Disconnected, InvalidArgument
from dynamo_core.handlers.types import Chunk, Request
from dynamo_sglang.convert import (
    ChunkBuilder,
    EngineLimits,
    half_arguments,
    logprob_arguments,
    routing_arguments,
    sampling_params,
)

CONTEXT = 100
LIMITS = EngineLimits(
    context_len=CONTEXT, prompt_limit=CONTEXT - 6, kv_tokens=4096, page_size=16, vocab_size=1024
)
DETERMINISTIC = EngineLimits(
    context_len=CONTEXT,
    prompt_limit=CONTEXT - 6,
    kv_tokens=4096,
    page_size=16,
    vocab_size=1024,
    deterministic=True,
    thinking_budget=True,
)


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


def convert(made: Request, limits: EngineLimits = LIMITS, **defaults: Any) -> dict[str, Any]:
    return sampling_params(made, defaults=defaults, limits=limits)


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("n", 3, "n"),
        ("temperature", 0.5, "temperature"),
        ("temperature", 0.0, "temperature"),
        ("top_p", 0.9, "top_p"),
        ("top_k", 7, "top_k"),
        ("top_k", -1, "top_k"),
        ("min_p", 0.1, "min_p"),
        ("presence_penalty", 0.2, "presence_penalty"),
        ("frequency_penalty", -0.3, "frequency_penalty"),
        ("repetition_penalty", 1.2, "repetition_penalty"),
    ],
)
def test_sampling_option(option: str, value: float, field: str) -> None:
    assert convert(request(sampling={option: value}))[field] == value


def test_seed() -> None:
    assert convert(request(sampling={"seed": 0}), DETERMINISTIC)["sampling_seed"] == 0


@pytest.mark.parametrize(
    ("option", "value", "field", "expected"),
    [
        ("max_tokens", 5, "max_new_tokens", 5),
        ("min_tokens", 4, "min_new_tokens", 4),
        ("ignore_eos", True, "ignore_eos", True),
        ("stop_token_ids", [3, 1], "stop_token_ids", [1, 3]),
        ("stop_token_ids_hidden", [7], "stop_token_ids", [7]),
        ("stop_token_ids_visible", [8], "stop_token_ids", [8]),
        ("max_thinking_tokens", 0, "custom_params", {"thinking_budget": 0}),
    ],
)
def test_stop_condition(option: str, value: Any, field: str, expected: Any) -> None:
    assert convert(request(stop={option: value}), DETERMINISTIC)[field] == expected


@pytest.mark.parametrize(
    ("guided", "expected"),
    [
        ({"json": {"type": "object"}}, {"json_schema": '{"type": "object"}'}),
        ({"json": {}}, {"json_schema": "{}"}),
        ({"json": '{"type":"object"}'}, {"json_schema": '{"type":"object"}'}),
        ({"regex": "[0-9]+"}, {"regex": "[0-9]+"}),
        ({"choice": ["yes", "no"]}, {"regex": "(yes|no)"}),
        ({"grammar": 'root ::= "a"'}, {"ebnf": 'root ::= "a"'}),
        ({"structural_tag": {"type": "structural_tag"}}, {"structural_tag": '{"type": "structural_tag"}'}),
        ({"structural_tag": "{}"}, {"structural_tag": "{}"}),
        ({"regex": "a", "backend": "xgrammar"}, {"regex": "a"}),
        ({"json": None, "regex": None}, {}),
    ],
)
def test_guided_decoding(guided: dict[str, Any], expected: dict[str, str]) -> None:
    params = convert(request(sampling={"guided_decoding": guided}))
    assert params == {"max_new_tokens": 88, **expected}


def test_choices_are_matched_literally() -> None:
    choices = [
        "a.b",
        "(x|y)",
        "1+1=2?",
        "[x]{2}",
        "^$*",
        "back\\slash",
        "a/b",
        "a b-c#~&",
        "日本",
        "new\nline",
    ]
    pattern = convert(request(sampling={"guided_decoding": {"choice": choices}}))["regex"]
    assert all(re.fullmatch(pattern, choice) for choice in choices)
    assert not re.fullmatch(pattern, "aXb")


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
    [
        {"token_ids": [5]},
        NOTHING,
        {**NOTHING, "sampling_options": None, "stop_conditions": None, "output_options": None},
    ],
    ids=["missing keys", "every key None", "sections None"],
)
def test_none_and_a_missing_key_are_the_same(nothing: Any) -> None:
    assert convert(nothing) == {"max_new_tokens": CONTEXT - 3}
    assert logprob_arguments(nothing, limits=LIMITS) == {}


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ("stop", {"stop": ["END"]}),
        ("sampling", {"include_stop_str_in_output": True}),
        ("output", {"skip_special_tokens": False, "formatted_prompt": True}),
    ],
)
def test_what_concerns_text_stays_with_the_frontend(section: str, options: dict[str, Any]) -> None:
    assert convert(request(**{section: options})) == {"max_new_tokens": 88}


def test_model_defaults_count_where_the_client_said_nothing() -> None:
    made = request(sampling={"temperature": 0.0, "top_k": None})
    params = convert(made, temperature=0.6, top_k=20, repetition_penalty=1.1)
    assert params == {"temperature": 0.0, "top_k": 20, "repetition_penalty": 1.1, "max_new_tokens": 88}


@pytest.mark.parametrize(
    ("asked", "default", "expected"),
    [
        (None, None, 88),
        (None, 16, 16),
        (None, 500, 88),
        (7, None, 7),
        (50, 16, 50),
        (88, None, 88),
        (90, None, 88),
        (100, None, 88),
    ],
)
def test_max_tokens_is_at_most_what_the_prompt_leaves(
    asked: int | None, default: int | None, expected: int
) -> None:
    defaults = {} if default is None else {"max_new_tokens": default}
    assert convert(request(stop={"max_tokens": asked}), **defaults)["max_new_tokens"] == expected


@pytest.mark.parametrize(("prompt_len", "left"), [(1, 2015), (2000, 31), (2001, 15), (2016, 15)])
def test_room_in_a_kv_cache_as_large_as_the_context(prompt_len: int, left: int) -> None:
    """Measured: 2000 leaves 31 and 2016 leaves 15 tokens, 2017 none, and 2032 blocks the engine for good."""
    engine = EngineLimits(context_len=2048, prompt_limit=2042, kv_tokens=2048, page_size=16, vocab_size=1024)
    assert engine.longest_prompt == 2016
    assert engine.left_by(prompt_len) == left


@pytest.mark.parametrize("page_size", [1, 16, 64])
@pytest.mark.parametrize("kv_tokens", [512, 1000, 2048, 2200, 100_000])
def test_every_prompt_up_to_the_longest_leaves_room_and_no_longer_one_does(
    page_size: int, kv_tokens: int
) -> None:
    prompt_limit = min(2048, kv_tokens) - 6
    engine = EngineLimits(2048, prompt_limit, kv_tokens, page_size, vocab_size=1024)
    assert all(engine.left_by(n) >= 1 for n in range(1, engine.longest_prompt + 1))
    assert engine.left_by(engine.longest_prompt + 1) < 1 or engine.longest_prompt + 1 == prompt_limit


def test_limits_come_from_the_started_engine() -> None:
    resolved = {
        "page_size": 16,
        "enable_deterministic_inference": True,
        "enable_strict_thinking": False,
        "grammar_backend": "xgrammar",
        "disaggregation_mode": "decode",
        "num_reserved_decode_tokens": 512,
    }
    engine: Any = SimpleNamespace(
        server_args=SimpleNamespace(page_size=None, resolved_dict=lambda: resolved),
        tokenizer_manager=SimpleNamespace(
            context_len=2048,
            num_reserved_tokens=8,
            max_req_input_len=2042,
            model_config=SimpleNamespace(vocab_size=1024),
        ),
        _scheduler_init_result=SimpleNamespace(scheduler_infos=[{"max_total_num_tokens": 4096}]),
    )
    assert EngineLimits.of(engine) == EngineLimits(
        context_len=2040,
        prompt_limit=2042,
        kv_tokens=4096,
        page_size=16,
        vocab_size=1024,
        deterministic=True,
        reserved=512,
    )


def test_a_decode_worker_takes_no_prompt_that_it_would_never_admit() -> None:
    engine = EngineLimits(2048, 2042, kv_tokens=1200, page_size=16, vocab_size=1024, reserved=512)
    assert engine.longest_prompt == 688
    assert engine.left_by(688) >= 512 - 17
    assert "at most 688 tokens" in engine.too_long(689)
    assert "has 1200, and 512 stay free" in engine.too_long(689)


MEETING = {"bootstrap_host": "192.0.2.1", "bootstrap_port": 8998, "bootstrap_room": 7}


def half(made: Request) -> dict[str, Any]:
    return half_arguments(made, {**MEETING, "handoff_id": b"x"}, defaults={}, limits=LIMITS)


def test_each_half_is_told_where_they_meet_and_nothing_else() -> None:
    assert half(request(stop={"max_tokens": 4})) == {
        "input_ids": list(range(10)),
        "sampling_params": {"max_new_tokens": 4},
        "require_reasoning": False,
        **MEETING,
    }


@pytest.mark.parametrize(("asked", "told"), [(True, True), (False, False), (None, False)])
def test_whether_an_answer_begins_with_reasoning(asked: bool | None, told: bool) -> None:
    assert half(request(require_reasoning=asked))["require_reasoning"] is told


def test_choices_of_a_pair_are_requests_of_their_own() -> None:
    arguments = half(request(prompt=3, sampling={"n": 2}))
    assert arguments["input_ids"] == [[0, 1, 2], [0, 1, 2]]
    assert "n" not in arguments["sampling_params"]


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ({"prompt_logprobs": 0}, "prompt_logprobs is not supported where prefill and decode are two"),
        ({"logprobs": 129}, "logprobs must be at most 128 where prefill and decode are two SGLang workers"),
    ],
)
def test_what_a_pair_has_not_is_refused_by_name(output: dict[str, int], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        half(request(output=output))


def test_what_a_pair_has() -> None:
    assert half(request(output={"logprobs": 128}))["top_logprobs_num"] == 128


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (request(sampling={"use_beam_search": True}), ["use_beam_search"]),
        (request(sampling={"best_of": 3}), ["best_of", "3"]),
        (request(sampling={"n": 2, "best_of": 4}), ["best_of", "2", "4"]),
        (request(sampling={"length_penalty": 0.5}), ["length_penalty", "0.5"]),
        (request(sampling={"n": 0}), ["n must", "0"]),
        (request(sampling={"seed": 7}), ["seed", "7", "--enable-deterministic-inference"]),
        (request(stop={"max_thinking_tokens": 7}), ["max_thinking_tokens", "--enable-strict-thinking"]),
        (request(stop={"ignore_eos": True, "stop_token_ids": [7]}), ["stop_token_ids", "ignore_eos", "7"]),
        (request(stop={"max_tokens": 4, "min_tokens": 5}), ["min_tokens", "4", "5"]),
        (request(prompt=90, stop={"min_tokens": 9}), ["min_tokens", "8", "9"]),
        (request(stop={"max_tokens": 101}), ["max_tokens", "100", "101"]),
        (request(prompt=94), ["at most 93", "has 94", "context has 100"]),
        (request(prompt=1000), ["1000", "context", "100"]),
        (request(prompt=0), ["prompt", "empty"]),
        (request(token_ids=[5, 1024]), ["1023", "1024"]),
        (request(token_ids=[-1, 5]), ["-1"]),
        (request(sampling={"guided_decoding": {"json": {}, "regex": "a"}}), ["json and regex"]),
        (
            request(sampling={"guided_decoding": {"json": {}, "whitespace_pattern": " "}}),
            ["whitespace_pattern"],
        ),
        (
            request(sampling={"guided_decoding": {"regex": "a", "backend": "outlines"}}),
            ["outlines", "xgrammar"],
        ),
        (request(sampling={"guided_decoding": {"choice": []}}), ["choice", "empty"]),
        (request(sampling={"guided_decoding": {"regex": ""}}), ["regex", "empty"]),
        (request(extra_args={"sampling_options": {"allowed_token_ids": [1]}}), ["allowed_token_ids"]),
        (request(extra_args={"sampling_options": {"bad_words_token_ids": [[1]]}}), ["bad_words_token_ids"]),
    ],
)
def test_what_sglang_does_not_have_is_refused_by_name(made: Request, told: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        convert(made)
    assert all(words in str(caught.value) for words in told)


@pytest.mark.parametrize(
    ("sampling", "told"), [({"min_p": 0.1}, "min_p"), ({"n": 2, "seed": 3}, "one request per seed")]
)
def test_what_deterministic_inference_does_not_have(sampling: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        convert(request(sampling=sampling), DETERMINISTIC)


def test_a_prompt_that_the_kv_cache_can_never_hold() -> None:
    small = EngineLimits(context_len=2048, prompt_limit=506, kv_tokens=512, page_size=16, vocab_size=1024)
    with pytest.raises(InvalidArgument, match=r"at most 480 tokens .* KV cache has 512.*, but it has 500"):
        convert(request(prompt=500), small)


@pytest.mark.parametrize(
    "options", [{"best_of": 2, "n": 2}, {"best_of": 1}, {"length_penalty": 1.0}, {"use_beam_search": False}]
)
def test_options_at_their_neutral_value_are_accepted(options: dict[str, Any]) -> None:
    assert convert(request(sampling=options))["max_new_tokens"] == 88


def test_end_tokens_stop_unless_they_are_ignored() -> None:
    made = request(stop={"stop_token_ids": [9]}, eos_token_ids=[2])
    assert convert(made)["stop_token_ids"] == [2, 9]
    ignoring = request(stop={"stop_token_ids_hidden": [2], "ignore_eos": True}, eos_token_ids=[2])
    assert convert(ignoring) == {"max_new_tokens": 88, "ignore_eos": True}


@pytest.mark.parametrize(
    ("output", "top", "start"),
    [
        ({"logprobs": 0}, 0, -1),
        ({"logprobs": 4}, 4, -1),
        ({"prompt_logprobs": 0}, 0, 0),
        ({"prompt_logprobs": 2}, 2, 0),
        ({"logprobs": 1, "prompt_logprobs": 3}, 3, 0),
    ],
)
def test_logprob_arguments(output: dict[str, int], top: int, start: int) -> None:
    assert logprob_arguments(request(output=output), limits=LIMITS) == {
        "return_logprob": True,
        "top_logprobs_num": top,
        "logprob_start_len": start,
    }


@pytest.mark.parametrize("output", [{"logprobs": -1}, {"prompt_logprobs": 1025}])
def test_logprobs_out_of_range(output: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(output))):
        logprob_arguments(request(output=output), limits=LIMITS)


@pytest.mark.parametrize(
    ("routing", "expected"),
    [
        (None, {}),
        ({"cache_salt": None, "backend_instance_id": 7}, {}),
        ({"cache_salt": "tenant"}, {"cache_salt": "tenant"}),
        ({"dp_rank": 0}, {"routed_dp_rank": 0}),
        ({"priority": -1}, {"priority": -1}),
        ({"lora_name": "sql"}, {"lora_path": "sql"}),
    ],
)
def test_routing_arguments(routing: dict[str, Any] | None, expected: dict[str, Any]) -> None:
    assert routing_arguments(request(routing=routing)) == expected


def streamed(
    token_ids: list[int], finish_reason: Any = None, *, index: int | None = None, **meta: Any
) -> dict[str, Any]:
    """One output as SGLang 0.5.21 yields it with --incremental-streaming-output."""
    output: dict[str, Any] = {
        "text": " must",
        "output_ids": token_ids,
        "meta_info": {
            "id": "1cab816f2ec1476180ffb7ec11a802fd",
            "finish_reason": finish_reason,
            "prompt_tokens": 10,
            "weight_version": "default",
            "num_retractions": 0,
            "reasoning_tokens": 0,
            "completion_tokens": len(token_ids),
            "cached_tokens": 0,
            "cached_tokens_details": None,
            "dp_rank": None,
            **meta,
        },
    }
    return output if index is None else {**output, "index": index}


def chunks(made: Request, *outputs: dict[str, Any]) -> list[Chunk]:
    builder = ChunkBuilder(made)
    return [builder.chunk(output) for output in outputs]


def test_a_stream_with_nothing_asked_for() -> None:
    assert chunks(
        request(),
        streamed([173], completion_tokens=1, cached_tokens=8),
        streamed([741, 865], completion_tokens=3, cached_tokens=8),
        streamed([674], {"type": "length", "length": 4}, completion_tokens=4, cached_tokens=8),
    ) == [
        {"token_ids": [173]},
        {"token_ids": [741, 865]},
        {
            "token_ids": [674],
            "finish_reason": "length",
            "completion_usage": {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 8},
            },
        },
    ]


def test_choices_come_interleaved_and_the_last_one_has_the_usage_of_all() -> None:
    first, second, third, last = chunks(
        request(sampling={"n": 2}),
        streamed([877], index=1, completion_tokens=1, cached_tokens=9),
        streamed([759], index=0, completion_tokens=1, cached_tokens=9),
        streamed([815], {"type": "stop", "matched": 815}, index=0, completion_tokens=2, cached_tokens=9),
        streamed([118, 662], {"type": "length", "length": 3}, index=1, completion_tokens=3, cached_tokens=9),
    )
    assert first == {"token_ids": [877], "index": 1}
    assert second == {"token_ids": [759]}
    assert third == {"token_ids": [815], "finish_reason": "stop", "stop_reason": 815}
    assert last == {
        "token_ids": [118, 662],
        "index": 1,
        "finish_reason": "length",
        "completion_usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


@pytest.mark.parametrize(
    ("reason", "finish", "stop_reason"),
    [
        ({"type": "stop", "matched": 674}, "stop", 674),
        ({"type": "stop", "matched": 2}, "stop", None),
        ({"type": "length", "length": 1}, "length", None),
        ({"type": "abort", "message": "Aborted", "status_code": None, "err_type": None}, "cancelled", None),
        (
            {"type": "abort", "message": "Out of memory", "status_code": 500, "err_type": None},
            {"error": "Out of memory"},
            None,
        ),
        (
            {"type": "stop", "matched": "NaN happened"},
            {"error": "the model computed NaN; the worker's log has more"},
            None,
        ),
    ],
)
def test_finish_reason(reason: dict[str, Any], finish: Any, stop_reason: int | None) -> None:
    [chunk] = chunks(request(eos_token_ids=[2]), streamed([674], reason))
    assert chunk["finish_reason"] == finish
    assert chunk.get("stop_reason") == stop_reason


def test_aborted_in_the_queue() -> None:
    output = {
        "text": "",
        "output_ids": [],
        "meta_info": {
            "id": "queued",
            "finish_reason": {"type": "abort", "message": "Abort in waiting queue"},
            "weight_version": "default",
            "e2e_latency": 0.2,
            "completion_tokens": 0,
        },
    }
    [chunk] = chunks(request(output={"logprobs": 1, "prompt_logprobs": 1}), output)
    assert chunk == {
        "token_ids": [],
        "finish_reason": "cancelled",
        "completion_usage": {
            "prompt_tokens": 10,
            "completion_tokens": 0,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (400, "Failed to compile json grammar: Expecting ','", InvalidArgument),
        (503, "The request queue is full.", Disconnected),
    ],
)
def test_a_refused_request_raises_and_yields_no_token(
    status: int, message: str, error: type[Exception]
) -> None:
    reason = {"type": "abort", "message": message, "status_code": status, "err_type": "BadRequestError"}
    with pytest.raises(error, match=message[:20]):
        chunks(request(), streamed([720], reason, prompt_tokens=1))


def test_logprobs_are_aligned_to_the_new_tokens() -> None:
    one, two = chunks(
        request(output={"logprobs": 2}),
        streamed(
            [173],
            input_token_logprobs=[],
            output_token_logprobs=[[-3.5, 173, None]],
            output_token_logprobs_length=1,
            input_top_logprobs=[],
            output_top_logprobs=[[[-3.5, 173, None], [-3.75, 547, None]]],
        ),
        streamed(
            [741, 865],
            input_token_logprobs=[],
            output_token_logprobs=[[-5.5, 741, None], [-math.inf, 865, None]],
            output_token_logprobs_length=3,
            input_top_logprobs=[],
            output_top_logprobs=[[[-3.5, 82, None], [-3.75, 26, None]], None],
        ),
    )
    assert one["log_probs"] == [-3.5]
    assert one["top_logprobs"] == [
        [{"rank": 1, "token_id": 173, "logprob": -3.5}, {"rank": 2, "token_id": 547, "logprob": -3.75}]
    ]
    assert two["log_probs"] == [-5.5, -9999.0]
    assert two["top_logprobs"] == [
        [{"rank": 1, "token_id": 82, "logprob": -3.5}, {"rank": 2, "token_id": 26, "logprob": -3.75}],
        [],
    ]
    assert json.loads(json.dumps(two)) == two


def test_logprobs_without_alternatives() -> None:
    [chunk] = chunks(
        request(output={"logprobs": 0}),
        streamed([173], input_token_logprobs=[], output_token_logprobs=[[-3.5, 173, None]]),
    )
    assert chunk == {"token_ids": [173], "log_probs": [-3.5]}


PROMPT_LOGPROBS: dict[str, Any] = {
    "input_token_logprobs": [[None, 5, None], [-3.25, 6, None], [-8.5, 7, None]],
    "output_token_logprobs": [[-2.5, 976, None]],
    "output_token_logprobs_length": 1,
    "input_top_logprobs": [
        None,
        [[-2.5, 559, None], [-3.25, 6, None]],
        [[-2.75, 559, None], [-3.5, 815, None]],
    ],
    "output_top_logprobs": [[[-2.5, 976, None], [-3.0, 12, None]]],
}


def test_prompt_logprobs_come_once() -> None:
    first, second = chunks(
        request(prompt=3, output={"prompt_logprobs": 2}),
        streamed([976], **PROMPT_LOGPROBS),
        streamed([367], **PROMPT_LOGPROBS),
    )
    assert first == {
        "token_ids": [976],
        "engine_data": {
            "prompt_logprobs": [
                None,
                {"6": {"logprob": -3.25, "rank": 2}, "559": {"logprob": -2.5, "rank": 1}},
                {
                    "7": {"logprob": -8.5},
                    "559": {"logprob": -2.75, "rank": 1},
                    "815": {"logprob": -3.5, "rank": 2},
                },
            ]
        },
    }
    assert second == {"token_ids": [367]}


def test_prompt_and_output_have_their_own_number_of_alternatives() -> None:
    [chunk] = chunks(
        request(prompt=3, output={"prompt_logprobs": 0, "logprobs": 1}), streamed([976], **PROMPT_LOGPROBS)
    )
    assert chunk["top_logprobs"] == [[{"rank": 1, "token_id": 976, "logprob": -2.5}]]
    assert chunk["engine_data"] == {
        "prompt_logprobs": [None, {"6": {"logprob": -3.25}}, {"7": {"logprob": -8.5}}]
    }
