"""The Rust runtime's simulated engine, as a library call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_core.errors import UserError

if TYPE_CHECKING:
    from dynamo_core.runtime.component import Endpoint


async def serve_mocker(
    endpoint: Endpoint, *, model_path: str, model_name: str, engine_arguments: Path | None = None
) -> None:
    """Serve `endpoint` with the mocker until the runtime is asked to stop; it registers its model.

    `engine_arguments` is a JSON file in the mocker's own words.
    """
    from dynamo import _core

    runtime = endpoint.component.runtime
    arguments = _core.EntrypointArgs(
        _core.EngineType.Mocker,
        model_path=model_path,
        model_name=model_name,
        endpoint_id=f"dyn://{endpoint.path}",
        extra_engine_args=str(engine_arguments) if engine_arguments else None,
    )
    try:
        engine = await _core.make_engine(runtime.rust, arguments)
    except Exception as error:  # the Rust side has one type for everything
        raise UserError(f"the mocker refuses its arguments: {error}") from error
    running = asyncio.ensure_future(_core.run_input(runtime.rust, f"dyn://{endpoint.path}", engine))
    await runtime.serve_until_stopped(running)
