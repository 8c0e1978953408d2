"""A chat in the terminal, on a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Stack
from dynamo_core.testing.scripted import ALPHABET
from dynamo_core.testing.terminal import Terminal
from dynamo_core.testing.tiny_model import decode

PROMPT = "you> "
LETTERS = decode(ALPHABET) * 2


def argv(stack: Stack, *flags: object) -> list[object]:
    program = [sys.executable, "-m", "dynamo_frontend", "--input", "text"]
    return [*program, "--discovery-path", stack.discovery, *flags]


@pytest.fixture
def terminal(stack: Stack) -> Iterator[Terminal]:
    """A chat that can begin."""
    stack.scripted("--token-delay", 0.02)
    with Terminal(argv(stack)) as shown:
        shown.wait_for("talking to scripted")
        shown.wait_for(PROMPT)
        yield shown


def ask(terminal: Terminal, question: str, answer: str) -> None:
    terminal.send(f"{question}\r")
    terminal.wait_for(rf"{question}\r?\n")
    terminal.wait_for(rf"{answer}\r?\n")
    terminal.wait_for(PROMPT)


@pytest.mark.setting("input")
def test_lines_are_answered_until_the_input_ends(terminal: Terminal, stack: Stack) -> None:
    ask(terminal, "hello", LETTERS[9:25])
    # What was said before is part of the next prompt, so that the answer begins further on.
    ask(terminal, "and now", LETTERS[0:16])
    terminal.send("\x04")
    assert terminal.wait() == 0
    assert stack.running[0].process.poll() is None


def test_a_conversation_can_be_forgotten(terminal: Terminal) -> None:
    ask(terminal, "hello", LETTERS[9:25])
    ask(terminal, "/clear", "the conversation is forgotten")
    ask(terminal, "hello", LETTERS[9:25])


def test_help_and_what_is_no_command(terminal: Terminal) -> None:
    ask(terminal, "/help", "/clear forgets the conversation, .*")
    ask(terminal, "/clean", "there is no command /clean: /clear forgets .*")
    ask(terminal, "/a path", "[0-9a-z]{16}")


def test_ctrl_c_at_the_prompt(terminal: Terminal) -> None:
    terminal.send("\x03")
    assert terminal.wait(5) == 0
    assert "Traceback" not in terminal.screen


@pytest.mark.parametrize("is_controlling", [True, False])
def test_ctrl_c_ends_an_answer_and_a_second_one_the_chat(stack: Stack, is_controlling: bool) -> None:
    """A supervisor that starts the chat in a session of its own passes the signal on."""
    worker = stack.scripted("--token-delay", 0.5, "--trace")

    def interrupt() -> None:
        if is_controlling:
            terminal.send("\x03")
        else:
            os.kill(terminal.process.pid, signal.SIGINT)

    with Terminal(argv(stack), controlling=is_controlling) as terminal:
        terminal.wait_for(PROMPT)
        terminal.send("hello\r")
        terminal.wait_for(r"hello\r?\n")
        terminal.wait_for(LETTERS[9:11])
        started = time.monotonic()
        interrupt()
        terminal.wait_for(r"\(stopped\)\r?\n")
        terminal.wait_for(PROMPT)
        assert time.monotonic() - started < 1
        worker.wait_for_line("cancelled")
        # The two letters that came are part of the conversation.
        terminal.send("go on\r")
        terminal.wait_for(LETTERS[20:22])
        interrupt()
        terminal.wait_for(PROMPT)
        interrupt()
        assert terminal.wait(5) == 0
        assert "Traceback" not in terminal.screen


def test_sigterm_within_an_answer(stack: Stack) -> None:
    stack.scripted("--token-delay", 0.5)
    with Terminal(argv(stack)) as terminal:
        terminal.wait_for(PROMPT)
        terminal.send("hello\r")
        terminal.wait_for(r"hello\r?\n")
        terminal.wait_for(LETTERS[9])
        terminal.process.terminate()
        assert terminal.wait(5) == 0
        assert "Traceback" not in terminal.screen


def test_a_refused_question_is_shown_and_forgotten(terminal: Terminal) -> None:
    ask(terminal, "x" * 2040, "error: prompt and max_tokens exceed 2048 tokens.*")
    ask(terminal, "hello", LETTERS[9:25])


@pytest.mark.parametrize(("env", "dim"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_what_a_model_thinks_stands_dimmed_above_its_answer(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], dim: bool
) -> None:
    for name, value in {"TERM": "xterm", **env}.items():
        monkeypatch.setenv(name, value)
    stack.scripted("--say", "<think>two and two</think>four", "--reasoning-parser", "qwen3")
    with Terminal(argv(stack)) as terminal:
        terminal.wait_for(PROMPT)
        terminal.send("2 + 2?\r")
        terminal.wait_for(r"\ntwo and two\r?\n\r?\nfour\r?\n")
        assert ("\x1b[2mtwo and two\x1b[0m" in terminal.styled) is dim
        terminal.wait_for(PROMPT)
        terminal.send("\x04")
        assert terminal.wait() == 0


def test_a_pipe_gets_the_answer_alone(stack: Stack) -> None:
    stack.scripted("--say", "<think>two and two</think>four", "--reasoning-parser", "qwen3")
    result = subprocess.run(
        [str(word) for word in argv(stack)], input="2 + 2?\n", capture_output=True, text=True, check=True
    )
    assert "four" in result.stdout
    assert "two and two" not in result.stdout


def test_the_terminal_is_left_as_it_was(terminal: Terminal) -> None:
    """It belongs to the shell as well, which would be surprised by one that does not block."""
    path = f"/proc/{terminal.process.pid}/fdinfo/0"
    flags = next(line for line in Path(path).read_text().splitlines() if line.startswith("flags"))
    assert not int(flags.split()[1], 8) & os.O_NONBLOCK


def test_without_a_worker_it_says_so_and_can_be_left(stack: Stack) -> None:
    with Terminal(argv(stack)) as terminal:
        terminal.wait_for(rf"waiting for a model of namespace dynamo through file\s+{stack.discovery}")
        terminal.send("\x03")
        assert terminal.wait(5) == 0
        assert "Traceback" not in terminal.screen


def test_a_chat_needs_no_port_of_its_own(stack: Stack) -> None:
    """A chat next to a server is nothing special."""
    stack.frontend()
    stack.scripted()
    stack.wait_ready()
    with Terminal(argv(stack, "--http-port", stack.port)) as terminal:
        terminal.wait_for("talking to scripted")


def test_questions_from_a_pipe(stack: Stack) -> None:
    stack.scripted()
    result = subprocess.run(
        [str(word) for word in argv(stack)],
        input="hello",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert LETTERS[9:25] in result.stdout


def test_questions_from_a_file(stack: Stack, tmp_path: Path) -> None:
    stack.scripted()
    file = tmp_path / "questions.txt"
    file.write_text("hello\n")
    with file.open() as questions:
        result = subprocess.run(
            [str(word) for word in argv(stack)],
            stdin=questions,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    assert LETTERS[9:25] in result.stdout
