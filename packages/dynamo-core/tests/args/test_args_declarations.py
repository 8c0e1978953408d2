"""A setting is declared once, and what comes out of it never changes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dynamo_core.args import DynamoFlexibleArgumentParser, RuntimeSettings, Settings, StatusSettings, setting
from dynamo_core.args.help import help_for
from dynamo_core.args.settings import declarations
from dynamo_core.args.show import show
from dynamo_core.deploy import BaseDeployment


class LimitSettings(Settings):
    "Limits"

    max_words: int = setting(5, "Words per answer.", ge=1, le=50)
    upper: bool = setting(False, "Answer in capitals.")
    password: str | None = setting(None, "Password of the store.", env="STORE_PASSWORD", secret=True)


def test_flag_key_and_variable_follow_from_the_name() -> None:
    declared = declarations(LimitSettings)["max_words"]
    assert (declared.flag, declared.key, declared.env) == ("--max-words", "max-words", "DYN_MAX_WORDS")
    assert declared.group == "Limits"
    assert declarations(LimitSettings)["password"].env == "STORE_PASSWORD"


def test_settings_are_frozen() -> None:
    settings = DynamoFlexibleArgumentParser(LimitSettings).parse([]).settings
    with pytest.raises(ValidationError, match="frozen"):
        settings.max_words = 6


def test_settings_take_nothing_that_the_parser_has_not_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("max_words", "9")
    monkeypatch.setenv("DYN_MAX_WORDS", "9")
    assert LimitSettings().max_words == 5


def test_a_setting_declared_by_two_groups_fails_where_they_are_combined() -> None:
    class Other(Settings):
        "Other"

        max_words: int = setting(7, "The same word again.")

    with pytest.raises(TypeError, match=r"'max_words' is declared by .*LimitSettings and by .*Other"):
        type("Both", (Other, LimitSettings), {})


def test_a_setting_declared_again_by_a_subclass_fails() -> None:
    with pytest.raises(TypeError, match="'max_words' is declared by LimitSettings and by Narrower"):
        type("Narrower", (LimitSettings,), {"__annotations__": {"max_words": int}, "max_words": setting(7)})


def test_the_same_group_by_two_ways_is_no_duplicate() -> None:
    class Diamond(RuntimeSettings, StatusSettings):
        "Both bring the status settings"

    assert "status_port" in declarations(Diamond)


@pytest.mark.parametrize(("flags", "value"), [([], False), (["--upper"], True), (["--no-upper"], False)])
def test_a_switch_has_two_flags(flags: list[str], value: bool) -> None:
    assert DynamoFlexibleArgumentParser(LimitSettings).parse(flags).settings.upper is value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False), ("yes", True), ("off", False)])
def test_a_switch_in_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, value: bool) -> None:
    monkeypatch.setenv("DYN_UPPER", text)
    assert DynamoFlexibleArgumentParser(LimitSettings).parse([]).settings.upper is value


def test_a_switch_of_the_command_line_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYN_UPPER", "true")
    assert DynamoFlexibleArgumentParser(LimitSettings).parse(["--no-upper"]).settings.upper is False


@pytest.mark.parametrize("value", [0, 7])
def test_help_shows_the_default_that_the_deployment_class_gives(
    monkeypatch: pytest.MonkeyPatch, value: int
) -> None:
    class DelaySettings(Settings):
        "Delay"

        delay: int = setting(5, "Seconds.")

    monkeypatch.setenv("COLUMNS", "200")
    deployment = type("Deployment", (BaseDeployment,), {"name": "n", "delay": value})
    parser = DynamoFlexibleArgumentParser(DelaySettings, deployment)
    assert parser.parse([]).settings.delay == value
    assert f"[default {value}; DYN_DELAY]" in help_for(parser, "")


def test_show_names_every_value_and_its_source_and_hides_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_PASSWORD", "hunter2")
    shown = show(DynamoFlexibleArgumentParser(LimitSettings).parse(["--max-words", "6"]), [], [], "text")
    assert shown.splitlines() == [
        "max-words = 6          --max-words",
        "upper     = False      default",
        "password  = ********   STORE_PASSWORD",
    ]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"log": bool}, {"no_log": bool}, "--no-log belongs to the settings log and no_log"),
        ({"help": str}, {}, "a setting cannot be called help"),
        ({"replicas": int}, {}, "a setting cannot be called replicas"),
        ({"env": str}, {}, "a setting cannot be called env"),
    ],
)
def test_a_name_that_means_something_already(
    first: dict[str, type], second: dict[str, type], message: str
) -> None:
    kinds = {**first, **second}
    values = {name: setting(False if kind is bool else kind(), "Help.") for name, kind in kinds.items()}
    settings = type("ClashingSettings", (Settings,), {"__annotations__": kinds, "__doc__": "Clash", **values})
    with pytest.raises(TypeError, match=message):
        DynamoFlexibleArgumentParser(settings)
