"""Calling the instances of an endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from dynamo_core.errors import UserError
from dynamo_core.runtime.translate import from_rust


class Client:
    """Calls the instances of one endpoint, wherever they run."""

    def __init__(self, rust: Any, path: str) -> None:
        self._rust = rust
        self.path = path

    def instance_ids(self) -> list[int]:
        """The instances that discovery knows now."""
        return list(self._rust.instance_ids())

    async def wait_for_instances(self, timeout: float = 10.0) -> list[int]:
        """Wait until there is at least one instance.

        Raises `UserError` after `timeout` seconds, naming the endpoint it looked for.
        """
        try:
            return list(
                await asyncio.wait_for(asyncio.ensure_future(self._rust.wait_for_instances()), timeout)
            )
        except TimeoutError:
            raise UserError(
                f"no instance of {self.path} appeared within {timeout:g} s",
                fix="start the component that serves it, with the same discovery settings and namespace",
            ) from None

    async def generate(self, request: Any, *, instance: int | None = None) -> AsyncIterator[Any]:
        """Send a request to `instance`, or to the next one in turn, and yield what it answers.

        Leaving the loop early cancels the request on the other side. Raises the request errors of
        `dynamo_core.errors`.
        """
        from dynamo import _core

        context = _core.Context()
        try:
            if instance is None:
                stream = await self._rust.round_robin(request, annotated=False, context=context)
            else:
                stream = await self._rust.direct(request, instance, annotated=False, context=context)
            async for answer in stream:
                yield answer
        except Exception as error:  # the Rust client has a type of its own for few of its errors
            raise from_rust(error) from None
        finally:
            context.stop_generating()
