"""No setting without a test that sees what it does: tests say so by `@pytest.mark.setting`."""

from __future__ import annotations

import ast
from pathlib import Path

from dynamo_core.args.settings import declarations
from dynamo_core.deploy.describe import load
from dynamo_core.deploy.installed import components

ROOT = Path(__file__).resolve().parent.parent


def observed() -> set[str]:
    """The settings that tests say to be about."""
    found: set[str] = set()
    for file in (*ROOT.glob("packages/*/tests/**/*.py"), *ROOT.glob("packages/*/src/*/testing/*_checks.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.setting":
                found |= {str(ast.literal_eval(argument)) for argument in node.args}
    return found


def test_every_setting_of_every_component_is_observed() -> None:
    parsers = [load(module).parser() for module in components().values()]
    assert len(parsers) >= 4
    declared = {name for parser in parsers for name in declarations(parser.settings)}
    assert declared - observed() == set()


def test_no_test_is_about_a_setting_that_is_gone() -> None:
    parsers = [load(m).parser() for m in (*components().values(), "dynamo_core.testing.scripted")]
    declared = {name for parser in parsers for name in declarations(parser.settings)}
    assert observed() <= declared
