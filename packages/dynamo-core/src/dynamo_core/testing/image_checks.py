"""The checks that an engine's models with eyes pass: what they say through the frontend about an image is
what the engine says alone."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import openai
import pytest

from dynamo_core.testing.engine_checks import START_TIMEOUT
from dynamo_core.testing.processes import Stack
from dynamo_core.testing.tiny_model import CONTEXT_LENGTH, VOCABULARY_SIZE, decode
from dynamo_core.testing.tiny_vision import data_url, prompt

if TYPE_CHECKING:
    from dynamo_core.testing.engines import EngineUnderTest

COLOURS = ("red", "blue")
QUESTION = "what is it?"
MAX_TOKENS = 8
INTERNAL = {"DYN_MM_ALLOW_INTERNAL": "1"}
"""Frontends refuse addresses of private networks, unless they are told otherwise."""


class Model(NamedTuple):
    folder: Path
    image_token: int

    @property
    def prompt(self) -> list[int]:
        return prompt(self.image_token, QUESTION)


class ImageChecks:
    """Subclass it as `class TestMyImages(ImageChecks)` beside the fixture `engine`."""

    script: Path
    """Prints the tokens that the engine alone says to each of a list of `{"token_ids": …, "url": …}`,
    greedily and `MAX_TOKENS` of them: `script MODEL`."""
    tokens_per_image: int

    flags: tuple[str, ...] = ()

    def write_model(self, folder: Path) -> int:
        """Write a model that takes images, and return the token that stands for one."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Model:
        folder = tmp_path_factory.mktemp("vision") / "tiny"
        return Model(folder, self.write_model(folder))

    @pytest.fixture(scope="class")
    def alone(self, engine: EngineUnderTest, model: Model) -> dict[str, str]:
        """What the engine says to an image of each colour."""
        asked = [{"token_ids": model.prompt, "url": data_url(colour)} for colour in COLOURS]
        said = engine.alone(self.script, model.folder, asked=asked)
        texts = [decode([token for token in tokens if token < VOCABULARY_SIZE]) for tokens in said]
        return dict(zip(COLOURS, texts, strict=True))

    @pytest.fixture(scope="class")
    def host(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        """Where images can be fetched from, by the worker's leave."""
        folder = tmp_path_factory.mktemp("images")
        for colour in COLOURS:
            (folder / f"{colour}.png").write_bytes(base64.b64decode(data_url(colour).partition(",")[2]))

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self) -> None:
                if self.path == "/elsewhere.png":
                    self.send_response(302)
                    self.send_header("Location", f"http://localhost:{server.server_port}/red.png")
                    self.end_headers()
                else:
                    super().do_GET()

            def log_message(self, *_: Any) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()

    @pytest.fixture(scope="class")
    def seeing(
        self, tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, model: Model
    ) -> Iterator[Stack]:
        with Stack(tmp_path_factory.mktemp("seeing"), model.folder) as stack:
            stack.start("dynamo_frontend", "--http-port", stack.port, env=INTERNAL)
            engine.start(stack, *self.flags, "--allowed-media-domains", "127.0.0.1")
            stack.wait_ready(START_TIMEOUT)
            yield stack

    def ask(
        self, stack: Stack, *urls: str, kind: str = "image_url", max_tokens: Any = MAX_TOKENS, **more: Any
    ) -> Any:
        content: list[Any] = [{"type": kind, kind: {"url": url}} for url in urls]
        content.append({"type": "text", "text": QUESTION})
        return stack.client().chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": content}],
            max_tokens=max_tokens,
            temperature=0.0,
            extra_body={"ignore_eos": True},
            **more,
        )

    def test_what_is_said_about_an_image_is_what_the_engine_says_alone(
        self, seeing: Stack, model: Model, alone: dict[str, str]
    ) -> None:
        assert alone["red"] != alone["blue"]
        for colour, expected in alone.items():
            answer = self.ask(seeing, data_url(colour))
            assert answer.choices[0].message.content == expected
            expanded = len(model.prompt) - 1 + self.tokens_per_image
            assert answer.usage.prompt_tokens == expanded
            assert answer.usage.completion_tokens == MAX_TOKENS

    def test_text_alone_and_two_images_are_answered(self, seeing: Stack, model: Model) -> None:
        assert self.ask(seeing).usage.prompt_tokens == len(model.prompt) - 1
        two = self.ask(seeing, *map(data_url, COLOURS))
        assert two.usage.prompt_tokens == len(model.prompt) - 1 + 2 * self.tokens_per_image
        other = self.ask(seeing, *map(data_url, reversed(COLOURS)))
        assert other.choices[0].message.content != two.choices[0].message.content

    def test_an_answer_may_be_as_long_as_fits_after_the_image(
        self, seeing: Stack, alone: dict[str, str]
    ) -> None:
        answer = self.ask(seeing, data_url("red"), max_tokens=openai.NOT_GIVEN)
        assert answer.choices[0].finish_reason == "length"
        assert answer.choices[0].message.content.startswith(alone["red"])
        most = CONTEXT_LENGTH - answer.usage.prompt_tokens
        assert most - 2 <= answer.usage.completion_tokens <= most

    def test_a_model_without_eyes_says_so(self, served: Stack) -> None:
        with pytest.raises(openai.BadRequestError, match=r"text only.* \(image_url\)"):
            self.ask(served, data_url("red"))

    def test_an_image_is_fetched_from_where_the_worker_may(
        self, seeing: Stack, alone: dict[str, str], host: str
    ) -> None:
        answer = self.ask(seeing, f"http://{host}/red.png")
        assert answer.choices[0].message.content == alone["red"]

    def test_bad_images_are_400s_that_say_what_to_do(self, seeing: Stack, host: str) -> None:
        port = host.partition(":")[2]
        for url, message in (
            (f"http://localhost:{port}/red.png", "--allowed-media-domains localhost"),
            ("file:///etc/hostname", "must be a data: or an https: URL"),
            ("data:image/png;base64,bm8gaW1hZ2U=", "cannot identify image file"),
            (f"http://{host}/nothing.png", "404"),
            (f"http://{host}/elsewhere.png", ""),
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                self.ask(seeing, url)
            assert message in str(refused.value), url
        with pytest.raises(openai.BadRequestError, match="video_url"):
            self.ask(seeing, data_url("red"), kind="video_url")
        assert self.ask(seeing, data_url("red"))


class ImagePairChecks(ImageChecks):
    """The same, for an engine whose prefill and decode workers take images."""

    def test_a_pair_sees_what_one_worker_sees(
        self, stack: Stack, engine: EngineUnderTest, model: Model, alone: dict[str, str]
    ) -> None:
        stack.model = model.folder
        stack.frontend()
        engine.start_half(stack, "decode", *self.flags)
        engine.start_half(stack, "prefill", *self.flags)
        stack.wait_ready(START_TIMEOUT)
        for colour, expected in alone.items():
            assert self.ask(stack, data_url(colour)).choices[0].message.content == expected
