"""Which chunks become one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dynamo_core.runtime.outbox import Outbox

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def together(*chunks: Any) -> list[Any]:
    outbox, before = Outbox(), copy.deepcopy(chunks)
    for chunk in chunks:
        outbox.add(chunk)
    found = outbox.take()
    assert chunks == before, "a handler's chunk was changed"
    assert not outbox
    return found


def test_tokens_of_one_choice_become_one_chunk() -> None:
    last = {"token_ids": [3, 4], "finish_reason": "stop", "stop_reason": 4, "completion_usage": USAGE}
    assert together({"token_ids": [1]}, {"token_ids": [2]}, last) == [
        {
            "token_ids": [1, 2, 3, 4],
            "finish_reason": "stop",
            "stop_reason": 4,
            "completion_usage": USAGE,
        }
    ]


def test_an_end_without_a_token_ends_the_chunk_before() -> None:
    chunks = ({"token_ids": [1], "log_probs": [-0.5]}, {"token_ids": [], "finish_reason": "length"})
    assert together(*chunks) == [{"token_ids": [1], "log_probs": [-0.5], "finish_reason": "length"}]


def test_what_is_aligned_to_the_tokens_stays_so() -> None:
    def chunk(token: int) -> dict[str, Any]:
        top = [{"rank": 1, "token_id": token, "logprob": -0.1}]
        return {
            "token_ids": [token],
            "log_probs": [-0.1],
            "top_logprobs": [top],
            "cum_log_probs": -float(token),
        }

    (one,) = together(chunk(1), chunk(2), chunk(3))
    assert one["token_ids"] == [1, 2, 3]
    assert one["log_probs"] == [-0.1] * 3
    assert [top[0]["token_id"] for top in one["top_logprobs"]] == [1, 2, 3]
    assert one["cum_log_probs"] == -3.0


@pytest.mark.parametrize(
    "chunks",
    [
        ({"token_ids": [1]}, {"token_ids": [2], "index": 1}),
        ({"token_ids": [1], "finish_reason": "stop"}, {"token_ids": [2]}),
        ({"token_ids": [1], "log_probs": [-0.5]}, {"token_ids": [2]}),
        ({"token_ids": [1], "engine_data": {"prompt_logprobs": []}}, {"token_ids": [2]}),
        ({"token_ids": [1], "disaggregated_params": {}}, {"token_ids": [2]}),
        ({"embeddings": ["AAAA"]}, {"embeddings": ["BBBB"]}),
        ("hello", "world"),
        (1, {"token_ids": [1]}),
        ({"token_ids": None}, {"token_ids": [1]}),
    ],
)
def test_anything_else_stays_as_it_is(chunks: tuple[Any, ...]) -> None:
    assert together(*chunks) == list(chunks)


def test_choices_that_alternate_stay_in_order() -> None:
    chunks = [{"token_ids": [n], "index": n % 2} for n in range(4)]
    assert together(*chunks) == chunks


def test_index_0_and_none_are_the_same_choice() -> None:
    assert together({"token_ids": [1]}, {"token_ids": [2], "index": 0}) == [{"token_ids": [1, 2], "index": 0}]


def test_tokens_are_counted_until_they_are_taken() -> None:
    outbox = Outbox()
    for chunk in ({"token_ids": [1, 2]}, {"token_ids": [3]}, "text"):
        outbox.add(chunk)
    assert outbox.tokens == 4
    outbox.take()
    assert outbox.tokens == 0
