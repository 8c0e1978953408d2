"""The checks that a pair of prefill and decode workers passes: what it says is what the engine says alone.

A package subclasses `PairChecks` beside its fixture `engine`; see `engine_plugin`.
"""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import openai
import psutil
import pytest

from dynamo_core.handlers.disaggregation import LEFT_TO_DECODE
from dynamo_core.testing.engine_checks import (
    GREEDY,
    GUIDED,
    LOGPROBS,
    PROMPTS,
    SEEDED,
    START_TIMEOUT,
    Case,
    Reference,
    assert_gone,
    complete,
)
from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.tiny_model import EOS, decode

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_core.testing.engines import EngineUnderTest

LONG = [10 + (7 * i) % 80 for i in range(200)]
SHORT = [20, 21, 22, 23]
OTHER = [11 + (11 * i) % 80 for i in range(200)]
RECOVERY_TIMEOUT = 40.0
"""Seconds in which a request whose peer is lost must have ended, one way or the other."""


@dataclass
class Pair:
    """A frontend, a prefill and a decode worker."""

    stack: Stack
    engine: EngineUnderTest
    halves: dict[str, Running] = field(default_factory=dict)
    prefill_flags: tuple[object, ...] = ()

    def start(self, role: Any) -> Running:
        flags = self.prefill_flags if role == "prefill" else ()
        self.halves[role] = self.engine.start_half(self.stack, role, *flags)
        return self.halves[role]

    def kill(self, role: str) -> None:
        """SIGKILL the worker; its engine goes with it."""
        children = psutil.Process(self.halves[role].pid).children(recursive=True)
        self.halves[role].process.send_signal(signal.SIGKILL)
        self.halves[role].wait(START_TIMEOUT)
        self.stack.running.remove(self.halves[role])
        assert children
        assert_gone(children)

    def address(self, role: str) -> str:
        """The endpoint of one half, read from its log."""
        return self.halves[role].wait_for_line(r"(\S+) is (not )?ready", START_TIMEOUT)[1]


def request_for(prompt: list[int], max_tokens: int, **more: Any) -> dict[str, Any]:
    """What a frontend sends to a worker, greedy and without an end before `max_tokens`."""
    return {
        "token_ids": prompt,
        "model": "tiny",
        "stop_conditions": {"max_tokens": max_tokens, "ignore_eos": True},
        "sampling_options": {"temperature": 0.0},
        "output_options": {},
        "eos_token_ids": [EOS],
        **more,
    }


def tokens_of(chunks: Any) -> list[int]:
    assert isinstance(chunks, list), chunks
    return [token for chunk in chunks for token in chunk.get("token_ids", ())]


