"""The checks that every engine package passes: what comes through the stack is what the engine says.

A package provides the session fixture `engine` (see `engine_plugin`), a script that asks the engine
alone, and a subclass of `EngineChecks`.
"""

from __future__ import annotations

import itertools
import json
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import openai
import psutil
import pytest

from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.tiny_model import CONTEXT_LENGTH, EOS, SPECIALS, VOCABULARY_SIZE, decode

if TYPE_CHECKING:
    from dynamo_core.testing.engines import EngineUnderTest

Reference = Mapping[str, list[dict[str, Any]]]
"""For each of `CASES`, by name, the engine's choices: `{"token_ids": [...], "logprobs": [...]}`. A case
that the engine cannot do is missing."""

START_TIMEOUT = 300.0
"""Seconds; importing an engine without its bytecode takes minutes on a small machine."""
COLOURS = {"enum": ["red", "green", "blue"]}


@dataclass(frozen=True)
class Case:
    """One request in words that every engine understands."""

    name: str
    prompt: list[int]
    max_tokens: int = 24
    temperature: float = 0.0
    seed: int | None = None
    top_k: int | None = None
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
SEEDED_CHOICES = Case("two-seeded-choices", PROMPTS[0], temperature=1.0, seed=7, n=2)
GREEDY_CHOICES = Case("two-greedy-choices", PROMPTS[0], temperature=1.0, top_k=1, n=2)
GUIDED = [Case(f"guided-{i}", PROMPTS[i], max_tokens=16, json_schema=COLOURS) for i in range(3)]
CASES = [*GREEDY, *SEEDED, *LOGPROBS, SEEDED_CHOICES, GREEDY_CHOICES, *GUIDED]


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
    if case.top_k is not None:
        extra["top_k"] = case.top_k
    return served.client().completions.create(model="tiny", prompt=case.prompt, extra_body=extra, **options)


def _pair_of_characters(tokens: list[int]) -> str:
    """Two characters that follow each other in the text with no special token between them, and no
    end token before."""
    end = tokens.index(EOS) if EOS in tokens else len(tokens)
    pairs = itertools.pairwise(tokens[4:end])
    return next(decode([a, b]) for a, b in pairs if min(a, b) >= len(SPECIALS))


def _names(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


class EngineChecks:
    """Subclass it as `class TestMyEngine(EngineChecks)` beside the fixture `engine`."""

    has_seeds = True
    """Whether a seed makes sampling repeatable; if not, it must be a 400 that names it."""
    choices = SEEDED_CHOICES
    """The case with several choices that the engine can repeat."""
    no_memory: tuple[object, ...]
    """Flags under which the engine's processes start and then raise ValueError for lack of KV memory."""
    refused_flags: Mapping[tuple[str, ...], str]
    """Flags that the engine's parser or checks refuse, with a part of the message."""

    @_names(GREEDY)
    def test_tokens_equal_the_engines_own(self, served: Stack, reference: Reference, case: Case) -> None:
        answer = complete(served, case)
        expected = reference[case.name][0]["token_ids"]
        assert answer.choices[0].text == decode(expected)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.prompt_tokens == len(case.prompt)
        assert answer.usage.completion_tokens == len(expected) == case.max_tokens

    @_names(SEEDED)
    def test_a_seed_gives_the_engines_own_tokens(
        self, served: Stack, reference: Reference, case: Case
    ) -> None:
        if not self.has_seeds:
            with pytest.raises(openai.BadRequestError, match="seed"):
                complete(served, case)
            return
        assert complete(served, case).choices[0].text == decode(reference[case.name][0]["token_ids"])

    @_names(GREEDY[:3])
    def test_streaming_says_the_same_as_not_streaming(
        self, served: Stack, reference: Reference, case: Case
    ) -> None:
        stream = complete(served, case, stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
        assert text == decode(reference[case.name][0]["token_ids"])
        assert chunks[-1].usage.completion_tokens == case.max_tokens

    def test_every_choice_is_the_engines_own(self, served: Stack, reference: Reference) -> None:
        case = self.choices
        answer = complete(served, case)
        texts = sorted(choice.text for choice in answer.choices)
        assert texts == sorted(decode(choice["token_ids"]) for choice in reference[case.name])
        assert answer.usage.completion_tokens == case.n * case.max_tokens

    @_names(LOGPROBS)
    def test_logprobs_are_the_engines_own(self, served: Stack, reference: Reference, case: Case) -> None:
        logprobs = complete(served, case).choices[0].logprobs
        expected = reference[case.name][0]["logprobs"]
        assert logprobs.token_logprobs == pytest.approx(expected, abs=1e-3)
        assert all(len(top) >= 3 for top in logprobs.top_logprobs)

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

    def test_a_killed_engine_takes_the_worker_down_with_its_name(
        self, engine: EngineUnderTest, stack: Stack
    ) -> None:
        worker = engine.start(stack)
        worker.wait_for_line("is ready", START_TIMEOUT)
        children = psutil.Process(worker.pid).children(recursive=True)
        core = next(child for child in children if engine.core_process in child.name())
        core.kill()
        assert worker.wait(30) == 1
        assert worker.lines[-1].startswith(f"error: engine process {core.pid} (")
        assert_gone(children)

    def test_a_failed_start_ends_with_the_engines_first_error(
        self, engine: EngineUnderTest, stack: Stack
    ) -> None:
        worker = engine.start(stack, *self.no_memory)
        assert worker.wait(START_TIMEOUT) == 1
        assert worker.lines[-1].startswith(("error: ValueError: ", "error: RuntimeError: "))

    def test_ctrl_c_during_the_start_leaves_nothing(self, engine: EngineUnderTest, stack: Stack) -> None:
        worker = engine.start(stack)
        children = wait_for_child(worker, engine.core_process)
        assert worker.stop(signal.SIGINT, timeout=30) == 0
        assert_gone(children)

    def test_flags_that_the_engine_refuses_are_one_clear_error(
        self, engine: EngineUnderTest, stack: Stack
    ) -> None:
        for flags, message in self.refused_flags.items():
            worker = engine.start(stack, *flags)
            assert worker.wait(START_TIMEOUT) == 2
            assert message in worker.output[worker.output.rindex("error: ") :]
            assert "Traceback" not in worker.output


def wait_for_child(worker: Running, name: str) -> list[psutil.Process]:
    """Wait until a process of the engine runs, and return all there are by then."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        assert worker.process.poll() is None, worker.output
        children = psutil.Process(worker.pid).children(recursive=True)
        if any(name in _called(child) for child in children):
            return children
        time.sleep(0.05)
    raise AssertionError(f"no process {name!r} after {START_TIMEOUT} s:\n{worker.output}")


def _called(process: psutil.Process) -> str:
    """Name and command line; empty for one that has just ended."""
    try:
        return " ".join([process.name(), *process.cmdline()])
    except psutil.NoSuchProcess:
        return ""


def assert_gone(processes: list[psutil.Process]) -> None:
    """Nothing is left but what its parent has not asked for yet."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
