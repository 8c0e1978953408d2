"""vLLM's prefill and decode workers say together what vLLM says alone."""

from __future__ import annotations

from typing import Any

import psutil
import pytest

from dynamo_core.testing.pair_checks import IndependentDecodeChecks, Pair
from dynamo_core.testing.processes import PORTS


class TestVllmPair(IndependentDecodeChecks):
    """The checks are core's; conftest.py says how to start vLLM."""

    meeting = "127.0.0.2", next(PORTS)

    @pytest.mark.setting("kv_transfer_host", "kv_transfer_port")
    def test_the_halves_meet_where_they_are_told(self, pair: Pair) -> None:
        worker = psutil.Process(pair.halves["prefill"].pid)
        addresses = {
            (connection.laddr.ip, connection.laddr.port)
            for process in [worker, *worker.children(recursive=True)]
            for connection in process.net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert self.meeting in addresses

    def unreachable(self, params: Any) -> Any:
        params["kv_transfer_params"] |= {"remote_port": 1, "remote_engine_id": "nobody"}
        return params