class PairChecks:
    """Subclass it as `class TestMyPair(PairChecks)`."""

    has_seeds = True
    prefill_flags: tuple[object, ...] = ()
    meeting: tuple[str, int] | None = None
    """Host and port at which prefill workers are told to be met; None if they have no such thing."""

    @pytest.fixture(scope="class")
    def pair(
        self, tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
    ) -> Iterator[Pair]:
        """Started once, the decode worker first: it has to wait for the other."""
        with Stack(tmp_path_factory.mktemp("pair"), tiny_model) as stack:
            pair = Pair(stack, engine, prefill_flags=self.prefill_flags)
            if self.meeting:
                host, port = self.meeting
                pair.prefill_flags += ("--kv-transfer-host", host, "--kv-transfer-port", port)
            stack.frontend()
            pair.start("decode")
            pair.start("prefill")
            stack.wait_ready(START_TIMEOUT)
            yield pair

    def test_twenty_prompts_are_answered_as_by_the_engine_alone(
        self, pair: Pair, reference: Reference
    ) -> None:
        for case in GREEDY:
            answer = complete(pair.stack, case)
            assert answer.choices[0].text == decode(reference[case.name][0]["token_ids"]), case.name
            assert answer.choices[0].finish_reason == "length"
            assert answer.usage.prompt_tokens == len(case.prompt)
            assert answer.usage.completion_tokens == case.max_tokens

    def test_what_was_asked_for_holds_for_both_halves(self, pair: Pair, reference: Reference) -> None:
        for case in SEEDED if self.has_seeds else []:
            assert complete(pair.stack, case).choices[0].text == decode(reference[case.name][0]["token_ids"])
        for case in LOGPROBS:
            logprobs = complete(pair.stack, case).choices[0].logprobs
            expected = reference[case.name][0]["logprobs"]
            assert logprobs.token_logprobs == pytest.approx(expected, abs=1e-3)
        for case in GUIDED:
            text = complete(pair.stack, case).choices[0].text
            assert text == decode(reference[case.name][0]["token_ids"])

    def test_the_kv_cache_really_moves(self, pair: Pair) -> None:
        """With the cache of another prompt the answer is another one."""
        (right, wrong) = self.handed_over(pair, LONG, OTHER)
        answers = pair.stack.ask(
            pair.address("decode"),
            request_for(LONG, 12, prefill_result={"disaggregated_params": right}),
            request_for(LONG, 12, prefill_result={"disaggregated_params": wrong}),
        )
        assert tokens_of(answers[0]) == self.alone(pair, LONG, 12)
        assert tokens_of(answers[1]) != tokens_of(answers[0])

    def handed_over(self, pair: Pair, *prompts: list[int]) -> list[Any]:
        """What the prefill worker says about the KV cache of each prompt."""
        answers = pair.stack.ask(pair.address("prefill"), *(request_for(prompt, 1) for prompt in prompts))
        return [answer[-1]["disaggregated_params"] for answer in answers]

    def alone(self, pair: Pair, prompt: list[int], max_tokens: int) -> list[int]:
        """The answer of the decode worker without any prefill worker's help."""
        return tokens_of(pair.stack.ask(pair.address("decode"), request_for(prompt, max_tokens))[0])

    def unreachable(self, params: Any) -> Any:
        """The same hand-over from a prefill worker that cannot be reached."""
        raise NotImplementedError

    def test_an_unreachable_prefill_worker_hangs_nobody(self, pair: Pair) -> None:
        prompt = [13 + (5 * i) % 80 for i in range(200)]
        lost = self.unreachable(copy.deepcopy(self.handed_over(pair, prompt)[0]))
        request = request_for(prompt, 12, prefill_result={"disaggregated_params": lost})
        began = time.monotonic()
        answer = pair.stack.ask(pair.address("decode"), request)[0]
        assert time.monotonic() - began < RECOVERY_TIMEOUT
        assert isinstance(answer, dict) or tokens_of(answer) == self.alone(pair, prompt, 12)
        assert complete(pair.stack, GREEDY[0])

    def test_a_client_that_leaves_frees_both_halves(self, pair: Pair) -> None:
        """The engines here run one request at a time."""
        stream = complete(pair.stack, Case("long", PROMPTS[0], max_tokens=1500), stream=True)
        next(iter(stream))
        stream.close()
        began = time.monotonic()
        complete(pair.stack, Case("next", PROMPTS[1], max_tokens=2))
        assert time.monotonic() - began < 5

    def test_bad_requests_are_400s(self, pair: Pair) -> None:
        with pytest.raises(openai.BadRequestError, match="nonsense"):
            pair.stack.client().completions.create(
                model="tiny",
                prompt=PROMPTS[0],
                max_tokens=4,
                extra_body={"guided_json": {"type": "nonsense"}},
            )

    def test_a_prefill_worker_that_dies_takes_no_answer_with_it(
        self, pair: Pair, reference: Reference
    ) -> None:
        """What is being decoded goes on; then the pair is not ready until there is another one."""
        long = Case("long", PROMPTS[2], max_tokens=400)
        whole = complete(pair.stack, long).choices[0].text
        stream = iter(complete(pair.stack, long, stream=True))
        text = next(stream).choices[0].text
        pair.kill("prefill")
        text += "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
        assert text == whole
        pair.halves["decode"].wait_for_line("is not ready: it needs an instance of", RECOVERY_TIMEOUT)
        pair.stack.wait_ready(RECOVERY_TIMEOUT, healthy=False)
        with pytest.raises(openai.APIStatusError):
            complete(pair.stack, GREEDY[0])
        pair.start("prefill").wait_for_line("is ready", START_TIMEOUT)
        pair.stack.wait_ready(START_TIMEOUT)
        answer = complete(pair.stack, GREEDY[1])
        assert answer.choices[0].text == decode(reference[GREEDY[1].name][0]["token_ids"])

    def test_a_decode_worker_that_dies_ends_its_streams_and_can_be_replaced(
        self, pair: Pair, reference: Reference
    ) -> None:
        instances = pair.stack.instances()
        stream = iter(complete(pair.stack, Case("long", PROMPTS[3], max_tokens=1500), stream=True))
        next(stream)
        pair.kill("decode")
        began = time.monotonic()
        with pytest.raises(openai.APIError):
            list(stream)
        assert time.monotonic() - began < RECOVERY_TIMEOUT
        pair.start("decode").wait_for_line("is ready", START_TIMEOUT)
        pair.stack.wait_ready(START_TIMEOUT)
        answer = complete(pair.stack, GREEDY[2])
        assert answer.choices[0].text == decode(reference[GREEDY[2].name][0]["token_ids"])
        pair.stack.wait_instances(instances)  # the lost one is believed in until its lease ends


class IndependentDecodeChecks(PairChecks):
    """The same, for an engine whose decode worker can compute prompts, too."""

    prefill_flags = ("--max-local-prefill-length", len(SHORT))

    @pytest.mark.setting("max_local_prefill_length")
    def test_a_short_prompt_is_left_to_the_decode_worker(self, pair: Pair) -> None:
        assert self.handed_over(pair, SHORT) == [LEFT_TO_DECODE]
        (longer,) = self.handed_over(pair, [*SHORT, 24])
        assert longer != LEFT_TO_DECODE
        answer = complete(pair.stack, Case("short", SHORT, max_tokens=8))
        assert answer.choices[0].text == decode(self.alone(pair, SHORT, 8))
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.prompt_tokens == len(SHORT)
        assert answer.usage.completion_tokens == 8
