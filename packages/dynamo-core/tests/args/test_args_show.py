"""What a command line came to: for people, for machines, and as a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from every_setting import WorkerSettings
from toy_engine import TOY

from dynamo_core.args import DynamoFlexibleArgumentParser, Engine
from dynamo_core.runtime.variables import runtime_variables

FLAGS = ["--model", "m", "--component", "c", "--drain-timeout", "7", "--nats-server", "nats://u:geheim@h:1"]
FLAGS += ["--event-plane", "nats"]


def parser(engine: Engine | None = TOY) -> DynamoFlexibleArgumentParser[WorkerSettings]:
    return DynamoFlexibleArgumentParser(WorkerSettings, engine=engine, variables=runtime_variables)


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parser().parse([*FLAGS, *argv])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("style", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_for_machines(capsys: pytest.CaptureFixture[str], style: str, load: object) -> None:
    data = load(printed(capsys, f"--show-config={style}", "--max-len", "1"))  # type: ignore[operator]
    assert data["settings"]["drain-timeout"] == {"value": 7.0, "source": "flag", "where": "--drain-timeout"}
    assert data["settings"]["namespace"]["source"] == "default"
    assert data["engine"] == {"max-len": {"value": 1, "source": "flag", "where": "--max-len"}}
    assert data["environment"]["DYN_TCP_RPC_HOST"]["value"] == "127.0.0.1"
    assert data["environment"]["DYN_TCP_RPC_HOST"]["why"]


@pytest.mark.parametrize("style", ["text", "json", "yaml"])
def test_secrets_are_masked_everywhere(capsys: pytest.CaptureFixture[str], style: str) -> None:
    text = printed(capsys, f"--show-config={style}")
    assert "NATS_SERVER" in text
    assert "geheim" not in text


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [" ".join(line.split()) for line in printed(capsys, "--show-config").splitlines()]
    assert "drain-timeout = 7.0 --drain-timeout" in lines
    assert "DYN_SYSTEM_PORT=-1 status server" in lines


def test_a_dumped_file_gives_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dump.yaml"
    engine = ["-m", "100", "--eager", "--no-prefix-caching", "--sizes", "1", "2", "--options", '{"a": [1]}']
    engine += ["--hf-token", "geheim", "--adapters", '{"b": 1}', "--offset", "-1"]
    printed(capsys, f"--dump-config={file}", "--log-format", "json", *engine)
    text = file.read_text()
    assert "geheim" not in text
    secrets = ["--nats-server", "nats://u:geheim@h:1", "--hf-token", "geheim"]
    again = parser().resolve(["-f", str(file), *secrets])
    first = parser().resolve([*FLAGS, "--log-format", "json", *engine])
    assert again.settings == first.settings
    assert again.engine.namespace() == first.engine.namespace()


def test_a_file_that_cannot_be_written_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse([*FLAGS, "--dump-config", "/no/such/folder/file"])
    assert ended.value.code == 2
    assert "--dump-config: cannot write /no/such/folder/file" in capsys.readouterr().err
