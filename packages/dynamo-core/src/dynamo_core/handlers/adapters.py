"""LoRA adapters that come and go while a worker runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dynamo_core.errors import InvalidArgument
from dynamo_core.runtime.adapters import id_of
from dynamo_core.runtime.streams import Handler

if TYPE_CHECKING:
    from dynamo_core.runtime.component import Endpoint

_FILE = "file://"


@dataclass(frozen=True)
class Adapter:
    """One adapter. Its id follows from its name, so that all workers of a model agree."""

    name: str
    path: str
    id: int


class TakesAdapters(Protocol):
    """An engine that can load adapters."""

    async def add_adapter(self, adapter: Adapter, *, again: bool) -> None:
        """Load it. `again` means that its name stood for an adapter before, of which the KV cache may still
        know. Whatever this raises is told to whoever asked."""
        ...

    async def remove_adapter(self, adapter: Adapter) -> None: ...


class Adapters:
    """The adapters that a worker serves beside its model, as models of their own.

    The endpoints `load_lora`, `unload_lora` and `list_loras` take and give what those of NVIDIA's own
    workers do: `{"lora_name": name, "source": {"uri": "file:///folder"}}`, and a single answer with `status`,
    `"success"` or `"error"`, and `message`. Nothing is ever downloaded.
    """

    def __init__(self, engine: TakesAdapters, endpoint: Endpoint, base: str) -> None:
        self._engine = engine
        self._endpoint = endpoint
        self._base = base
        self._loaded: dict[str, Adapter] = {}
        self._seen: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"load_lora": self.load, "unload_lora": self.unload, "list_loras": self.list}

    def of(self, request: Mapping[str, Any]) -> Adapter | None:
        """The adapter that a request is for; None for the model itself.

        Raises `InvalidArgument` for one that is not loaded: a request may have been on its way when its
        adapter was unloaded, and the model's own answer would be a wrong one.
        """
        model = request.get("model")
        name = (request.get("routing") or {}).get("lora_name") or (model if model in self._loaded else None)
        if name is None:
            return None
        if name not in self._loaded:
            raise InvalidArgument(f"the adapter {name} is not loaded in this worker; load it with load_lora")
        return self._loaded[name]

    async def load(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        async with self._one_at_a_time:
            try:
                adapter = self._asked(request)
                if adapter.name not in self._loaded:
                    await self._engine.add_adapter(adapter, again=adapter.name in self._seen)
                    self._seen.add(adapter.name)
                    self._loaded[adapter.name] = adapter
                    await self._endpoint.register_adapter(adapter.name)
            except Exception as error:  # engines and the Rust side have many types; the answer has one
                yield _failed(error)
                return
        yield _done(f"{adapter.name} is loaded from {adapter.path}", adapter)

    async def unload(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        async with self._one_at_a_time:
            try:
                name = request.get("lora_name")
                adapter = self._loaded.get(name) if isinstance(name, str) else None
                if adapter is None:
                    found = ", ".join(self._loaded) or "none"
                    raise InvalidArgument(f"there is no adapter {name!r} here; loaded: {found}")
                await self._endpoint.unregister_adapter(adapter.name)
                del self._loaded[adapter.name]
                await self._engine.remove_adapter(adapter)
            except Exception as error:  # as above
                yield _failed(error)
                return
        yield _done(f"{adapter.name} is unloaded", adapter)

    async def list(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        loras = {adapter.name: adapter.id for adapter in self._loaded.values()}
        yield {"status": "success", "loras": loras, "count": len(loras)}

    def _asked(self, request: Mapping[str, Any]) -> Adapter:
        """What is to be loaded. Raises `InvalidArgument`."""
        name, uri = request.get("lora_name"), (request.get("source") or {}).get("uri")
        if not isinstance(name, str) or not name or not isinstance(uri, str):
            raise InvalidArgument(
                'expected {"lora_name": NAME, "source": {"uri": "file:///FOLDER"}}, found ' + str(request)
            )
        if name == self._base:
            raise InvalidArgument(f"{name} is the name of the model itself; choose another lora_name")
        path = uri.removeprefix(_FILE)
        if "://" in path or not path.startswith("/"):
            raise InvalidArgument(
                f"an adapter is loaded from a folder on the worker's machine, given as file:///FOLDER, but "
                f"the uri is {uri}; nothing is downloaded here: fetch it first"
            )
        if not Path(path, "adapter_config.json").is_file():
            raise InvalidArgument(f"{path} is no adapter: there is no file adapter_config.json in it")
        if (present := self._loaded.get(name)) and present.path != path:
            raise InvalidArgument(f"{name} is loaded from {present.path} already; unload it first")
        return Adapter(name, path, id_of(name))


def _done(message: str, adapter: Adapter) -> dict[str, Any]:
    return {"status": "success", "message": message, "lora_name": adapter.name, "lora_id": adapter.id}


def _failed(error: Exception) -> dict[str, Any]:
    return {"status": "error", "message": str(error) or type(error).__name__}
