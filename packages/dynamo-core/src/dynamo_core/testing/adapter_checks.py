"""The checks that an engine's LoRA adapters pass: they come and go while a worker runs, and say what they say
in the engine alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from dynamo_core.testing.engine_checks import PROMPTS, START_TIMEOUT
from dynamo_core.testing.processes import PORTS, Running, Stack
from dynamo_core.testing.tiny_model import decode, write_tiny_adapter

if TYPE_CHECKING:
    from dynamo_core.testing.engines import EngineUnderTest


@dataclass
class Operator:
    """Somebody with access to a worker's status port."""

    stack: Stack
    worker: Running
    port: int

    def call(self, method: str, path: str = "", body: Any = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        header = {"content-type": "application/json"}
        url = f"http://127.0.0.1:{self.port}/v1/loras{path}"
        request = urllib.request.Request(url, data, header, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            answer = json.load(error)
        return answer

    def load(self, name: str, uri: str) -> dict[str, Any]:
        return self.call("POST", body={"lora_name": name, "source": {"uri": uri}})

    def unload(self, name: str) -> dict[str, Any]:
        return self.call("DELETE", f"/{name}")

    def ask(self, model: str, *, max_tokens: int = 12, **more: Any) -> Any:
        """A client's greedy request to a model or an adapter."""
        return self.stack.client().completions.create(
            model=model,
            prompt=PROMPTS[0],
            max_tokens=max_tokens,
            temperature=1.0,
            extra_body={"ignore_eos": True, "top_k": 1},
            **more,
        )

    def say(self, model: str) -> str:
        text: str = self.ask(model).choices[0].text
        return text

    @property
    def models(self) -> set[str]:
        """What clients find."""
        return {model.id for model in self.stack.client().models.list()}


class AdapterChecks:
    """Subclass it as `class TestMyAdapters(AdapterChecks)` beside the fixture `engine`."""

    script: Path
    """Prints what the engine alone says to a prompt: `script MODEL ADAPTER…` prints a list of the tokens of
    the model's own answer and of each adapter's, 12 of each."""

    @pytest.fixture(scope="class")
    def adapters(self, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> list[Path]:
        folder = tmp_path_factory.mktemp("adapters")
        return [write_tiny_adapter(folder / str(seed), tiny_model, seed=seed) for seed in (1, 2)]

    @pytest.fixture(scope="class")
    def alone(self, engine: EngineUnderTest, tiny_model: Path, adapters: list[Path]) -> list[str]:
        """What the model says by itself and with each adapter."""
        said = engine.alone(self.script, tiny_model, *adapters, asked=PROMPTS[0])
        return [decode(tokens) for tokens in said]

    @pytest.fixture(scope="class")
    def operator(
        self, tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
    ) -> Iterator[Operator]:
        with Stack(tmp_path_factory.mktemp("lora"), tiny_model) as stack:
            port = next(PORTS)
            stack.frontend()
            worker = engine.start(stack, "--enable-lora", "--status-port", port)
            stack.wait_ready(START_TIMEOUT)
            yield Operator(stack, worker, port)

    def test_an_adapter_is_a_model_from_load_to_unload(
        self, operator: Operator, adapters: list[Path], alone: list[str]
    ) -> None:
        assert len(set(alone)) == 3
        assert operator.models == {"tiny"}
        for name, folder in (("one", adapters[0]), ("two", adapters[1])):
            assert operator.load(name, f"file://{folder}")["status"] == "success"
        assert operator.call("GET")["loras"].keys() == {"one", "two"}
        assert operator.models == {"tiny", "one", "two"}
        assert [operator.say(name) for name in ("tiny", "one", "two", "tiny")] == [*alone, alone[0]]

        assert operator.unload("one")["status"] == "success"
        assert operator.models == {"tiny", "two"}
        with pytest.raises(openai.NotFoundError):
            operator.say("one")
        assert operator.say("two") == alone[2]
        operator.unload("two")

    def test_a_name_may_stand_for_another_adapter_later(
        self, operator: Operator, adapters: list[Path], alone: list[str]
    ) -> None:
        """What the KV cache holds of the first one does not answer for the second."""
        for folder, expected in zip(adapters, alone[1:], strict=True):
            assert operator.load("again", f"file://{folder}")["status"] == "success"
            assert operator.say("again") == expected
            # Loading twice is loading once.
            assert operator.load("again", f"file://{folder}")["status"] == "success"
            operator.unload("again")

    def test_an_adapter_goes_after_every_kind_of_request(
        self, operator: Operator, adapters: list[Path], alone: list[str]
    ) -> None:
        """Engines wait until nobody uses it any more: they must know of clients that left, also of those that
        waited for their turn, which here is one at a time."""
        operator.load("busy", f"file://{adapters[0]}")
        running = operator.ask("busy", max_tokens=1500, stream=True)
        next(iter(running))
        with pytest.raises(openai.APITimeoutError):
            operator.ask("busy", timeout=0.3)
        running.close()
        choices = operator.ask("busy", n=2).choices
        assert [choice.text for choice in choices] == [alone[1]] * 2
        assert operator.unload("busy")["status"] == "success"

    def test_what_cannot_be_loaded_is_said(
        self, operator: Operator, adapters: list[Path], tmp_path: Path
    ) -> None:
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
        assert "there is no adapter 'gone' here; loaded: none" in operator.unload("gone")["message"]
        assert operator.models == {"tiny"}
        assert operator.call("GET")["loras"] == {}

    def test_a_request_for_an_adapter_that_is_gone_is_refused(self, operator: Operator) -> None:
        address = operator.worker.wait_for_line(r"(\S+\.generate) is ready")[1]
        request = {"token_ids": PROMPTS[0], "routing": {"lora_name": "gone"}}
        (answer,) = operator.stack.ask(address, request)
        assert answer["error"][0] == "InvalidArgument"
        assert "the adapter gone is not loaded" in answer["error"][1]
