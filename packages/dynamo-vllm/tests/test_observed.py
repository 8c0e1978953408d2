"""What can be seen of a worker of vLLM from outside."""

from __future__ import annotations

import pytest

from dynamo_core.testing.collector import Span
from dynamo_core.testing.observed_checks import ObservedChecks


@pytest.mark.setting("health_interval", "health_timeout")
class TestVllmObserved(ObservedChecks):
    """The checks are core's; conftest.py says how to start vLLM."""

    own_metrics = {"vllm:generation_tokens_total": 12, "vllm:request_success_total": 2}

    def is_of_the_request(self, span: Span) -> bool:
        return span.name == "llm_request"
