"""`dynamo completion SHELL`: a completion script for `dynamo` and the installed components."""

from __future__ import annotations

import argparse
import importlib
import sys

from dynamo_core.args.completion import SHELLS, completer
from dynamo_core.cli.main import COMMANDS
from dynamo_core.cli.parser import CommandParser
from dynamo_core.deploy.installed import parsers
from dynamo_core.printing import emit


def build_parser() -> CommandParser:
    """The flags of the command."""
    parser = CommandParser(
        "dynamo completion",
        "Print a completion script for dynamo and the installed components, their engines' flags among "
        'them. To load it: eval "$(dynamo completion bash)"',
    )
    parser.add_argument("shell", choices=SHELLS)
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    import shtab

    shell = build_parser().parse_args(argv).shell
    warnings: list[str] = []
    completers = [_dynamo()]
    for name, parser in parsers(warnings).items():
        found, note = completer(parser, name)
        completers.append(found)
        warnings += [f"{name}: {note}"] if note else []
    for warning in warnings:
        print(f"dynamo completion: warning: {warning}", file=sys.stderr)
    emit("\n".join(shtab.complete(found, shell) for found in completers))
    return 0


def _dynamo() -> argparse.ArgumentParser:
    """All commands in one parser, as shtab wants them."""
    found = argparse.ArgumentParser(prog="dynamo", allow_abbrev=False)
    commands = found.add_subparsers()
    for name, help in COMMANDS.items():
        command = importlib.import_module(f"dynamo_core.cli.{name}").build_parser()
        _complete_files(command)
        commands.add_parser(name, parents=[command], add_help=False, help=help)
    return found


def _complete_files(parser: argparse.ArgumentParser) -> None:
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_files(command)
        elif action.metavar in ("FILE", "A", "B"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
