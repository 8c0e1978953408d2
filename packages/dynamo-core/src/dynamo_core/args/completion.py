"""A component's flags as an argparse parser, from which shtab writes completion scripts.

The engine's flags are in the script, so completing imports nothing; after an upgrade of the engine
it is printed anew.
"""

from __future__ import annotations

import argparse
import copy
from typing import Any

from dynamo_core.args.command_line import FORMATS
from dynamo_core.args.engine_parser import EngineParser
from dynamo_core.args.help import ENGINE, topics_of
from dynamo_core.args.parser import DynamoFlexibleArgumentParser
from dynamo_core.errors import UserError

SHELLS = ("bash", "zsh", "fish")
_PATHS = {"FILE": "file", "DIR": "directory"}


def completer(parser: DynamoFlexibleArgumentParser[Any], prog: str) -> tuple[argparse.ArgumentParser, str]:
    """The flags to complete for the command `prog`, and why the engine's are missing if they are."""
    found = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    topics = [*topics_of(parser), *([ENGINE] if parser.engine else [])]
    _add(found, ["-h", "--help", *(f"--help={topic}" for topic in topics)], "print help and exit", nargs=0)
    _add(found, ["-f", "--config"], "YAML or TOML file", metavar="FILE")
    formats = ["--show-config", *(f"--show-config={style}" for style in FORMATS)]
    _add(found, formats, "print every value with its source and exit", nargs=0)
    _add(found, ["--dump-config"], "write a file that gives the same settings", metavar="FILE")
    for declared in parser.declared.values():
        if declared.is_switch:
            _add(found, [declared.flag, declared.negated_flag], declared.help, nargs=0)
        else:
            choices = list(declared.choices) or None
            _add(found, [declared.flag], declared.help, choices=choices, metavar=declared.metavar)
    if parser.engine is None:
        return found, ""
    try:
        engine = EngineParser(parser.engine, parser.keys)
    except UserError as error:
        return found, f"{parser.engine.name}'s flags are left out: {error}"
    for action in engine.actions:
        option = copy.copy(action)
        option.container = found  # type: ignore[attr-defined]
        option.help = ""
        found._add_action(option)
    return found, ""


def _add(parser: argparse.ArgumentParser, flags: list[str], help: str, **options: Any) -> None:
    action = argparse.Action if options.get("nargs") == 0 else "store"
    added = parser.add_argument(
        *flags, action=action, dest=flags[-1], help=help.replace("%", "%%"), **options
    )
    if kind := _PATHS.get(options.get("metavar", "")):
        added.complete = getattr(_shtab(), kind.upper())  # type: ignore[attr-defined]


def _shtab() -> Any:
    import shtab

    return shtab
