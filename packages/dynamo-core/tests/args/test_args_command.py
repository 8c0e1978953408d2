"""The same through the command that a user types."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_core.args.help import plain
from dynamo_core.args.settings import declarations
from dynamo_core.testing.scripted import ScriptedSettings

MODULE = "dynamo_core.testing.scripted"
HEAVY = ("dynamo._core", "torch", "vllm", "sglang", "transformers", "numpy", "openai", "uvloop")


def call(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", MODULE, *(str(word) for word in words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")


def test_help_tells_every_setting_with_its_default_and_variable() -> None:
    help = call("--help")
    assert (help.returncode, help.stderr) == (0, "")
    entries = re.split(r"\n  (?=--)", help.stdout)
    found = {entry.split()[0].strip(","): " ".join(entry.split()) for entry in entries}
    for declared in declarations(ScriptedSettings).values():
        default = {"model": "required", "component": "default scripted"}.get(declared.name)
        default = default or (
            "no default" if declared.default is None else f"default {plain(declared.default)}"
        )
        explained = f"{declared.help} [{default}; {declared.env}]"
        assert explained in found[declared.flag]


def test_help_loads_no_engine_and_no_runtime() -> None:
    script = (
        "import contextlib, io, json, runpy, sys\n"
        f"sys.argv = ['worker', '--help']\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as shown:\n"
        f"    runpy.run_module('{MODULE}', run_name='__main__')\n"
        "print(json.dumps([len(shown.getvalue()), sorted(sys.modules)]))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    length, modules = json.loads(result.stdout)
    assert length > 1000
    assert not [name for name in HEAVY if name in modules]


def test_show_config_masks_secrets_and_starts_nothing() -> None:
    shown = call("--model", "nowhere", "--nats-server", "nats://user:hunter2@host", "--show-config")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "hunter2" not in shown.stdout
    own = shown.stdout.partition("\nenvironment that this process sets")[0]
    found = dict(line.split(" = ") for line in own.splitlines())
    values = {key.strip(): value.split() for key, value in found.items()}
    assert values["nats-server"] == ["********", "--nats-server"]
    assert values["model"] == ["nowhere", "--model"]
    assert values["component"] == ["scripted", "class", "Deployment"]
    assert values["drain-timeout"] == ["30.0", "default"]
    assert set(values) == {declared.key for declared in declarations(ScriptedSettings).values()}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "--model is required: give the flag, or set DYN_MODEL"),
        (("--model", "m", "--tokendelay=1"), "unknown flag '--tokendelay'; did you mean --token-delay"),
        (("--model", "m", "-f", "nowhere.yaml"), "cannot read nowhere.yaml: No such file or directory"),
        (
            ("--model", "m", "--die-after", "-3"),
            "die-after: input should be greater than or equal to 0; found '-3' (from --die-after)",
        ),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(words: tuple[str, ...], problem: str) -> None:
    result = call(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"python -m {MODULE}: error: {problem}")
    assert "Traceback" not in result.stderr


def test_a_mistake_in_a_file_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("model: m\ntoken-delay: slow\n")
    result = call("-f", file)
    assert result.returncode == 2
    assert f"found 'slow' (from {file}:2)" in result.stderr
    assert "Traceback" not in result.stderr


def test_several_mistakes_are_counted_and_listed() -> None:
    result = call("--model", "m", "--log-level", "loud", "-f", "nowhere.yaml", "--endpont=e")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"python -m {MODULE}: error: 3 problems",
        "  unknown flag '--endpont'; did you mean --endpoint, --otlp-endpoint, --etcd-endpoints?",
        "  cannot read nowhere.yaml: No such file or directory",
        "    fix: check the path and its permissions",
        "  log-level: input should be 'debug', 'info', 'warning' or 'error'; found 'loud' (from --log-level)",
    ]
