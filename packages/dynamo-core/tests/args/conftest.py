"""Settings that no environment of the machine running the tests can reach."""

from __future__ import annotations

import pytest
from every_setting import DECLARED


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for declared in DECLARED.values():
        monkeypatch.delenv(declared.env, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
