"""Whose a word of `dynamo run` is."""

from __future__ import annotations

import pytest

from dynamo_core.cli.run import Flag, build_parser, split_flags
from dynamo_core.errors import UserError

WORDS = ["in=text", "out=echo", "FOLDER"]


@pytest.mark.parametrize(
    "argv",
    [
        [*WORDS, "--sizes", "1", "-2", "--name", "x", "--eager", "--rate=-0.5", "--detach"],
        ["--name=x", *WORDS, "--detach", "--sizes", "1", "-2", "--eager", "--rate=-0.5"],
        [*WORDS[:2], "--detach", "--name", "x", "FOLDER", "--sizes", "1", "-2", "--eager", "--rate=-0.5"],
    ],
)
def test_the_commands_own_flags_may_stand_anywhere(argv: list[str]) -> None:
    options, rest = build_parser().parse_known_args(argv)
    assert (options.name, options.detach) == ("x", True)
    assert split_flags(rest) == (
        WORDS,
        [Flag("sizes", ("1", "-2")), Flag("eager", ()), Flag("rate", ("-0.5",))],
    )


def test_what_is_no_flag() -> None:
    with pytest.raises(UserError, match="-z is no flag of this command"):
        split_flags([*WORDS, "-z"])
    with pytest.raises(UserError, match="argument --name: expected one argument"):
        build_parser().parse_known_args([*WORDS, "--name"])
