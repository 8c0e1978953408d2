"""`dynamo COMMAND …`: finds the command's file and runs it."""

from __future__ import annotations

import importlib
import signal
import sys
from types import ModuleType

from dynamo_core import __version__

COMMANDS = {
    "run": "Start an engine and what it needs in one line: dynamo run in=http out=vllm MODEL.",
    "serve": "Start all components of a graph on this machine.",
    "render": "Write a graph as Kubernetes objects, a compose file, systemd units, …",
    "build": "Write a Containerfile for packages of components, pinned to what is installed here.",
    "deploy": "Apply a graph to a Kubernetes cluster, after showing what changes.",
    "restart": "Restart processes of a running graph, one after the other.",
    "stop": "Stop running graphs.",
    "logs": "Print what a graph in the background has written.",
    "ps": "List the models and instances that discovery knows.",
    "doctor": "Check this machine and what is installed for what would go wrong later.",
    "config": "Show, check and compare configurations without starting anything.",
    "completion": "Print a completion script for bash, zsh or fish.",
}


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        command = _load(words[0])
        from dynamo_core.errors import UserError
        from dynamo_core.printing import complain

        try:
            raise SystemExit(command.main(words[1:]))
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except UserError as error:
            complain(f"dynamo {words[0]}", str(error))
            raise SystemExit(error.exit_code) from None
    if words and words[0] == "--version":
        print(f"dynamo {__version__}")
        return
    listing = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    usage = f"usage: dynamo COMMAND …\n\ncommands:\n{listing}\n\n`dynamo COMMAND --help` tells more."
    if words and words[0] not in ("-h", "--help"):
        from dynamo_core.args.suggest import nearest

        fix = nearest(words[0], COMMANDS) or f"give one of {', '.join(COMMANDS)}"
        print(f"dynamo: error: unknown command {words[0]!r}\n  fix: {fix}", file=sys.stderr)
        raise SystemExit(2)
    print(usage)


def _load(command: str) -> ModuleType:
    """Import a command, which takes a while; a Ctrl-C meanwhile ends the process as that of any program."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return importlib.import_module(f"dynamo_core.cli.{command}")
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    main()
