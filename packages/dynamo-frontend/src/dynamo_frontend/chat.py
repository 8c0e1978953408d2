"""A chat in the terminal, over the same HTTP frontend that everybody else uses.

The Rust runtime has a text input of its own. It asks for 8192 new tokens whatever the model's context
holds, and shows nothing when a worker refuses that; hence this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dynamo_core import environment
from dynamo_core.errors import RequestError
from dynamo_core.runtime import DistributedRuntime
from dynamo_core.runtime.frontend import FrontendOptions
from dynamo_frontend.local import (
    MODEL_INTERVAL,
    error_message,
    open_session,
    quiet_library,
    ready_models,
    serve_for,
)

if TYPE_CHECKING:
    from aiohttp import ClientSession

PROMPT = "you> "
LIMIT = 512
"""Tokens of an answer of an engine that demands a limit, as the simulated one does, which has no end of its
own."""
LIMIT_DEMANDED = re.compile(r"max_tokens\W.* is required")
HELP = "/clear forgets the conversation, /help shows this; Ctrl-C stops an answer, Ctrl-D ends"


async def chat(runtime: DistributedRuntime, options: FrontendOptions) -> None:
    """Talk to the first model that is there, until the input ends or a signal comes."""

    async def talk(url: str) -> None:
        async with open_session(url) as session:
            place = f"of namespace {options.namespace} through {runtime.meeting_point}"
            model = await _wait_for_model(session, place)
            conversation = Chat(session, model)
            with _interrupts(conversation.interrupt, runtime):
                await conversation.run()

    quiet_library()
    await serve_for(talk, runtime, options)


async def _wait_for_model(session: ClientSession, place: str) -> str:
    said = False
    while not (models := await ready_models(session)):
        if not said:
            print(f"waiting for a model {place} …", flush=True)
            said = True
        await asyncio.sleep(MODEL_INTERVAL)
    return models[0]


@contextlib.contextmanager
def _interrupts(handler: Callable[[], None], runtime: DistributedRuntime) -> Iterator[None]:
    """Send SIGINT to `handler`, if a person is typing; else it ends the process like everywhere."""
    if not os.isatty(0):
        yield
        return
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, handler)
    try:
        yield
    finally:
        runtime.before_serving()  # which puts the handlers of the runtime back


class Chat:
    """Reads lines, sends them with all that was said before, and prints answers as they come."""

    def __init__(self, session: ClientSession, model: str) -> None:
        self._session = session
        self._model = model
        self._messages: list[dict[str, str]] = []
        self._limit: dict[str, int] = {}
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._answering: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Talk until the input ends."""
        print(f"talking to {self._model}; /help for help, Ctrl-D ends", flush=True)
        # In a thread, since a loop can wait neither for a file, nor for a terminal without making it
        # non-blocking for everyone who shares it.
        threading.Thread(target=self._read, args=(asyncio.get_running_loop(),), daemon=True).start()
        try:
            while (line := await self._next_line()) is not None:
                if re.fullmatch(r"/\w+", line.strip()):
                    print(self._command(line.strip()), flush=True)
                elif line.strip():
                    await self._turn({"role": "user", "content": line})
        finally:
            print(flush=True)

    def interrupt(self) -> None:
        """Ctrl-C: end the answer that is coming, or the chat if there is none."""
        if self._answering is None:
            self._lines.put_nowait(None)
        else:
            self._answering.cancel()

    async def _next_line(self) -> str | None:
        if self._lines.empty():
            print(PROMPT, end="", flush=True)
        return await self._lines.get()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """Queue the lines of the input, and None at its end. Runs in a thread that nobody waits for."""
        rest = b""
        with contextlib.suppress(RuntimeError):  # the loop is gone, and the chat with it
            with contextlib.suppress(OSError):  # the terminal is gone: the end of the input
                while data := os.read(0, 1 << 16):
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        loop.call_soon_threadsafe(self._lines.put_nowait, line.decode("utf-8", "replace"))
            if rest:
                loop.call_soon_threadsafe(self._lines.put_nowait, rest.decode("utf-8", "replace"))
            loop.call_soon_threadsafe(self._lines.put_nowait, None)

    def _command(self, word: str) -> str:
        if word == "/clear":
            self._messages.clear()
            return "the conversation is forgotten"
        return HELP if word == "/help" else f"there is no command {word}: {HELP}"

    async def _turn(self, question: dict[str, str]) -> None:
        """One question and its answer; one that was interrupted counts as far as it came."""
        pieces: list[str] = []
        self._answering = asyncio.ensure_future(self._ask([*self._messages, question], pieces))
        try:
            await asyncio.wait({self._answering})
            if self._answering.cancelled():
                print(" (stopped)", end="", flush=True)
            else:
                self._answering.result()
        finally:
            self._answering.cancel()
            self._answering = None
            print(flush=True)
        if pieces:
            self._messages += [question, {"role": "assistant", "content": "".join(pieces)}]

    async def _ask(self, messages: list[dict[str, str]], pieces: list[str]) -> None:
        """Print the answer piece by piece, and add the pieces to `pieces`."""
        from aiohttp import ClientError

        shown = Answer()
        try:
            try:
                await self._stream(messages, pieces, shown)
            except RequestError as error:
                if self._limit or not LIMIT_DEMANDED.search(str(error)):
                    raise
                self._limit = {"max_tokens": LIMIT}
                await self._stream(messages, pieces, shown)
        except (ClientError, RequestError) as error:
            shown.end()
            print(f"{shown.separator}error: {error}", end="", flush=True)
        finally:
            shown.end()

    async def _stream(self, messages: list[dict[str, str]], pieces: list[str], shown: Answer) -> None:
        body = {"model": self._model, "messages": messages, "stream": True, **self._limit}
        async with self._session.post("/v1/chat/completions", json=body) as response:
            if response.status != 200:
                raise RequestError(error_message(await response.read()))
            async for line in response.content:
                for delta in _deltas(line):
                    shown.reason(delta.get("reasoning_content") or "")
                    if piece := delta.get("content") or "":
                        pieces.append(piece)
                        shown.say(piece)


