"""LoRA adapters come and go while a worker runs, and say what they say in vLLM alone."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from dynamo_core import environment
from dynamo_core.testing.engine_checks import PROMPTS, START_TIMEOUT
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.processes import PORTS, Stack
from dynamo_core.testing.tiny_model import decode, write_tiny_adapter

ALONE = """
import json, sys
from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt
from vllm.lora.request import LoRARequest

if __name__ == "__main__":
    model, *adapters = sys.argv[1:]
    options = {"dtype": "float32", "enforce_eager": True, "block_size": 32, "kv_cache_memory_bytes": 32 << 20}
    llm = LLM(model, enable_lora=True, max_num_seqs=1, **options)
    params = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
    prompt = TokensPrompt(prompt_token_ids=json.load(sys.stdin))
    said = []
    for number, adapter in enumerate([None, *adapters]):
        lora = LoRARequest(str(number), number, adapter) if adapter else None
        said.append(list(llm.generate([prompt], params, lora_request=lora)[0].outputs[0].token_ids))
    print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> list[Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return [write_tiny_adapter(folder / str(seed), tiny_model, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path, adapters: list[Path]
) -> list[str]:
    """What the model says by itself and with each adapter, from a process that has none of our code."""
    script = tmp_path_factory.mktemp("alone") / "alone.py"
    script.write_text(ALONE)
    result = subprocess.run(
        [sys.executable, str(script), str(tiny_model), *map(str, adapters)],
        input=json.dumps(PROMPTS[0]),
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        env={**environment.snapshot(), **engine.env},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    line = next(line for line in result.stdout.splitlines() if line.startswith("[["))
    return [decode(tokens) for tokens in json.loads(line)]


class Operator:
    """Somebody with access to a worker's status port."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/loras"

    def call(self, method: str, path: str = "", body: Any = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        header = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, header, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            answer = json.load(error)
        return answer

    def load(self, name: str, uri: str) -> dict[str, Any]:
        return self.call("POST", body={"lora_name": name, "source": {"uri": uri}})


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
) -> Iterator[tuple[Stack, Operator]]:
    with Stack(tmp_path_factory.mktemp("lora"), tiny_model) as stack:
        port = next(PORTS)
        stack.frontend()
        engine.start(stack, "--enable-lora", "--status-port", port)
        stack.wait_ready(START_TIMEOUT)
        yield stack, Operator(port)


def say(stack: Stack, model: str) -> str:
    client = stack.client()
    extra = {"ignore_eos": True}
    answer = client.completions.create(
        model=model, prompt=PROMPTS[0], max_tokens=12, temperature=0, extra_body=extra
    )
    return answer.choices[0].text


def models(stack: Stack) -> set[str]:
    return {model.id for model in stack.client().models.list()}


@pytest.mark.setting("enable_lora")
def test_an_adapter_is_a_model_from_load_to_unload(
    served: tuple[Stack, Operator], adapters: list[Path], alone: list[str]
) -> None:
    stack, operator = served
    assert len(set(alone)) == 3
    assert models(stack) == {"tiny"}
    for name, folder in (("one", adapters[0]), ("two", adapters[1])):
        assert operator.load(name, f"file://{folder}")["status"] == "success"
    assert operator.call("GET")["loras"].keys() == {"one", "two"}
    assert models(stack) == {"tiny", "one", "two"}
    assert [say(stack, name) for name in ("tiny", "one", "two", "tiny")] == [*alone, alone[0]]

    assert operator.call("DELETE", "/one")["status"] == "success"
    assert models(stack) == {"tiny", "two"}
    with pytest.raises(openai.NotFoundError):
        say(stack, "one")
    assert say(stack, "two") == alone[2]
    operator.call("DELETE", "/two")


def test_a_name_may_stand_for_another_adapter_later(
    served: tuple[Stack, Operator], adapters: list[Path], alone: list[str]
) -> None:
    """What the KV cache holds of the first one does not answer for the second."""
    stack, operator = served
    for folder, expected in zip(adapters, alone[1:], strict=True):
        assert operator.load("again", f"file://{folder}")["status"] == "success"
        assert say(stack, "again") == expected
        assert (
            operator.load("again", f"file://{folder}")["status"] == "success"
        )  # loading twice is loading once
        operator.call("DELETE", "/again")


def test_what_cannot_be_loaded_is_said(
    served: tuple[Stack, Operator], adapters: list[Path], tmp_path: Path
) -> None:
    stack, operator = served
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    refused = {
        ("a", "s3://bucket/adapter"): "nothing is downloaded here",
        ("a", "owner/adapter"): "given as file:///FOLDER",
        ("a", "file:///nowhere"): "/nowhere is no adapter: there is no file adapter_config.json in it",
        ("a", f"file://{tmp_path}"): "",
        ("tiny", f"file://{adapters[0]}"): "tiny is the name of the model itself",
        ("", f"file://{adapters[0]}"): "",
    }
    for (name, uri), message in refused.items():
        answer = operator.load(name, uri)
        assert answer["status"] == "error", uri
        assert message in answer["message"]
    assert "there is no adapter 'gone' here; loaded: none" in operator.call("DELETE", "/gone")["message"]
    assert models(stack) == {"tiny"}
    assert operator.call("GET")["loras"] == {}


def test_a_request_for_an_adapter_that_is_gone_is_refused(served: tuple[Stack, Operator]) -> None:
    stack, _ = served
    (answer,) = stack.ask("dynamo.vllm.generate", {"token_ids": PROMPTS[0], "routing": {"lora_name": "gone"}})
    assert answer["error"][0] == "InvalidArgument"
    assert "the adapter gone is not loaded" in answer["error"][1]
