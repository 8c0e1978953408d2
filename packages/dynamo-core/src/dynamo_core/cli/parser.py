"""The parser of a `dynamo` command: what it refuses is one message with the next step."""

from __future__ import annotations

import argparse
from typing import NoReturn

from dynamo_core.errors import UserError

OVERRIDES = "Any key of a file can be overridden: --Worker.replicas=2, --Common.model M."


class CommandParser(argparse.ArgumentParser):
    """As argparse's, without abbreviations; raises `UserError` instead of ending the process."""

    def __init__(self, prog: str, description: str, epilog: str = "", *, add_help: bool = True) -> None:
        super().__init__(
            prog=prog, description=description, epilog=epilog, add_help=add_help, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        raise UserError(message, fix=f"see {self.prog} --help")
