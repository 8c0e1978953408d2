"""What a client gets."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import openai
import psutil
import pytest

from dynamo_core.testing.conformance.conftest import Refused, Same, Served
from dynamo_core.testing.engine_checks import (
    COLOURS,
    GREEDY,
    GUIDED,
    LOGPROBS,
    PROMPTS,
    SEEDED,
    SEEDED_CHOICES,
    Case,
    complete,
)
from dynamo_core.testing.pair_checks import request_for, tokens_of
from dynamo_core.testing.tiny_model import CONTEXT_LENGTH

CLIENTS = 16


def text_of(served: Served, case: Case, **more: Any) -> str:
    text: str = complete(served.stack, case, **more).choices[0].text
    return text


def test_streaming_order(served: Served, same: Same) -> None:
    """A stream says what the whole answer says, in order"""
    for case in GREEDY[:5]:
        chunks = list(complete(served.stack, case, stream=True, stream_options={"include_usage": True}))
        parts = [chunk.choices[0] for chunk in chunks if chunk.choices]
        assert same("".join(part.text for part in parts), text_of(served, case))
        assert [part.finish_reason for part in parts][-1] == "length"
        assert not any(part.finish_reason for part in parts[:-1])
        assert chunks[-1].usage.completion_tokens == case.max_tokens


def test_chunks(served: Served) -> None:
    """Chunks on the wire hold only what is new; the last one has finish reason and usage"""
    (chunks,) = served.stack.ask(served.endpoint, request_for(PROMPTS[0], 24))
    assert len(tokens_of(chunks)) == 24
    assert not any("finish_reason" in chunk or "completion_usage" in chunk for chunk in chunks[:-1])
    assert chunks[-1]["finish_reason"] == "length"
    usage = chunks[-1]["completion_usage"]
    counts = (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"])
    assert counts == (len(PROMPTS[0]), 24, len(PROMPTS[0]) + 24)


def test_stop_tokens(served: Served) -> None:
    """A stop token ends the answer with finish reason stop"""
    (whole,) = served.stack.ask(served.endpoint, request_for(PROMPTS[1], 24))
    tokens = tokens_of(whole)
    stop = next(token for token in tokens[2:] if token not in tokens[:2])
    conditions = {"max_tokens": 24, "stop_token_ids": [stop]}
    (cut,) = served.stack.ask(
        served.endpoint, request_for(PROMPTS[1], 24, stop_conditions=conditions, eos_token_ids=[])
    )
    assert tokens_of(cut) == tokens[: tokens.index(stop) + 1]
    assert cut[-1]["finish_reason"] == "stop"


def test_greedy_repeats(served: Served) -> None:
    """A greedy answer is the same each time"""
    for case in GREEDY[5:8]:
        assert text_of(served, case) == text_of(served, case)


def test_concurrency(served: Served) -> None:
    """Sixteen requests at a time get the answers that each gets alone"""
    cases = GREEDY[:CLIENTS]
    alone = [text_of(served, case) for case in cases]
    with ThreadPoolExecutor(CLIENTS) as pool:
        assert list(pool.map(lambda case: text_of(served, case), cases)) == alone


@pytest.mark.refusable
def test_seeds(served: Served, refused: Refused) -> None:
    """A seed makes sampling repeatable"""
    if refused(SEEDED[0], "seed"):
        return
    texts = [[text_of(served, case) for case in SEEDED] for _ in range(2)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1


@pytest.mark.refusable
def test_choices(served: Served, refused: Refused) -> None:
    """n choices are n answers, all of them counted"""
    if refused(SEEDED_CHOICES, "n"):
        return
    answer = complete(served.stack, replace(SEEDED_CHOICES, seed=None))
    assert sorted(choice.index for choice in answer.choices) == [0, 1]
    assert answer.usage.completion_tokens == 2 * SEEDED_CHOICES.max_tokens


@pytest.mark.refusable
def test_logprobs(served: Served, refused: Refused) -> None:
    """Log probabilities are aligned to the tokens, the chosen one among the likeliest"""
    if refused(LOGPROBS[0], "logprobs"):
        return
    for case in LOGPROBS:
        logprobs = complete(served.stack, case).choices[0].logprobs
        assert len(logprobs.token_logprobs) == len(logprobs.tokens) == case.max_tokens
        for chosen, top in zip(logprobs.token_logprobs, logprobs.top_logprobs, strict=True):
            assert chosen <= 0
            assert len(top) >= (case.logprobs or 0)
            assert chosen == pytest.approx(max(top.values()))  # greedy


@pytest.mark.refusable
def test_guided_decoding(served: Served, refused: Refused) -> None:
    """Guided decoding keeps to its schema"""
    if refused(GUIDED[0], "guided"):
        return
    for case in GUIDED:
        assert json.loads(text_of(served, case)) in COLOURS["enum"]


def test_prompt_cache(served: Served) -> None:
    """A prompt that was seen before is reported as cached"""
    case = Case("cached", [10 + i % 80 for i in range(200)], max_tokens=2)
    complete(served.stack, case)
    assert complete(served.stack, case).usage.prompt_tokens_details.cached_tokens >= 128


def test_limits(served: Served) -> None:
    """A prompt that does not fit is a 400 that says so, and the next request is answered"""
    with pytest.raises(openai.BadRequestError) as caught:
        complete(served.stack, Case("long", [9] * (CONTEXT_LENGTH + 10)))
    assert str(CONTEXT_LENGTH) in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert text_of(served, GREEDY[0])


def test_bad_requests(served: Served) -> None:
    """What cannot be had is refused by name before the first chunk"""
    beams = {"use_beam_search": True, "n": 2, "best_of": 2, "temperature": 0.0}
    (answer,) = served.stack.ask(served.endpoint, request_for(PROMPTS[0], 4, sampling_options=beams))
    kind, message = answer["error"]
    assert kind == "InvalidArgument"
    assert "beam" in message
    assert text_of(served, GREEDY[0])


def test_cancellation(served: Served) -> None:
    """A client that leaves frees the engine for the next"""
    stream = complete(served.stack, Case("long", PROMPTS[0], max_tokens=1500), stream=True)
    text = [next(iter(stream)).choices[0].text]
    stream.close()
    (chunks,) = served.stack.ask(served.endpoint, request_for(PROMPTS[1], 2), timeout=20)
    assert len(tokens_of(chunks)) == 2
    assert text


def test_nothing_grows(served: Served) -> None:
    """Two hundred requests leave no thread and no file behind"""
    process = psutil.Process(served.worker.pid)
    complete(served.stack, GREEDY[0])
    before = process.num_threads(), process.num_fds()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda i: complete(served.stack, Case("few", PROMPTS[i % 20], max_tokens=2)), range(200))
        )
    assert process.num_threads() <= before[0] + 1
    assert process.num_fds() <= before[1] + 8  # connections of frontends stay open
