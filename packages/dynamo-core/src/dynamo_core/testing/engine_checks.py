"""The checks that every engine package passes: what comes through the stack is what the engine says.

A package provides two session fixtures and a subclass:

* `served`: a `Stack` whose frontend is ready for the model `tiny`, the tiny model with weights;
* `reference`: for each of `CASES`, by name, what the engine itself generates without any of us,
  as a list of choices `{"token_ids": [...], "logprobs": [...]}`.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from dynamo_core.testing.processes import Stack
from dynamo_core.testing.tiny_model import CONTEXT_LENGTH, EOS, SPECIALS, VOCABULARY_SIZE, decode

Reference = Mapping[str, list[dict[str, Any]]]

COLOURS = {"enum": ["red", "green", "blue"]}


@dataclass(frozen=True)
class Case:
    """One request in words that every engine understands."""

    name: str
    prompt: list[int]
    max_tokens: int = 24
    temperature: float = 0.0
    seed: int | None = None
    n: int = 1
    logprobs: int | None = None
    json_schema: dict[str, Any] | None = None


def _prompts(count: int) -> list[list[int]]:
    choose = random.Random(20250609)
    return [
        [choose.randrange(len(SPECIALS), VOCABULARY_SIZE) for _ in range(choose.randrange(5, 70))]
        for _ in range(count)
    ]


PROMPTS = _prompts(20)
GREEDY = [Case(f"greedy-{i}", prompt) for i, prompt in enumerate(PROMPTS)]
SEEDED = [Case(f"seeded-{i}", PROMPTS[i], temperature=1.0, seed=100 + i) for i in range(4)]
LOGPROBS = [Case(f"logprobs-{i}", PROMPTS[i], max_tokens=8, logprobs=3) for i in range(3)]
CHOICES = [Case("two-choices", PROMPTS[0], temperature=1.0, seed=7, n=2)]
GUIDED = [Case(f"guided-{i}", PROMPTS[i], max_tokens=16, json_schema=COLOURS) for i in range(3)]
CASES = [*GREEDY, *SEEDED, *LOGPROBS, *CHOICES, *GUIDED]


def complete(served: Stack, case: Case, *, ignore_eos: bool = True, **more: Any) -> Any:
    """Send a case through the frontend's completions route, with the prompt as token ids."""
    options: dict[str, Any] = {"max_tokens": case.max_tokens, "temperature": case.temperature, **more}
    if case.seed is not None:
        options["seed"] = case.seed
    if case.n > 1:
        options["n"] = case.n
    if case.logprobs is not None:
        options["logprobs"] = case.logprobs
    extra: dict[str, Any] = {"ignore_eos": True} if ignore_eos else {}
    if case.json_schema is not None:
        extra = {"guided_json": case.json_schema}
    return served.client().completions.create(model="tiny", prompt=case.prompt, extra_body=extra, **options)


def _pair_of_characters(tokens: list[int]) -> str:
    """Two characters that follow each other in the text with no special token between them, and no
    end token before."""
    end = tokens.index(EOS) if EOS in tokens else len(tokens)
    pairs = zip(tokens[4:end], tokens[5:end], strict=False)
    return next(decode([a, b]) for a, b in pairs if min(a, b) >= len(SPECIALS))


def _names(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


class EngineChecks:
    """Subclass it as `class TestMyEngine(EngineChecks)` beside the two fixtures."""

    @_names([*GREEDY, *SEEDED])
    def test_tokens_equal_the_engines_own(self, served: Stack, reference: Reference, case: Case) -> None:
        answer = complete(served, case)
        expected = reference[case.name][0]["token_ids"]
        assert answer.choices[0].text == decode(expected)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.prompt_tokens == len(case.prompt)
        assert answer.usage.completion_tokens == len(expected) == case.max_tokens

    @_names(GREEDY[:3])
    def test_streaming_says_the_same_as_not_streaming(
        self, served: Stack, reference: Reference, case: Case
    ) -> None:
        stream = complete(served, case, stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
        assert text == decode(reference[case.name][0]["token_ids"])
        assert chunks[-1].usage.completion_tokens == case.max_tokens

    @_names(CHOICES)
    def test_every_choice_is_the_engines_own(self, served: Stack, reference: Reference, case: Case) -> None:
        answer = complete(served, case)
        texts = sorted(choice.text for choice in answer.choices)
        assert texts == sorted(decode(choice["token_ids"]) for choice in reference[case.name])
        assert answer.usage.completion_tokens == case.n * case.max_tokens

    @_names(LOGPROBS)
    def test_logprobs_are_the_engines_own(self, served: Stack, reference: Reference, case: Case) -> None:
        logprobs = complete(served, case).choices[0].logprobs
        expected = reference[case.name][0]["logprobs"]
        assert logprobs.token_logprobs == pytest.approx(expected, abs=1e-3)
        assert all(len(top) >= case.logprobs for top in logprobs.top_logprobs)

    @_names(GUIDED)
    def test_guided_json_holds_the_schema(self, served: Stack, reference: Reference, case: Case) -> None:
        answer = complete(served, case)
        assert json.loads(answer.choices[0].text) in COLOURS["enum"]
        assert answer.choices[0].text == decode(reference[case.name][0]["token_ids"])
        assert answer.choices[0].finish_reason == "stop"

    @_names(GREEDY[3:6])
    def test_a_stop_string_ends_the_text_before_it(
        self, served: Stack, reference: Reference, case: Case
    ) -> None:
        tokens = reference[case.name][0]["token_ids"]
        text, stop = decode(tokens), _pair_of_characters(tokens)
        # The frontend takes ignore_eos to mean that nothing but the length ends the text.
        answer = complete(served, case, ignore_eos=False, stop=[stop])
        assert answer.choices[0].text == text[: text.index(stop)]
        assert answer.choices[0].finish_reason == "stop"

    def test_a_prompt_seen_before_is_cached(self, served: Stack) -> None:
        case = Case("cached", [10 + i % 80 for i in range(200)], max_tokens=2)
        complete(served, case)
        details = complete(served, case).usage.prompt_tokens_details
        assert details.cached_tokens >= 128

    def test_a_client_that_leaves_frees_the_engine(self, served: Stack) -> None:
        """The engine here runs one request at a time: an abandoned one would hold up the next."""
        long = Case("long", PROMPTS[0], max_tokens=1500)
        began = time.monotonic()
        complete(served, long)
        whole = time.monotonic() - began

        stream = complete(served, long, stream=True)
        next(iter(stream))
        stream.close()
        began = time.monotonic()
        complete(served, Case("next", PROMPTS[1], max_tokens=2))
        assert time.monotonic() - began < whole / 2

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"prompt": [9] * (CONTEXT_LENGTH + 10)}, str(CONTEXT_LENGTH)),
            ({"extra_body": {"guided_json": {"type": "nonsense"}}}, ""),
        ],
        ids=["prompt too long", "impossible schema"],
    )
    def test_bad_requests_are_400s_that_say_what_is_wrong(
        self, served: Stack, options: dict[str, Any], message: str
    ) -> None:
        request: dict[str, Any] = {"model": "tiny", "prompt": PROMPTS[0], "max_tokens": 4, **options}
        with pytest.raises(openai.BadRequestError) as caught:
            served.client().completions.create(**request)
        assert message in str(caught.value)
        assert "Traceback" not in str(caught.value)
        assert complete(served, GREEDY[0])
