"""What prefill hands over survives the way as JSON, whatever it is."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from dynamo_trtllm.handover import from_wire, to_wire
from hypothesis import given
from hypothesis import strategies as st
from tensorrt_llm import DisaggregatedParams
from tensorrt_llm.disaggregated_params import DisaggScheduleStyle
from tensorrt_llm.executor.result import Logprob

from dynamo_core.errors import Unknown

TOKENS = st.lists(st.integers(0, 2**31 - 1))
IDS = st.integers(0, 2**64 - 1)
LOGPROBS = st.floats(-9999.0, 0.0)
POSITIONS = st.dictionaries(
    st.integers(0, 2**31 - 1), st.builds(Logprob, LOGPROBS, st.none() | st.integers(1))
)
PARAMS = st.builds(
    DisaggregatedParams,
    request_type=st.just("context_only"),
    first_gen_tokens=st.none() | TOKENS,
    # By position, or by beam and position; with the alternatives, or the chosen token's alone.
    first_gen_log_probs=st.none() | st.lists(POSITIONS) | st.lists(LOGPROBS) | st.lists(st.lists(POSITIONS)),
    ctx_request_id=st.none() | IDS,
    opaque_state=st.none() | st.binary(),
    draft_tokens=st.none() | TOKENS,
    disagg_request_id=st.none() | IDS,
    ctx_dp_rank=st.none() | st.integers(0, 1000),
    ctx_info_endpoint=st.none() | st.text(),
    schedule_style=st.none() | st.sampled_from(DisaggScheduleStyle),
)


def over_the_wire(params: DisaggregatedParams) -> DisaggregatedParams:
    return from_wire(json.loads(json.dumps(to_wire(params), allow_nan=False)))


@given(PARAMS)
def test_every_field_arrives(params: DisaggregatedParams) -> None:
    arrived = over_the_wire(params)
    assert arrived.request_type == "generation_only"
    arrived.request_type = "context_only"
    assert arrived == params


def test_the_state_is_base64_and_what_is_not_set_is_not_sent() -> None:
    params = DisaggregatedParams(request_type="context_only", opaque_state=b"\x00\xff", ctx_request_id=7)
    assert to_wire(params) == {"request_type": "context_only", "opaque_state": "AP8=", "ctx_request_id": 7}


def test_minus_infinity_arrives_as_a_number() -> None:
    arrived = over_the_wire(DisaggregatedParams(first_gen_log_probs=[{5: Logprob(-math.inf, 2)}]))
    assert arrived.first_gen_log_probs == [{5: Logprob(-9999.0, 2)}]


@pytest.mark.parametrize(
    ("handed_over", "message"),
    [
        ({"first_gen_logits": [1]}, "first_gen_logits"),
        ({"opaque_state": "no base64"}, "base64"),
        ({"opaque_state": 7}, ""),
        ({"first_gen_log_probs": [{"x": [0.5, 1]}]}, "'x'"),
    ],
)
def test_what_cannot_be_read_is_told(handed_over: dict[str, Any], message: str) -> None:
    with pytest.raises(Unknown, match="both need the same release of TensorRT-LLM") as caught:
        from_wire(handed_over)
    assert message in str(caught.value)


def test_what_cannot_be_sent_is_told() -> None:
    params: Any = DisaggregatedParams(draft_tokens=[object()])  # type: ignore[list-item]
    with pytest.raises(Unknown, match="draft_tokens cannot be handed over: it holds a object"):
        to_wire(params)
