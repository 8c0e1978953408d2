"""A double of an engine's parser: a real argparse parser with one option of every kind."""

from __future__ import annotations

import argparse
import json

from dynamo_core.args import Engine


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="toy", add_help=False, allow_abbrev=False)
    parser.add_argument("--model", required=True)
    limits = parser.add_argument_group("Limits")
    limits.add_argument("--max-len", "-m", type=int, help="Tokens of a sequence.")
    limits.add_argument("--fraction", type=float, default=0.9, help="Of the memory, 90%% if left out.")
    limits.add_argument("--offset", type=int, default=0)
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--prefix-caching", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--adapters", type=json.loads, nargs="*")
    parser.add_argument("--hf-token")
    parser.add_argument("--revision")
    parser.add_argument("--worker-id", type=int)
    return parser


TOY = Engine(
    "Toy", build_parser, shared={"model": "--model"}, kept={"--worker-id": "the worker counts itself"}
)
