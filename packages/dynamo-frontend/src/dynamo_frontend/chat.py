"""A chat in the terminal, over the same HTTP frontend that everybody else uses.

The Rust runtime has a text input of its own. It asks for 8192 new tokens whatever the model's context
holds, and shows nothing when a worker refuses that; hence this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

from dynamo_core.ports import free_ports
from dynamo_core.runtime import DistributedRuntime
from dynamo_core.runtime.frontend import FrontendOptions, serve_frontend

PROMPT = "you> "
MODEL_INTERVAL = 0.2
"""Seconds between two questions for a model, while there is none."""


async def chat(runtime: DistributedRuntime, options: FrontendOptions) -> None:
    """Serve HTTP on a free loopback port and talk over it, until the input ends or a signal comes."""
    port = next(free_ports())
    local = dataclasses.replace(
        options, http_host="127.0.0.1", http_port=port, tls_cert_path=None, tls_key_path=None
    )
    with _quiet_library():
        serving = asyncio.ensure_future(serve_frontend(runtime, local))
        talking = asyncio.ensure_future(Chat(f"http://127.0.0.1:{port}").run())
        stopping = asyncio.ensure_future(runtime.stopping())
        await asyncio.wait({serving, talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        talking.cancel()
        runtime.stop()
        await asyncio.wait({serving, talking})
        for task in (serving, talking):
            if not task.cancelled():
                task.result()


@contextlib.contextmanager
def _quiet_library() -> Iterator[None]:
    """Keep logs out of the conversation: the Rust side reports every request, whatever the level.

    They go to the descriptor; what is printed to `sys.stderr` still shows.
    """
    sys.stderr.flush()
    ours = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    with open(ours, "w", buffering=1, closefd=False) as stream, contextlib.redirect_stderr(stream):
        yield
    os.dup2(ours, 2)
    os.close(ours)


class Chat:
    """Reads lines, sends them with all that was said before, and prints answers as they come."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._messages: list[dict[str, str]] = []
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._left = False

    async def run(self) -> None:
        """Talk until the input ends."""
        model = await self._wait_for_model()
        print(f"talking to {model}; Ctrl-D ends", flush=True)
        loop = asyncio.get_running_loop()
        try:
            self._start_reading(loop)
            while (line := await self._next_line()) is not None:
                if line.strip():
                    self._messages.append({"role": "user", "content": line})
                    answer = await asyncio.to_thread(self._ask, model)
                    self._messages.append({"role": "assistant", "content": answer})
        finally:
            loop.remove_reader(0)
            self._left = True
            print(flush=True)

    async def _wait_for_model(self) -> str:
        said = False
        while not (models := await asyncio.to_thread(self._models)):
            if not said:
                print("waiting for a model …", flush=True)
                said = True
            await asyncio.sleep(MODEL_INTERVAL)
        return models[0]

    def _models(self) -> list[str]:
        try:
            with urllib.request.urlopen(f"{self._url}/health", timeout=5) as response:
                models: list[str] = json.load(response)["models"]
                return models
        except OSError:
            return []

    async def _next_line(self) -> str | None:
        if self._lines.empty():
            print(PROMPT, end="", flush=True)
        return await self._lines.get()

    def _start_reading(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.add_reader(0, self._read)
        except PermissionError:  # a file, which is always ready and cannot be waited for
            for line in sys.stdin.read().splitlines():
                self._lines.put_nowait(line)
            self._lines.put_nowait(None)

    def _read(self) -> None:
        """The terminal hands over whole lines; their end is the end of the chat."""
        data = os.read(0, 1 << 16)
        for line in data.decode("utf-8", "replace").splitlines():
            self._lines.put_nowait(line)
        if not data:
            asyncio.get_running_loop().remove_reader(0)
            self._lines.put_nowait(None)

    def _ask(self, model: str) -> str:
        """One question, in a thread; prints the answer piece by piece and returns it whole."""
        body = {"model": model, "messages": self._messages, "stream": True}
        request = urllib.request.Request(
            f"{self._url}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        answer = ""
        try:
            with urllib.request.urlopen(request) as response:
                for line in response:
                    if self._left:
                        break
                    piece = _content(line)
                    answer += piece
                    print(piece, end="", flush=True)
        except urllib.error.HTTPError as error:
            print(f"error: {error.read().decode('utf-8', 'replace')}", file=sys.stderr)
        print(flush=True)
        return answer


def _content(line: bytes) -> str:
    """The text in one line of a server-sent event stream; errors in the stream are shown as they are."""
    if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
        return ""
    event = json.loads(line.removeprefix(b"data: "))
    if "error" in event:
        return f"[{event['error'].get('message', event['error'])}]"
    return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", []))
