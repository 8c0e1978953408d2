"""`dynamo run in=… out=… MODEL`: a graph in one line, over the same components as `dynamo serve`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.parser import DynamoFlexibleArgumentParser
from dynamo_core.args.suggest import nearest, with_hint
from dynamo_core.cli.config import show_graph
from dynamo_core.cli.launch import add_flags, explicit_dry_run, overrides_of, start
from dynamo_core.cli.parser import CommandParser
from dynamo_core.deploy.deployment import NAME
from dynamo_core.deploy.describe import load
from dynamo_core.deploy.graph import configure
from dynamo_core.deploy.installed import components
from dynamo_core.deploy.objects import Tree
from dynamo_core.errors import UserError

FRONTEND = "dynamo_frontend"
ENGINE_SCRIPT = "dynamo-{}-worker"
DYN = "dyn://"
INPUTS = ("http", "text")
BATCH = "batch:"
EPILOG = """\
in=   http        serve the OpenAI API (if left out)
      text        chat in this terminal
      batch:FILE  answer the requests of a JSONL file
      dyn://NAMESPACE.COMPONENT.ENDPOINT
                  no frontend: frontends elsewhere find the engine under this name
out=  vllm, sglang, trtllm, mocker, echo: an engine whose package is installed
      dyn://NAMESPACE
                  no engine: the models that others serve in this namespace
MODEL a folder, or a Hugging Face model id; where the engine serves one

