"""An engine whose own options a component takes besides its settings, and one such option.

Core lists none of them. A component names its engine once:

    def build_parser() -> argparse.ArgumentParser:
        with engine_import("vllm", fix="pip install dynamo-vllm"):
            from vllm.engine.arg_utils import AsyncEngineArgs
            …
        return AsyncEngineArgs.add_cli_args(…)

    VLLM = Engine("vLLM", build_parser, shared={"model": "--model"})

and hands it to its `DynamoFlexibleArgumentParser`. What that does not know itself is collected as
`EngineOptions`, and read by the engine's parser when the engine is imported anyway: at start, for
`--help=engine`, or because something is wrong and everything wrong is told at once.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamo_core.args.origins import Origin

_SECRET = re.compile(r"(^|-)(api-key|password|secret|hf-token|auth-token)$")


@dataclass(frozen=True)
class Engine:
    """An engine whose options a component takes besides its own settings."""

    name: str
    build_parser: Callable[[], argparse.ArgumentParser]
    """Imports the engine. Raises `UserError` if it is not installed."""
    shared: Mapping[str, str | None] = field(default_factory=dict)
    """Keys that we and the engine both know: the engine's flag that gets our value, or None where
    ours replaces it. Any other common name is an error when the parser is built."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """The engine's flags that the component sets itself, each with what decides it."""
    gpus: Callable[[Mapping[str, Any]], int | None] | None = None
    """How many GPUs one worker takes on its machine by the options that were given, whose values come
    by key; None if they do not tell."""
    block_size: str = ""
    """The key of the option that tells how many tokens a KV block holds."""
    merges_parts: bool = False
    """Whether its parser takes an option whole and in parts, where the later of two words wins."""
    read_at_start: bool = False
    """Whether its options are read only where a worker starts or somebody asks for them, since importing it
    changes a process; planners take them as they are written."""


@dataclass(frozen=True)
class Derived:
    """An engine option that follows from the component or its settings; whatever else is given wins.

    A part (`kv-transfer-config.kv_role`) gives way to an option that is given whole, unless the engine's
    parser merges the two.
    """

    key: str
    value: Any
    why: str
    """What it follows from: `role prefill`."""


@dataclass(frozen=True)
class EngineOption:
    """One option as it was written: as words on a command line, or as a value in a file."""

    flag: str
    origin: Origin
    words: tuple[str, ...] = ()
    """From a command line: the flag and its values, or `--flag=value`."""
    value: Any = None
    """From a file or a deployment class."""
    is_common: bool = False
    """Whether it stands under `Common`, where it is for those engines that know it."""

    @property
    def key(self) -> str:
        return self.flag.removeprefix("--")

    @property
    def base(self) -> str:
        """The flag of the option that this is a part of: `--compilation-config` of `….mode`."""
        return self.flag.partition(".")[0]

    @property
    def is_part(self) -> bool:
        return "." in self.flag

    @property
    def given(self) -> Any:
        """The value without the engine's help: no word is a switch, several are a list."""
        if not self.words:
            return self.value
        _, equals, text = self.words[0].partition("=")
        values = [text] if equals else list(self.words[1:])
        return values[0] if len(values) == 1 else values or True


@dataclass(frozen=True)
class EngineValue:
    """One option as the engine's parser understands it."""

    key: str
    """The option's first long name, without dashes."""
    dest: str
    value: Any
    """Plain data, as it would stand in a file."""
    words: tuple[str, ...]
    origin: Origin
    is_common: bool = False
    """Whether it stands under `Common` and nobody could tell if the engine knows it."""

    @property
    def is_part(self) -> bool:
        """Whether it is one part of a larger value: `compilation-config.mode`."""
        return "." in self.key


def multiplied(options: Mapping[str, Any], *keys: str) -> int | None:
    """The product of those options that were given; None if none of them was. For `Engine.gpus`."""
    given = [int(options[key]) for key in keys if options.get(key) is not None]
    return math.prod(given) if given else None


def is_secret(key: str) -> bool:
    """Whether an engine's option holds a secret; engines do not say so, their names do."""
    return bool(_SECRET.search(key.replace("_", "-")))
