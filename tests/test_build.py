"""`dynamo build`: no image is built here; what a Containerfile says is linted, and its commands are run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HADOLINT = Path(sysconfig.get_path("scripts"), "hadolint")


def build(*words: str, folder: Path = ROOT, path: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dynamo_core.cli.main", "build", *words]
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def output() -> Iterator[Path]:
    """Within the build's context."""
    folder = ROOT / "images" / f"test-{os.getpid()}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def commands(text: str) -> list[str]:
    """What a Containerfile runs, each on one line and without its mounts."""
    whole = text.replace("\\\n", "")
    return [re.sub(r"--mount=\S+ +", "", line) for line in re.findall(r"^RUN (.*)$", whole, re.MULTILINE)]


def test_its_commands_make_an_environment_that_runs(output: Path, tmp_path: Path) -> None:
    """All but those that add a user, in an environment of their own instead of the image's."""
    done = build("mocker", "-o", str(output))
    assert (done.returncode, done.stderr) == (0, "")
    folder = output.relative_to(ROOT).as_posix()
    assert f"now: podman build -t dynamo-mocker -f {folder}/Containerfile" in done.stdout
    text = (output / "Containerfile").read_text()
    wheel, user, *install = commands(text)
    assert user.startswith("groupadd --gid 10001 dynamo")
    assert len(install) == 2
    venv.create(tmp_path / "image", with_pip=True)
    python = tmp_path / "image" / "bin" / "python"
    for command in (wheel, *install):
        here = (
            command.replace("python -m pip", f"{python} -m pip")
            .replace("/wheels", str(tmp_path / "wheels"))
            .replace("/tmp/requirements.txt", str(output / "requirements.txt"))  # noqa: S108
        )
        ran = subprocess.run(["/bin/bash", "-c", here], cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    checked = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout
    (said,) = re.findall(r'^CMD \["python", (.*)\]$', text, re.MULTILINE)
    words = [word.strip('" ') for word in said.split(",")]
    shown = subprocess.run([python, *words], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert "usage: python -m dynamo_mocker.worker" in shown.stdout


@pytest.mark.parametrize("packages", [["mocker"], ["mocker", "frontend"]])
def test_it_passes_the_linter(output: Path, packages: list[str]) -> None:
    assert build(*packages, "-o", str(output), "--base", "registry.example/python:3.11").returncode == 0
    done = subprocess.run([HADOLINT, "--no-color", output / "Containerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_is_pinned_and_has_no_root(output: Path) -> None:
    assert build("mocker", "frontend", "-o", str(output)).returncode == 0
    requirements = (output / "requirements.txt").read_text().splitlines()[1:]
    assert "ai-dynamo-runtime==1.6.1" in requirements
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.+]+", line) for line in requirements)
    assert not [line for line in requirements if line.startswith("dynamo-")]
    text = (output / "Containerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    ignored = (output / "Containerfile.dockerignore").read_text().splitlines()[1:]
    assert ignored[0] == "*"
    copied = re.findall(r"^COPY (\S+) ", text, re.MULTILINE)
    assert {f"!{path}" for path in copied} <= set(ignored)


@pytest.fixture
def odd(tmp_path: Path) -> str:
    """A package `dynamo-odd` that needs one that is not there and one from another index."""
    for name, version, needs in (
        ("dynamo_odd", "1", "missing-thing, local-thing"),
        ("local_thing", "2+cpu", ""),
    ):
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        lines = "".join(f"Requires-Dist: {need}\n" for need in filter(None, needs.split(", ")))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["odd"], "missing-thing, which dynamo-odd needs, is not installed here"),
        (["odd", "--without", "Missing_Thing"], "local-thing==2+cpu are builds that pip's own index may not"),
        (["nothing"], "dynamo-nothing is not installed here"),
        (["a b"], "'a b' is no package"),
        (
            ["mocker", "--index", "https://me:hf_1@i.example/simple"],
            "--index has a user or a password for i.exam",
        ),
        (["mocker", "-o", "/tmp/elsewhere"], "-o /tmp/elsewhere is outside of"),  # noqa: S108
        (["odd", "--without", "missing-thing", "--index", "http://i"], "there is no packages/dynamo-odd in"),
    ],
)
def test_mistakes(words: list[str], said: str, odd: str) -> None:
    done = build(*words, path=odd)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "hf_1" not in done.stderr
    assert not (ROOT / "images" / words[0]).exists()
