"""A chat in the terminal, on a real one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Stack
from dynamo_core.testing.scripted import ALPHABET
from dynamo_core.testing.tiny_model import decode

PROMPT = "you> "
LETTERS = decode(ALPHABET) * 2


class Terminal:
    """The other side of a frontend's terminal."""

    def __init__(self, *flags: object) -> None:
        self.screen = ""
        self._own, theirs = pty.openpty()
        argv = [sys.executable, "-m", "dynamo_frontend", "--input", "text", *(str(flag) for flag in flags)]
        self.process = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C becomes SIGINT
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def wait_for(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """The first match on the screen; what is before it is forgotten."""
        deadline = time.monotonic() + timeout
        while True:
            if match := re.search(pattern, self.screen):
                self.screen = self.screen[match.end() :]
                return match
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self._own], [], [], left)[0]:
                raise AssertionError(f"{pattern!r} did not appear within {timeout} s:\n{self.screen}")
            text = os.read(self._own, 4096).decode("utf-8", "replace")
            self.screen += re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)

    def rest(self) -> str:
        """What else it wrote, once it has ended."""
        while select.select([self._own], [], [], 0)[0]:
            try:
                self.screen += os.read(self._own, 4096).decode("utf-8", "replace")
            except OSError:  # how the last reader of a terminal learns that the other side is gone
                break
        return self.screen

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._own)


@pytest.fixture
def terminal(stack: Stack) -> Iterator[Terminal]:
    """A chat that can begin."""
    stack.scripted("--token-delay", 0.02)
    shown = Terminal("--discovery-path", stack.discovery)
    try:
        shown.wait_for("talking to scripted")
        shown.wait_for(PROMPT)
        yield shown
    finally:
        shown.close()


@pytest.mark.setting("input")
def test_lines_are_answered_until_the_input_ends(terminal: Terminal, stack: Stack) -> None:
    terminal.type("hello\r")
    terminal.wait_for(r"hello\r?\n")
    terminal.wait_for(rf"{LETTERS[9:25]}\r?\n")
    terminal.wait_for(PROMPT)
    terminal.type("and now\r")
    terminal.wait_for(r"and now\r?\n")
    # What was said before is part of the next prompt, so that the answer begins further on.
    terminal.wait_for(r"[0-9a-z]{16}\r?\n")
    terminal.wait_for(PROMPT)
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0
    assert stack.running[0].process.poll() is None


def test_ctrl_c_at_the_prompt(terminal: Terminal) -> None:
    terminal.type("\x03")
    assert terminal.process.wait(5) == 0
    assert "Traceback" not in terminal.rest()


def test_ctrl_c_within_an_answer(stack: Stack) -> None:
    stack.scripted("--token-delay", 1)
    terminal = Terminal("--discovery-path", stack.discovery)
    try:
        terminal.wait_for(PROMPT)
        terminal.type("hello\r")
        terminal.wait_for(r"hello\r?\n")
        terminal.wait_for(LETTERS[9])
        assert LETTERS[12] not in terminal.screen
        terminal.type("\x03")
        assert terminal.process.wait(15) == 0
        assert "Traceback" not in terminal.rest()
    finally:
        terminal.close()


def test_without_a_worker_it_says_so_and_can_be_left(stack: Stack) -> None:
    terminal = Terminal("--discovery-path", stack.discovery)
    try:
        terminal.wait_for("waiting for a model")
        terminal.type("\x03")
        assert terminal.process.wait(5) == 0
        assert "Traceback" not in terminal.rest()
    finally:
        terminal.close()


def test_a_chat_needs_no_port_of_its_own(stack: Stack) -> None:
    """A chat next to a server is nothing special."""
    stack.frontend()
    stack.scripted()
    stack.wait_ready()
    terminal = Terminal("--discovery-path", stack.discovery, "--http-port", stack.port)
    try:
        terminal.wait_for("talking to scripted")
    finally:
        terminal.close()


def test_questions_from_a_pipe(stack: Stack) -> None:
    stack.scripted()
    result = subprocess.run(
        _argv(stack), input="hello\n", capture_output=True, text=True, timeout=20, check=False
    )
    assert result.returncode == 0, result.stderr
    assert LETTERS[9:25] in result.stdout


def test_questions_from_a_file(stack: Stack, tmp_path: Path) -> None:
    stack.scripted()
    file = tmp_path / "questions.txt"
    file.write_text("hello\n")
    with file.open() as questions:
        result = subprocess.run(
            _argv(stack), stdin=questions, capture_output=True, text=True, timeout=20, check=False
        )
    assert result.returncode == 0, result.stderr
    assert LETTERS[9:25] in result.stdout


def _argv(stack: Stack) -> list[str]:
    return [
        sys.executable,
        "-m",
        "dynamo_frontend",
        "--input",
        "text",
        "--discovery-path",
        str(stack.discovery),
    ]
