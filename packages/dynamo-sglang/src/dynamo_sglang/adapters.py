"""SGLang's LoRA adapters, loaded and unloaded while it runs.

Imports SGLang, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from sglang.srt.managers.io_struct import AbortReq, LoadLoRAAdapterReqInput, UnloadLoRAAdapterReqInput
from sglang.srt.managers.tokenizer_manager import TokenizerManager

from dynamo_core.errors import Unknown
from dynamo_core.handlers.adapters import Adapter

LAST_REQUEST_TIMEOUT = 120.0
"""Seconds in which the last request for an adapter has to end after it was unloaded."""
_COUNTED_BY_SGLANG = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INTERNAL_SERVER_ERROR)


async def load(manager: TokenizerManager, adapter: Adapter) -> None:
    asked = LoadLoRAAdapterReqInput(lora_name=adapter.name, lora_path=adapter.path)
    answer = await manager.load_lora_adapter(asked)
    if not answer.success:
        raise Unknown(f"SGLang cannot load {adapter.path}: {answer.error_message}")


async def unload(manager: TokenizerManager, adapter: Adapter) -> None:
    """Returns when the last request for it has ended."""
    asked = UnloadLoRAAdapterReqInput(lora_name=adapter.name)
    try:
        answer = await asyncio.wait_for(manager.unload_lora_adapter(asked), LAST_REQUEST_TIMEOUT)
    except TimeoutError:
        raise Unknown(
            f"{adapter.name} takes no new requests, but SGLang keeps it in memory: there was still a request "
            f"for it after {LAST_REQUEST_TIMEOUT:g} s"
        ) from None
    if not answer.success:
        raise Unknown(f"SGLang cannot unload {adapter.name}: {answer.error_message}")


class CountingTokenizerManager(TokenizerManager):
    """Counts the end of those requests for an adapter that are given up while they wait for their turn.
    SGLang's own does not, and an adapter is unloaded only when no request is counted for it."""

    def _handle_abort_req(self, recv_obj: AbortReq) -> None:
        state = self.rid_to_state.get(recv_obj.rid)
        super()._handle_abort_req(recv_obj)
        is_counted = (recv_obj.finished_reason or {}).get("status_code") in _COUNTED_BY_SGLANG
        if state is not None and state.obj.lora_path and not is_counted:
            task = asyncio.create_task(self.lora_registry.release(state.obj.lora_id))
            self.asyncio_tasks.add(task)
            task.add_done_callback(self.asyncio_tasks.discard)