Every other flag goes to the components that know it, as --http-port 9000 or --max-model-len 4096, and
stands after MODEL. --dry-run prints the commands that are run.
"""


def build_parser() -> CommandParser:
    """The flags of the command itself."""
    parser = CommandParser("dynamo run", "Start an engine, and what it needs, in one line.", EPILOG)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "dynamo run [in=INPUT] out=ENGINE [MODEL] [flags]"
    add_flags(parser)
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    options, rest = build_parser().parse_known_args(explicit_dry_run(argv))
    words, given = split_flags(rest)
    request = Request.of(words)
    tree = request.tree(given, overrides_of(options))
    graph = configure("dynamo run", Path(), tree, [])
    if options.show_config:
        return show_graph(graph)
    options.join = options.join or request.joins
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"run-{request.output.removeprefix(DYN)}").strip("-")
    return start("run", argv, graph, options, name)


@dataclass(frozen=True)
class Flag:
    """A flag for the components, as it was typed."""

    key: str
    values: tuple[str, ...]

    @property
    def value(self) -> object:
        if not self.values:
            return True
        return self.values[0] if len(self.values) == 1 else list(self.values)


def split_flags(rest: Sequence[str]) -> tuple[list[str], list[Flag]]:
    """Part what the command's own flags leave into in=, out= and MODEL, and the flags of components.

    Raises `UserError`.
    """
    words: list[str] = []
    flags: list[Flag] = []
    queue = list(rest)
    while queue:
        word = queue.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        name, equals, text = word.partition("=")
        if not word.startswith("--"):
            raise UserError(
                f"{word} is no flag of this command", fix="give its long name, which begins with --"
            )
        values = [text] if equals else []
        while not equals and queue and not re.match(r"-(?![\d.])", queue[0]):
            values.append(queue.pop(0))
        flags.append(Flag(name.removeprefix("--"), tuple(values)))
    return words, flags


@dataclass(frozen=True)
class Request:
    """What is to be connected with what."""

    input: str
    output: str
    model: str | None

    @classmethod
    def of(cls, words: Sequence[str]) -> Request:
        """From the words that are no flags. Raises `UserError`."""
        given: dict[str, str] = {}
        for word in words:
            key, equals, value = word.partition("=")
            key = key if equals and key in ("in", "out") else "MODEL"
            if key in given:
                raise UserError(f"{key} is given twice: {given[key]} and {word}", fix="keep one of the two")
            given[key] = value if key != "MODEL" else word
        if "out" not in given:
            raise UserError(
                f"out= is missing; installed engines are {_listed(engines())}", fix="add out=ENGINE"
            )
        request = cls(given.get("in", "http"), given["out"], given.get("MODEL"))
        request._check()
        return request

    @property
    def joins(self) -> bool:
        """Whether it is meant to meet another graph."""
        return self.input.startswith(DYN) or self.output.startswith(DYN)

    def tree(self, flags: Iterable[Flag], overrides: Iterable[str]) -> Tree:
        """The sections of a serve file that say the same."""
        tree: Tree = {"Common": {}}
        if not self.input.startswith(DYN):
            tree["Frontend"] = {"component": _said(FRONTEND, "in", self.input)}
            if self.input != "http":
                tree["Frontend"]["input"] = _said(self.input, "in", self.input)
        if not self.output.startswith(DYN):
            tree["Worker"] = {"component": _said(engines()[self.output], "out", self.output)}
            tree["Worker"]["model"] = _said(self.model, "MODEL", "")
        if self.input.startswith(DYN):
            for key, part in zip(("namespace", "name", "endpoint"), _parts(self.input), strict=True):
                tree["Worker"][key] = _said(part, "in", self.input)
        if self.output.startswith(DYN):
            tree["Frontend"]["namespace"] = _said(self.output.removeprefix(DYN), "out", self.output)
        _add_flags(tree, flags)
        for override in overrides:
            key, _, text = override.removeprefix("--Common.").partition("=")
            tree["Common"][key] = Located(text, Origin("flag", f"--{key}"))
        return tree

    def _check(self) -> None:
        known = self.input in INPUTS or (self.input.startswith((BATCH, DYN)) and not self.input.endswith(":"))
        if not known:
            raise UserError(f"in={self.input} is no input: http, text, batch:FILE or dyn://…")
        if self.input.startswith(DYN):
            _parts(self.input)
        if self.output.startswith(DYN):
            self._check_remote()
        elif self.output not in engines():
            raise UserError(
                f"out={self.output}: there is no component {ENGINE_SCRIPT.format(self.output)}; installed "
                f"engines are {_listed(engines())}",
                fix=" ".join(filter(None, (nearest(self.output, engines()), _install(self.output)))),
            )
        elif self.model is None:
            raise UserError(
                "MODEL is missing: a folder, or a Hugging Face model id",
                fix=f"dynamo run out={self.output} MODEL; it stands before the flags",
            )

    def _check_remote(self) -> None:
        if self.input.startswith(DYN):
            raise UserError("in=dyn://… and out=dyn://… leave nothing to start", fix="give one of the two")
        if self.model is not None:
            raise UserError(f"out={self.output} serves what others load; leave out {self.model}")
        if not re.fullmatch(r"[\w-]+", self.output.removeprefix(DYN)):
            raise UserError(
                f"out={self.output}: a frontend finds all models of one namespace",
                fix="give the namespace alone, as out=dyn://dynamo",
            )


def engines() -> dict[str, str]:
    """The modules of the installed engines, by the names that `out=` takes."""
    before, after = ENGINE_SCRIPT.split("{}")
    return {
        script.removeprefix(before).removesuffix(after): module
        for script, module in components().items()
        if script.startswith(before) and script.endswith(after)
    }


def _add_flags(tree: Tree, flags: Iterable[Flag]) -> None:
    """Flags that components declare are for all that do; others are the engine's, or a mistake."""
    parsers = [_parser(str(section["component"].value)) for name, section in tree.items() if name != "Common"]
    declared = {d.key: d for parser in parsers for d in parser.declared.values()}
    rest = tree["Worker" if "Worker" in tree else "Frontend"]
    has_engine = any(parser.engine for parser in parsers)
    for flag in flags:
        positive = flag.key.removeprefix("no-")
        is_off = positive != flag.key and positive in declared and declared[positive].is_switch
        key = positive if is_off else flag.key
        if key not in declared and not has_engine:
            flags_known = [known.flag for known in declared.values()]
            raise UserError(with_hint(f"unknown flag --{flag.key}", f"--{key}", flags_known))
        section = tree["Common"] if key in declared else rest
        if key in section:
            raise UserError(f"--{flag.key} is given twice, or contradicts {section[key].origin}")
        section[key] = Located(False if is_off else flag.value, Origin("flag", f"--{flag.key}"))


def _parser(module: str) -> DynamoFlexibleArgumentParser[Any]:
    try:
        parser: DynamoFlexibleArgumentParser[Any] = load(module).parser()
    except ModuleNotFoundError as error:
        raise UserError(
            f"{module} is not installed", fix=f"pip install {module.replace('_', '-')}"
        ) from error
    return parser


def _said(value: str | None, key: str, text: str) -> Located:
    return Located(value, Origin("flag", f"{key}={text}" if text else key))


def _parts(address: str) -> list[str]:
    """Namespace, component and endpoint. Raises `UserError`."""
    parts = address.removeprefix(DYN).split(".")
    if len(parts) != 3:
        raise UserError(f"in={address} is no address", fix="give in=dyn://NAMESPACE.COMPONENT.ENDPOINT")
    return parts


def _install(engine: str) -> str:
    """What to do for an engine that is not there; empty for what can be no package's name."""
    return f"pip install dynamo-{engine}, if that is an engine" if NAME.fullmatch(engine) else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
