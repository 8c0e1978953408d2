"""The kit's options; a plugin of its own, since pytest reads options before it finds the kit."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dynamo", "dynamo_core.testing.conformance")
    group.addoption("--engine", metavar="PACKAGE", help="the engine package to test, as dynamo_vllm")
    group.addoption("--conformance-json", metavar="FILE", help="write the table to this file as JSON")
