"""SGLang's prefill and decode workers say together what SGLang says alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from dynamo_core.testing.engine_checks import (
    GREEDY,
    GREEDY_CHOICES,
    PROMPTS,
    START_TIMEOUT,
    Case,
    Reference,
    complete,
)
from dynamo_core.testing.pair_checks import LONG, RECOVERY_TIMEOUT, Pair, PairChecks, request_for, tokens_of
from dynamo_core.testing.processes import PORTS, Running, Stack
from dynamo_core.testing.tiny_model import decode

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "proposal" / "sgl_decode.py"
SCHEDULER = "sglang::schedul"
PAGE = 16


def scheduler_of(worker: Running) -> psutil.Process:
    children = psutil.Process(worker.pid).children(recursive=True)
    return next(child for child in children if SCHEDULER in child.name())


class Asking(threading.Thread):
    """A request that is under way."""

    def __init__(self, stack: Stack, case: Case) -> None:
        super().__init__(daemon=True)
        self._stack = stack
        self._case = case
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = complete(self._stack, self._case).choices[0].text
        except openai.APIError as error:
            self.outcome = error


class TestSglangPair(PairChecks):
    """The checks are core's; conftest.py says how to start SGLang."""

    has_seeds = False  # see test_engine.py

    def unreachable(self, params: Any) -> Any:
        return params | {"bootstrap_port": next(PORTS)}

    def alone(self, pair: Pair, prompt: list[int], max_tokens: int) -> list[int]:
        """SGLang's decode worker cannot compute a prompt; that the pair says what SGLang says alone is
        seen elsewhere."""
        (params,) = self.handed_over(pair, prompt)
        request = request_for(prompt, max_tokens, prefill_result={"disaggregated_params": params})
        return tokens_of(pair.stack.ask(pair.address("decode"), request)[0])

    def test_every_choice_has_a_transfer_of_its_own(self, pair: Pair, reference: Reference) -> None:
        answer = complete(pair.stack, GREEDY_CHOICES)
        expected = [decode(choice["token_ids"]) for choice in reference[GREEDY_CHOICES.name]]
        assert [choice.text for choice in answer.choices] == expected

    def test_the_first_token_can_be_the_last(self, pair: Pair, reference: Reference) -> None:
        case = Case("one", PROMPTS[0], max_tokens=1)
        answer = complete(pair.stack, case)
        assert answer.choices[0].text == decode(reference[GREEDY[0].name][0]["token_ids"][:1])
        assert answer.choices[0].finish_reason == "length"

    def test_a_least_number_of_tokens_is_the_decode_workers_business(self, pair: Pair) -> None:
        answer = pair.stack.client().completions.create(
            model="tiny", prompt=PROMPTS[0], max_tokens=9, temperature=0, extra_body={"min_tokens": 7}
        )
        assert answer.usage is not None
        assert 7 <= answer.usage.completion_tokens <= 9

    @pytest.mark.parametrize(
        ("asked", "named"),
        [
            ({"extra_body": {"prompt_logprobs": 1}}, "prompt_logprobs is not supported where prefill"),
            ({"seed": 7}, "seed works only in an engine started with"),
        ],
    )
    def test_what_a_pair_has_not_is_a_400_that_names_it(
        self, pair: Pair, asked: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(openai.BadRequestError, match=named):
            pair.stack.client().completions.create(model="tiny", prompt=PROMPTS[0], max_tokens=2, **asked)

    def test_a_decode_worker_that_gets_no_hand_over_says_so(self, pair: Pair) -> None:
        answer = pair.stack.ask(pair.address("decode"), request_for(LONG, 4))[0]
        assert answer["error"][0] == "Unknown"
        assert "cannot compute prompts" in answer["error"][1]

    def test_routers_hear_of_the_prefill_workers_cache(self, pair: Pair) -> None:
        complete(pair.stack, Case("long", LONG, max_tokens=2))
        command = [sys.executable, str(Path(__file__).with_name("overlap.py")), "--block-size", str(PAGE)]
        result = subprocess.run(
            [*command, "--to", pair.address("prefill"), "--discovery-path", str(pair.stack.discovery)],
            input=json.dumps(LONG),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert json.loads(result.stdout.splitlines()[-1]) == [len(LONG) // PAGE]

    def test_a_prefill_worker_that_stands_still_ends_the_request(self, pair: Pair) -> None:
        """Its process answers, its scheduler does not; when it goes on, so does the pair."""
        scheduler = scheduler_of(pair.halves["prefill"])
        scheduler.suspend()
        try:
            asking = Asking(pair.stack, Case("still", PROMPTS[4], max_tokens=4))
            asking.join(RECOVERY_TIMEOUT)
        finally:
            scheduler.resume()
        assert isinstance(asking.outcome, openai.APIStatusError), asking.outcome
        assert asking.outcome.status_code == 500  # waiting once more would not help, so nobody tries again
        assert complete(pair.stack, GREEDY[0])

    def test_a_prefill_worker_that_dies_before_the_transfer_ends_the_request(self, pair: Pair) -> None:
        scheduler_of(pair.halves["prefill"]).suspend()
        asking = Asking(pair.stack, Case("lost", PROMPTS[5], max_tokens=4))
        time.sleep(1.0)
        assert asking.is_alive()
        pair.kill("prefill")
        asking.join(RECOVERY_TIMEOUT)
        assert isinstance(asking.outcome, openai.APIStatusError), asking.outcome
        assert asking.outcome.status_code == 503
        pair.start("prefill").wait_for_line("is ready", START_TIMEOUT)
        pair.stack.wait_ready(START_TIMEOUT)
        assert complete(pair.stack, GREEDY[0])

    def test_a_request_moves_to_another_decode_worker(self, pair: Pair, reference: Reference) -> None:
        """The other one is the proposal's own example, under the same name."""
        engine = pair.engine
        flags = [*engine.half_flags["decode"], "--model", pair.stack.model, "--served-model-name", "tiny"]
        argv = [sys.executable, str(EXAMPLE), "--discovery-path", str(pair.stack.discovery)]
        argv += ["--component", "sglang-decode", *map(str, engine.flags), *map(str, flags)]
        other = Running(argv, dict(engine.env))
        pair.stack.running.append(other)
        other.wait_for_line("is ready", START_TIMEOUT)
        whole = complete(pair.stack, Case("whole", PROMPTS[6], max_tokens=300)).choices[0].text
        streams = [
            iter(complete(pair.stack, Case("moved", PROMPTS[6], max_tokens=300), stream=True))
            for _ in range(2)
        ]
        texts = [next(stream).choices[0].text for stream in streams]  # round-robin: one on each
        pair.halves["decode"].process.send_signal(signal.SIGKILL)
        for number, stream in enumerate(streams):
            texts[number] += "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
        assert texts == [whole, whole]
        pair.halves["decode"].wait(START_TIMEOUT)
        pair.stack.running.remove(pair.halves["decode"])
        pair.halves["decode"] = other
