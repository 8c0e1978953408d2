"""`--help` and its topics: everything from the declarations, the engine only where it is asked for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from every_setting import DECLARED, WorkerSettings
from toy_engine import TOY

from dynamo_core.args import DynamoFlexibleArgumentParser, Engine, Settings, setting
from dynamo_core.args.help import help_for, topics_of
from dynamo_core.errors import UserError


class LimitSettings(Settings):
    "Limits: how much there may be"

    max_words: int = setting(5, "Words per answer.", ge=1, le=50, formerly={"words": "0.9"})
    upper: bool = setting(False, "Answer in capitals.")
    password: str | None = setting(None, "Password of the store.", env="STORE_PASSWORD", secret=True)


def shown(topic: str, settings: type[Settings] = WorkerSettings, engine: Engine | None = None) -> str:
    return help_for(DynamoFlexibleArgumentParser(settings, engine=engine), topic)


def forbidden() -> Any:
    raise AssertionError("the engine was imported")


def test_plain_help_and_our_own_topics_import_no_engine() -> None:
    engine = Engine("Toy", forbidden)
    assert "Any other flag is Toy's" in shown("", engine=engine)
    assert "--status-port" in shown("status", engine=engine)
    assert "--status-port" in shown("status-port", engine=engine)


def test_every_setting_is_in_exactly_one_topic() -> None:
    parser = DynamoFlexibleArgumentParser(WorkerSettings)
    everywhere = [declared.name for _, settings in topics_of(parser).values() for declared in settings]
    assert sorted(everywhere) == sorted(DECLARED)


@pytest.mark.parametrize("topic", ["model", "gpus", "component", "runtime", "status"])
def test_a_topic_shows_its_settings_and_no_others(topic: str) -> None:
    text = shown(topic)
    title, settings = topics_of(DynamoFlexibleArgumentParser(WorkerSettings))[topic]
    assert text.splitlines()[0] == title
    assert re.findall(r"^  (--[\w-]+)", text, re.MULTILINE) == [declared.flag for declared in settings]


@pytest.mark.parametrize("word", ["max-words", "--max-words", "max_words", "DYN_MAX_WORDS"])
def test_one_setting_under_any_of_its_names(word: str) -> None:
    assert shown(word, LimitSettings).splitlines() == [
        "  --max-words WORDS",
        "      Words per answer.",
        "",
        "  topic: Limits: how much there may be",
        "  default: 5",
        "  allowed: a whole number, at least 1, at most 50",
        "  flag: --max-words WORDS",
        "  variable: DYN_MAX_WORDS",
        "  file key: max-words: 5",
        "  deprecated: --words and DYN_WORDS, until 0.9",
    ]


def test_a_secret_and_a_switch_say_so() -> None:
    assert "secret: masked wherever it is shown" in shown("password", LimitSettings)
    assert "flag: --upper, --no-upper" in shown("upper", LimitSettings)


def test_the_engines_flags() -> None:
    text = shown("engine", engine=TOY)
    assert "Limits\n  --max-len, -m LEN\n      Tokens of a sequence.\n" in text
    assert "  --fraction FRACTION\n      Of the memory, 90% if left out.\n      [default 0.9]" in text
    assert "--dtype auto|float32|bfloat16" in text
    assert "--model" not in text  # shared: it is ours
    assert "--worker-id" not in text  # kept: it cannot be given


@pytest.mark.parametrize("word", ["max-len", "--max-len", "max_len"])
def test_one_flag_of_the_engine(word: str) -> None:
    assert shown(word, engine=TOY) == "  --max-len, -m LEN\n      Tokens of a sequence."


@pytest.mark.parametrize(
    ("word", "engine", "text"),
    [
        ("runtim", None, "--help: there is no topic or setting 'runtim'; did you mean runtime?"),
        ("statusport", TOY, "did you mean status-port"),
        ("max-lenn", TOY, "also of Toy; did you mean max-len"),
        ("engine", None, "--help: there is no topic or setting 'engine'"),
    ],
)
def test_a_topic_that_is_none(word: str, engine: Engine | None, text: str) -> None:
    with pytest.raises(UserError) as caught:
        shown(word, engine=engine)
    assert text in str(caught.value)


@pytest.mark.parametrize("columns", [40, 72, 100])
def test_lines_are_wrapped_to_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    prose = [line for line in shown("").splitlines() if not line.strip().startswith("-")]
    assert columns - 20 < max(len(line) for line in prose) <= columns


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_only_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    plain = shown("")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = shown("")
    assert ("\033[" in text) is coloured
    assert re.sub(r"\033\[[\d;]*m", "", text) == plain
