"""The worker behind the real runtime and frontend, on a double of TensorRT-LLM."""

from __future__ import annotations

import signal
from typing import Any

import openai
import pytest
from tensorrt_llm._double import STEP

from dynamo_core.testing.processes import Running, Stack

MODULE = "dynamo_trtllm.worker"
MESSAGES: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def start(stack: Stack, double: dict[str, str]) -> Any:
    def start(*flags: object, **env: str) -> Running:
        words = ("--model", stack.model, "--served-model-name", "tiny", *flags)
        return stack.start(MODULE, *words, env=double | env)

    return start


def complete(stack: Stack, **options: Any) -> Any:
    return stack.client().completions.create(model="tiny", prompt="abc", **options)


def test_an_answer_and_its_usage(stack: Stack, start: Any) -> None:
    stack.frontend()
    worker = start()
    stack.wait_ready()
    answer = complete(stack, max_tokens=5)
    assert answer.choices[0].text == "34567"
    assert answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 5)
    assert worker.stop() == 0
    assert "double: shut down" in worker.output


def test_choices_logprobs_and_stop_tokens(stack: Stack, start: Any) -> None:
    stack.frontend()
    start()
    stack.wait_ready()
    answer = complete(stack, max_tokens=3, n=2, logprobs=1, temperature=0.5)
    assert [choice.text for choice in answer.choices] == ["345", "345"]
    assert answer.choices[0].logprobs.token_logprobs == [-0.5, -1.5, -2.5]
    assert complete(stack, max_tokens=9, stop=["6"]).choices[0].text == "345"


def test_what_cannot_be_had_is_a_400(stack: Stack, start: Any) -> None:
    stack.frontend()
    start()
    stack.wait_ready()
    with pytest.raises(openai.BadRequestError, match="best_of must equal n"):
        complete(stack, best_of=2)
    image: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.BadRequestError, match=r"multi_modal_data \(image_url\)"):
        stack.client().chat.completions.create(model="tiny", messages=[{"role": "user", "content": [image]}])


def test_a_client_that_leaves_aborts_its_request(stack: Stack, start: Any) -> None:
    stack.frontend()
    worker = start(**{STEP: "0.05"})
    stack.wait_ready()
    stream = stack.client().completions.create(model="tiny", prompt="abc", max_tokens=100, stream=True)
    next(iter(stream))
    stream.close()
    worker.wait_for_line(r"double: aborted after \d+ tokens", timeout=5)


def test_sizes_reach_the_router(stack: Stack, start: Any) -> None:
    stack.frontend()
    start("--kv-cache-config", "{tokens_per_block: 16}", "--max-seq-len", 100)
    stack.wait_ready()
    found = "".join(path.read_text() for path in stack.discovery.rglob("*") if path.is_file())
    assert '"kv_cache_block_size":16' in found
    assert '"total_kv_blocks":64' in found
    with pytest.raises(openai.BadRequestError):
        complete(stack, max_tokens=101)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--max-sqe-len", "5"),
            "unknown flag '--max-sqe-len', also for TensorRT-LLM; did you mean --max-seq-len",
        ),
        (("--max-seq-len", "long"), "max-seq-len: Input should be a valid integer"),
        (
            ("--skip-tokenizer-init",),
            "TensorRT-LLM's --skip-tokenizer-init cannot be given: the worker sets it",
        ),
        (("--kv-cache-config", "{tokens: 1}"), "kv-cache-config: tokens: Extra inputs are not permitted"),
    ],
)
def test_flags_that_are_refused(start: Any, flags: tuple[str, ...], message: str) -> None:
    worker = start(*flags)
    assert worker.wait() == 2
    assert message in worker.output
    assert "Traceback" not in worker.output


def test_ctrl_c_ends_it(stack: Stack, start: Any) -> None:
    worker = start()
    worker.wait_for_line("is ready")
    assert worker.stop(signal.SIGINT) == 0
