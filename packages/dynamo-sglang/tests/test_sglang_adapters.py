"""LoRA adapters come and go while a worker runs, and say what they say in SGLang alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_core.testing.adapter_checks import AdapterChecks


@pytest.mark.setting("enable_lora")
class TestSglangAdapters(AdapterChecks):
    """The checks are core's; conftest.py says how to start SGLang."""

    script = Path(__file__).with_name("adapters_alone.py")
