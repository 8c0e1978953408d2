"""`--dry-run` prints what a person can paste, one command a terminal, with the same result."""

from __future__ import annotations

import signal

from serving import DYNAMO, Served

from dynamo_core.testing.processes import Running, Stack

GRAPH = """\
Frontend: {component: dynamo_frontend}
Worker:
  component: dynamo_core.testing.scripted
  served-model-name: it's a name
  env: {DYN_TRACE: "true", SPACED: a b $HOME}
"""


def dry_run(served: Served, *words: str) -> list[str]:
    run = served.serve("--dry-run", *words)
    assert run.wait() == 0, run.output
    served.stack.running.remove(run)
    return run.lines


def fixed_status_port(served: Served) -> str:
    """Without one, two plans of the same file may differ in the free port that they find."""
    return f"--Worker.status-port={Stack(served.folder, served.stack.model).port}"


def test_nothing_is_started(served: Served) -> None:
    served.write(GRAPH)
    assert len(dry_run(served)) == 2
    assert not served.stack.discovery.exists()


def test_the_commands_pasted_into_bash_do_the_same(served: Served) -> None:
    """P01 (ai-dynamo #1721)."""
    served.write(GRAPH)
    commands = dry_run(served, "--Worker.token-delay=0.001")
    started = [Running(["bash", "-c", f"exec env {command}"]) for command in commands]
    served.stack.running += started
    served.stack.wait_ready()
    answer = served.stack.client().chat.completions.create(
        model="it's a name", messages=[{"role": "user", "content": "hi"}], max_tokens=3
    )
    assert len(answer.choices[0].message.content or "") == 3
    started[1].wait_for_line("^start ")
    assert [process.stop(signal.SIGINT) for process in started] == [0, 0]
    assert served.left() == []


def test_a_real_run_prints_the_same_commands(served: Served) -> None:
    served.write(GRAPH)
    port = fixed_status_port(served)
    commands = dry_run(served, port)
    serving = served.serve(port)
    serving.wait_for_line("ready after")
    for name, command in zip(("Frontend/0", "Worker/0"), commands, strict=True):
        assert any(line.endswith(f"| {name}: {command}") for line in serving.lines)
    assert serving.stop(signal.SIGINT) == 0


def test_overrides_may_stand_before_the_file(served: Served) -> None:
    served.write(GRAPH)
    words = ["--Frontend.http-port", "8123", fixed_status_port(served)]
    after = dry_run(served, *words)
    before = Running([str(DYNAMO), "serve", *words, str(served.file), "--dry-run"])
    assert before.wait() == 0, before.output
    assert before.lines == after
