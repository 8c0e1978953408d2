"""The completion scripts in the shells that they are for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ASK_BASH = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
function_of() {{ complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/'; }}
$(function_of {command}) {command} "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ASKED = [
    (("dynamo", "conf"), {"config"}),
    (("dynamo", "config", "''"), {"show", "check", "schema", "env", "diff"}),
    (("dynamo", "serve", "--dry"), {"--dry-run"}),
    (("dynamo-frontend", "--router-mo"), {"--router-mode"}),
    (("dynamo-frontend", "--router-mode", "r"), {"round-robin", "random"}),
]


@pytest.fixture(scope="module", params=["bash", "fish", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for shell in ("bash", "fish", "zsh"):
        command = [sys.executable, "-m", "dynamo_core.cli.main", "completion", shell]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        found[shell] = tmp_path_factory.mktemp("completion") / f"dynamo.{shell}"
        found[shell].write_text(result.stdout)
    return found


def run(*command: str) -> list[str]:
    """The lines that a shell prints; needs the shells of .ci/apt.txt."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


@pytest.mark.parametrize(("words", "expected"), ASKED)
def test_bash(scripts: dict[str, Path], words: tuple[str, ...], expected: set[str]) -> None:
    script = ASK_BASH.format(script=scripts["bash"], words=" ".join(words), command=words[0])
    assert set(run("bash", "--norc", "-c", script)) == expected


@pytest.mark.parametrize(("words", "expected"), ASKED)
def test_fish(scripts: dict[str, Path], words: tuple[str, ...], expected: set[str]) -> None:
    line = " ".join(words).replace("''", "")
    answers = run("fish", "--no-config", "-c", f"source {scripts['fish']}; complete -C '{line}'")
    assert expected <= {answer.split("\t")[0] for answer in answers}


def test_zsh_knows_the_commands(scripts: dict[str, Path], tmp_path: Path) -> None:
    load = f'autoload -Uz compinit; compinit -D -d {tmp_path / "dump"}; eval "$(<{scripts["zsh"]})"'
    asked = "print -l $_comps[dynamo] $_comps[dynamo-frontend]"
    assert run("zsh", "-f", "-c", f"{load}; {asked}") == ["_shtab_dynamo", "_shtab_dynamo_frontend"]


def test_an_unknown_shell() -> None:
    command = [sys.executable, "-m", "dynamo_core.cli.main", "completion", "tcsh"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "'tcsh'" in result.stderr