class Answer:
    """One answer as it is printed: what a model thinks before it stands above it, dimmed. Where nothing can
    be dimmed, only a terminal gets it, and a pipe the answer alone."""

    def __init__(self) -> None:
        is_terminal = sys.stdout.isatty()
        self._is_dimmed = environment.wants_colour(is_terminal=is_terminal)
        self._shows_thoughts = is_terminal or self._is_dimmed
        self._is_thinking = False
        self.separator = ""
        """What has to stand between what was printed so far and what is no part of it."""

    def reason(self, piece: str) -> None:
        """Print a piece of what the model thinks."""
        if piece and self._shows_thoughts:
            begin = "\x1b[2m" if self._is_dimmed and not self._is_thinking else ""
            self._is_thinking = True
            self._print(begin + piece)

    def say(self, piece: str) -> None:
        """Print a piece of the answer."""
        if self._is_thinking:
            self.end()
            print("\n")
            piece = piece.lstrip("\n")
        self._print(piece)

    def end(self) -> None:
        """Leave the terminal as it was."""
        if self._is_thinking and self._is_dimmed:
            print("\x1b[0m", end="", flush=True)
        self._is_thinking = False

    def _print(self, text: str) -> None:
        self.separator = "\n"
        print(text, end="", flush=True)


def _deltas(line: bytes) -> list[Mapping[str, Any]]:
    """What one line of a stream of server-sent events adds. Raises `RequestError` for an error in it."""
    if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
        return []
    event = json.loads(line.removeprefix(b"data: "))
    if "error" in event:
        raise RequestError(error_message(line.removeprefix(b"data: ")))
    return [choice["delta"] for choice in event.get("choices", [])]
