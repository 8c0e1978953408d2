"""`dynamo run`: one line, the same components and the same plan as everywhere."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.terminal import Terminal

pytest_plugins = ["dynamo_core.testing.plugin"]

DYNAMO = str(Path(sys.executable).with_name("dynamo"))
MESSAGES = [{"role": "user", "content": "hello world"}]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where graphs are registered and components meet, apart from everybody else's."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert not [path for path in folder.glob("dynamo-*-graphs/*") if path.name != ".lock"]


def remove_logs(temporary: Path) -> None:
    """A graph that has failed leaves them for its user."""
    for folder in temporary.glob("dynamo-*-graphs/run-*"):
        assert [path.name for path in folder.iterdir()] == ["logs"]
        shutil.rmtree(folder)


def run(stack: Stack, *words: object) -> Running:
    process = Running([DYNAMO, "run", *map(str, words)])
    stack.running.append(process)
    return process


def ask(*words: object) -> subprocess.CompletedProcess[str]:
    command = [DYNAMO, "run", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def commands(*words: object) -> list[list[str]]:
    """What `--dry-run` prints, without the interpreter."""
    result = ask(*words, "--dry-run")
    assert result.returncode == 0, result.stderr
    return [line.split()[1:] for line in result.stdout.splitlines()]


def test_http(stack: Stack, temporary: Path) -> None:
    running = run(stack, "in=http", "out=echo", stack.model, "--http-port", stack.port)
    running.wait_for_line("ready after")
    (model,) = stack.client().models.list().data
    answer = stack.client().chat.completions.create(model=model.id, messages=MESSAGES)
    assert answer.choices[0].message.content == "hello world"
    assert running.stop(signal.SIGINT) == 0


def test_the_same_processes_as_a_serve_file(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text(
        f"Common: {{model: {stack.model}, http-port: 8123}}\n"
        "Frontend: {component: dynamo_frontend}\n"
        "Worker: {component: dynamo_mocker.echo, token-delay: 0.5}\n"
    )
    serve = [DYNAMO, "serve", str(file), "--dry-run"]
    served = subprocess.run(serve, capture_output=True, text=True, check=True).stdout
    ours = commands("out=echo", stack.model, "--token-delay", "0.5", "--http-port", "8123")
    assert [without_port(words) for words in ours] == [
        without_port(line.split()[1:]) for line in served.splitlines()
    ]


def without_port(words: list[str]) -> list[str]:
    """Two plans may differ in the free port that they find."""
    return words[:-1] if words[-2] == "--status-port" else words


def test_chat(stack: Stack, temporary: Path) -> None:
    with Terminal([DYNAMO, "run", "in=text", "out=echo", stack.model, "--token-delay", "0.05"]) as terminal:
        terminal.wait_for("you> ", timeout=30)
        terminal.send("hello\n")
        terminal.wait_for("hello\r?\n", timeout=10)
        terminal.wait_for("hello", timeout=10)
        terminal.wait_for("you> ")
        terminal.send("x" * 200 + "\n")
        terminal.wait_for("x{200}\r?\n")
        terminal.wait_for("xx")
        terminal.send("\x03")  # the supervisor gets it, and hands it on
        terminal.wait_for(r"\(stopped\)")
        terminal.wait_for("you> ")
        terminal.send("\x04")
        assert terminal.wait() == 0


def test_chat_with_an_engine_that_demands_a_limit(stack: Stack, temporary: Path) -> None:
    """The simulated one refuses a request without max_tokens; its tokens have no text in this model."""
    with Terminal([DYNAMO, "run", "in=text", "out=mocker", stack.model]) as terminal:
        terminal.wait_for("you> ", timeout=30)
        for _ in range(2):
            terminal.send("hello\n")
            terminal.wait_for(r"hello(\r?\n)+you> ")
        terminal.send("\x04")
        assert terminal.wait() == 0


def test_chat_with_an_engine_that_does_not_start(stack: Stack, temporary: Path) -> None:
    wrong = temporary.parent / "wrong.json"
    wrong.write_text('{"engine": {"no_such": 1}}')
    with Terminal(
        [DYNAMO, "run", "in=text", "out=mocker", stack.model, "--engine-args-file", wrong]
    ) as terminal:
        assert terminal.wait(60) != 0
        assert "Worker/0 ended with exit code " in terminal.screen
        assert "logs are in " in terminal.screen
    remove_logs(temporary)


def test_a_batch(stack: Stack, temporary: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps({"text": f"question {i}"}) + "\n" for i in range(20)))
    result = ask(f"in=batch:{questions}", "out=echo", stack.model)
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in (tmp_path / "questions.out.jsonl").read_text().splitlines()]
    contents = {
        answer["custom_id"]: answer["response"]["body"]["choices"][0]["message"]["content"]
        for answer in answers
    }
    assert contents == {f"line-{i + 1}": f"question {i}" for i in range(20)}
    assert result.stdout == ""


def test_a_batch_that_cannot_be_sent(stack: Stack, temporary: Path, tmp_path: Path) -> None:
    """What the frontend said is on the terminal; nobody else knows it."""
    questions = tmp_path / "questions.jsonl"
    questions.write_text("no JSON\n")
    result = ask(f"in=batch:{questions}", "out=echo", stack.model)
    assert result.returncode == 2
    assert "line 1: is not JSON" in result.stderr
    assert re.search(r"^stopped after .*: Frontend/0 ended with exit code 2$", result.stderr, re.MULTILINE)
    remove_logs(temporary)


def test_engine_and_frontend_in_two_terminals(stack: Stack, temporary: Path) -> None:
    engine = run(stack, "in=dyn://place.echo.answer", "out=echo", stack.model)
    engine.wait_for_line("place.echo.answer is ready")
    frontend = run(stack, "in=http", "out=dyn://place", "--http-port", stack.port)
    frontend.wait_for_line("ready after")
    answer = stack.client().chat.completions.create(model=str(stack.model), messages=MESSAGES)
    assert answer.choices[0].message.content == "hello world"
    assert [frontend.stop(signal.SIGINT), engine.stop(signal.SIGINT)] == [0, 0]


def test_flags_of_components_may_be_switched_off(stack: Stack) -> None:
    (_, worker) = commands(
        "out=vllm", "M", "--max-model-len", 64, "--no-enable-prefix-caching", "--sizes", 1, 2
    )
    assert worker[worker.index("--max-model-len") + 1] == "64"
    assert "--no-enable-prefix-caching" in worker
    assert worker[worker.index("--sizes") + 1 : worker.index("--sizes") + 3] == ["1", "2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (),
            "out= is missing; installed engines are echo, mocker, sglang, trtllm, vllm\n"
            "  fix: add out=ENGINE",
        ),
        (("out=vlm", "M"), "out=vlm: there is no component dynamo-vlm-worker; installed engines are "),
        (("out=vlm", "M"), "  fix: did you mean vllm? pip install dynamo-vlm, if that is an engine\n"),
        (("out=other", "M"), "  fix: pip install dynamo-other, if that is an engine"),
        (("out=a b", "M"), "out=a b: there is no component dynamo-a b-worker"),
        (
            ("out=echo",),
            "MODEL is missing: a folder, or a Hugging Face model id\n"
            "  fix: dynamo run out=echo MODEL; it stands before the flags",
        ),
        (("out=echo", "M", "N"), "MODEL is given twice: M and N\n  fix: keep one of the two"),
        (("in=ftp", "out=echo", "M"), "in=ftp is no input: http, text, batch:FILE or dyn://…"),
        (("in=batch:", "out=echo", "M"), "in=batch: is no input: "),
        (
            ("in=dyn://a.b", "out=echo", "M"),
            "in=dyn://a.b is no address\n  fix: give in=dyn://NAMESPACE.COMPONENT",
        ),
        (("in=dyn://a.b.c", "out=dyn://a"), "in=dyn://… and out=dyn://… leave nothing to start"),
        (
            ("out=dyn://a.b.c",),
            "out=dyn://a.b.c: a frontend finds all models of one namespace\n  fix: give the ",
        ),
        (("out=dyn://a", "M"), "out=dyn://a serves what others load; leave out M"),
        (("out=echo", "M", "--htp-port", "1"), "unknown flag --htp-port; did you mean --http-port"),
        (("out=echo", "M", "--http-port", "1", "--http-port", "2"), "--http-port is given twice"),
        (("out=echo", "M", "--http-port", "one"), "Frontend: http-port: input should be a valid integer"),
        (("out=echo", "/no/such/folder"), "Worker: --model: there is no folder /no/such/folder (from MODEL)"),
        (("out=vllm", "M", "-tp", "2"), "-tp is no flag of this command\n  fix: give its long name"),
    ],
)
def test_mistakes(words: tuple[str, ...], message: str) -> None:
    result = ask(*words)
    assert result.returncode == 2, result.stdout
    assert result.stderr.startswith("dynamo run: error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
