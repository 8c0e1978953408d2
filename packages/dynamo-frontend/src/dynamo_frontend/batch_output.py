"""The answers of a batch: OpenAI's batch output, one object in a line, as they come.

    {"custom_id": "a", "response": {"status_code": 200, "request_id": "…", "body": {…}}, "error": null}

The file is also the memory of what is done: a run begins where the last one ended.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dynamo_core.errors import UserError


@dataclass(frozen=True)
class Answer:
    """What became of one request."""

    id: str
    request_id: str
    status: int = 0
    """The HTTP status; 0 if there was no response."""
    body: Any = None
    error: str = ""
    """Why there is no answer, in words."""
    code: str = ""
    """Why, as one word."""

    @property
    def line(self) -> bytes:
        response = {"status_code": self.status, "request_id": self.request_id, "body": self.body}
        entry = {
            "custom_id": self.id,
            "response": response if self.status else None,
            "error": {"code": self.code, "message": self.error} if self.code else None,
        }
        return json.dumps(entry).encode() + b"\n"


class BatchOutput:
    """The output file, held by this process alone.

    When it is opened, failed answers are dropped, since their requests are sent again, and so is a
    line that was being written when an earlier run was killed. Raises `UserError` if the file cannot
    be written or is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: set[str] = set()
        """The requests that have an answer already."""
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from None
        self._held = [self._file]
        try:
            if not path.is_file():
                raise UserError(f"the output {path} is not a file", fix="give another --batch-output")
            self._hold()
            self._written_at = path.stat().st_mtime
            self._resume()
        except BaseException:
            self.close()
            raise

    def predates(self, source: Path) -> bool:
        """Whether the input is newer than the answers that are there, if there are any."""
        return bool(self.done) and source.stat().st_mtime > self._written_at

    def write(self, answer: Answer) -> None:
        """Append one answer; it is in the hands of the system when this returns."""
        try:
            line = memoryview(answer.line)
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise self._unwritable(error) from None

    def close(self) -> None:
        for file in self._held:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process writes to {self.path}", fix="wait for it, or give another --batch-output"
            ) from None
        except OSError:  # a file system without locks
            return

    def _resume(self) -> None:
        """Find out what is done, and leave nothing else in the file."""
        end, failed = 0, 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                if id := self._answered(number, line):
                    self.done.add(id)
                else:
                    failed += 1
        try:
            os.truncate(self.path, end)
            if failed:
                self._drop_failures()
        except OSError as error:
            raise self._unwritable(error) from None

    def _drop_failures(self) -> None:
        """Put a file without them into this one's place, which is held as well from the start."""
        kept = self.path.with_name(self.path.name + ".partial")
        new = kept.open("wb", buffering=0)
        self._held.append(new)  # and the old one stays held, for whoever has just opened it
        fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with self.path.open("rb") as old, os.fdopen(os.dup(new.fileno()), "wb") as copy:
            copy.writelines(line for number, line in enumerate(old, 1) if self._answered(number, line))
        os.fsync(new)
        kept.replace(self.path)
        self._file = new

    def _answered(self, number: int, line: bytes) -> str:
        """The request that a line answers; empty if it tells of a failure."""
        try:
            entry = json.loads(line)
            id, response = entry["custom_id"], entry["response"]
            return id if entry["error"] is None and response["status_code"] == 200 else ""
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"the output {self.path} is not that of a batch: line {number} is no answer",
                fix="give another --batch-output, or remove that line",
            ) from None

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"cannot write the output {self.path}: {error.strerror}")
