"""The requests of a batch: OpenAI's batch lines, or bodies with nothing around them.

    {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "hello"}}
    {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
    {"prompt": "hello", "temperature": 0}
    {"text": "hello"}

`text` is what a person would type into a chat; `prompt` is continued as it stands. A file is read as
a stream, once to check it and once to send it, and is never in memory as a whole.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamo_core.errors import UserError

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
CONTENT = {CHAT: "messages", COMPLETIONS: "prompt"}
"""What the body of a request to each address must have."""
WRAPPER = {"custom_id", "method", "url", "body"}
FORMS = "expected custom_id, method, url and body, or one of messages, prompt and text"
SHOWN_PROBLEMS = 20
PAUSE = 1000
"""Lines between two looks at what else the event loop has to do."""


@dataclass(frozen=True)
class BatchRequest:
    """One line of the input."""

    id: str
    """Its `custom_id`, or `line-` and its number."""
    url: str
    body: dict[str, Any]

    @property
    def model(self) -> str | None:
        return self.body.get("model")


def read_requests(path: Path) -> Iterator[BatchRequest]:
    """The requests of a file that has been checked, in order."""
    for number, line in _lines(path):
        try:
            yield parse(number, line)
        except ValueError as problem:
            raise UserError(f"{path} has changed since it was checked: line {number}: {problem}") from None


async def check_input(path: Path) -> int:
    """How many requests a file has. Raises `UserError` with everything that is wrong with it."""
    ids: dict[str, int] = {}
    problems: list[str] = []
    count = wrong = 0
    for number, line in _lines(path):
        count += 1
        if count % PAUSE == 0:
            await asyncio.sleep(0)
        try:
            _remember(parse(number, line).id, number, ids)
        except ValueError as problem:
            wrong += 1
            if wrong <= SHOWN_PROBLEMS:
                problems.append(f"  line {number}: {problem}")
    if wrong > SHOWN_PROBLEMS:
        problems.append(f"  … and {wrong - SHOWN_PROBLEMS} more")
    if wrong:
        raise UserError("\n".join([f"{path}: {wrong} of {count} requests cannot be sent", *problems]))
    if not count:
        raise UserError(f"{path} has no requests", fix=f"one JSON object in each line: {FORMS}")
    return count


def parse(number: int, line: bytes) -> BatchRequest:
    """One line as a request. Raises `ValueError` that says what is wrong with it."""
    try:
        found = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"must be a JSON object, found {_kind(found)}; {FORMS}")
    custom_id = found.get("custom_id")
    if custom_id is not None and (not isinstance(custom_id, str) or not custom_id):
        raise ValueError(f"custom_id must be text, found {custom_id!r}")
    url, body = _wrapped(found) if "body" in found else _bare(found)
    _check_body(url, body)
    return BatchRequest(custom_id or f"line-{number}", url, body)


def _wrapped(found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """OpenAI's form."""
    if unknown := found.keys() - WRAPPER:
        raise ValueError(f"{', '.join(sorted(unknown))}: beside body there is only custom_id, method and url")
    if found.get("method", "POST") != "POST":
        raise ValueError(f"method must be POST, found {found['method']!r}")
    if found.get("url") not in CONTENT:
        raise ValueError(f"url must be {' or '.join(CONTENT)}, found {found.get('url')!r}")
    if not isinstance(found["body"], dict):
        raise ValueError(f"body must be a JSON object, found {_kind(found['body'])}")
    return found["url"], found["body"]


def _bare(found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A body alone, perhaps with a custom_id."""
    body = {key: value for key, value in found.items() if key != "custom_id"}
    kinds = [key for key in ("messages", "prompt", "text") if key in body]
    if len(kinds) != 1:
        raise ValueError(f"{FORMS}, found {', '.join(map(repr, body)) or 'nothing'}")
    if kinds == ["text"]:
        if not isinstance(body["text"], str):
            raise ValueError(f"text must be text, found {_kind(body['text'])}")
        body["messages"] = [{"role": "user", "content": body.pop("text")}]
    return (COMPLETIONS if "prompt" in body else CHAT), body


def _check_body(url: str, body: dict[str, Any]) -> None:
    content = body.get(CONTENT[url])
    if url == CHAT and not (isinstance(content, list) and content):
        raise ValueError(f"messages must be a list of messages, found {_kind(content)}")
    if url == COMPLETIONS and not isinstance(content, (str, list)):
        raise ValueError(f"prompt must be text or a list, found {_kind(content)}")
    if body.get("stream"):
        raise ValueError("stream must be left out: an answer is written when it is complete")
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise ValueError(f"model must be text, found {_kind(model)}")


def _remember(id: str, number: int, ids: dict[str, int]) -> None:
    """Raise `ValueError` for an id that is another line's. Ids made of the number need no memory."""
    if match := re.fullmatch(r"line-(\d+)", id):
        if int(match[1]) != number:
            raise ValueError(f"custom_id {id!r} is what line {match[1]} is called if it has none")
    elif (first := ids.setdefault(id, number)) != number:
        raise ValueError(f"custom_id {id!r} is also that of line {first}")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line := line.strip():
                    yield number, line
    except OSError as error:
        raise UserError(f"--input: cannot read {path}: {error.strerror}") from None


def _kind(value: object) -> str:
    """What a value is, in JSON's words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
    return ("an empty list" if value == [] else "") or names[type(value)]
