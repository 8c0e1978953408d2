"""What can be seen of a worker of SGLang from outside."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from dynamo_core.testing.collector import Span
from dynamo_core.testing.observed_checks import ObservedChecks, Watched


@pytest.mark.setting("health_interval", "health_timeout")
class TestSglangObserved(ObservedChecks):
    """The checks are core's; conftest.py says how to start SGLang."""

    own_metrics = {"sglang:generation_tokens_total": 12, "sglang:num_requests_total": 2}

    def is_of_the_request(self, span: Span) -> bool:
        return span.name.startswith(" Req ")

    def test_metrics_are_gathered_in_a_folder_of_the_workers_own(self, quiet: Watched) -> None:
        """The last test of this worker."""
        (folder,) = Path(tempfile.gettempdir()).glob(f"dynamo-*-metrics-{quiet.worker.pid}-*")
        assert folder.stat().st_mode & 0o077 == 0
        assert any(folder.iterdir())
        assert quiet.worker.stop() == 0
        assert not folder.exists()
