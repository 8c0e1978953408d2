"""vLLM's prefill and decode workers say together what vLLM says alone."""

from __future__ import annotations

from typing import Any

from dynamo_core.testing.pair_checks import PairChecks


class TestVllmPair(PairChecks):
    """The checks are core's; conftest.py says how to start vLLM."""

    def unreachable(self, params: Any) -> Any:
        params["kv_transfer_params"] |= {"remote_port": 1, "remote_engine_id": "nobody"}
        return params
