"""What a decode worker makes of what a prefill worker says."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_core.handlers import BaseDecodeWorker
from dynamo_core.handlers.disaggregation import LEFT_TO_DECODE


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, None),
        ({"prefill_result": {"disaggregated_params": {"a": 1}}}, {"a": 1}),
        ({"bootstrap_info": {"bootstrap_room": 1}}, {"bootstrap_room": 1}),
        ({"prefill_result": {"disaggregated_params": LEFT_TO_DECODE}}, None),
    ],
)
def test_what_was_handed_over(request_: Any, expected: Any) -> None:
    assert BaseDecodeWorker.handed_over(Any, request_) == expected
