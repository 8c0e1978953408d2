"""When Python collects garbage."""

from __future__ import annotations

import gc

import pytest

from dynamo_core import interpreter
from dynamo_core.errors import UserError
from dynamo_core.models import engine_import


@pytest.fixture(autouse=True)
def unfrozen() -> None:
    gc.unfreeze()


def test_what_is_imported_is_frozen_and_rarely_looked_at() -> None:
    usual = gc.get_threshold()
    with interpreter.importing():
        assert gc.get_threshold()[0] > 100 * usual[0]
        assert gc.isenabled()
        stays = [[] for _ in range(1000)]
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > len(stays)


def test_an_engine_that_is_not_there_changes_nothing_for_the_rest() -> None:
    usual = gc.get_threshold()
    with pytest.raises(UserError, match="is not installed"), engine_import("absent", "pip install absent"):
        import absent  # noqa: F401
    assert gc.get_threshold() == usual
