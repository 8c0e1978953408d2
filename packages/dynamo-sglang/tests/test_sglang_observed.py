"""What can be seen of a worker of SGLang from outside."""

from __future__ import annotations

import pytest

from dynamo_core.testing.collector import Span
from dynamo_core.testing.observed_checks import ObservedChecks


@pytest.mark.setting("health_interval", "health_timeout")
class TestSglangObserved(ObservedChecks):
    """The checks are core's; conftest.py says how to start SGLang."""

    own_metrics = {"sglang:generation_tokens_total": 12, "sglang:num_requests_total": 2}

    def is_of_the_request(self, span: Span) -> bool:
        return span.name.startswith(" Req ")
