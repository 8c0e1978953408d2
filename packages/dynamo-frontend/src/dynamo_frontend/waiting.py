"""A frontend without a model says where it looks, and what there is to be seen.

What discovery holds is read only when there is something to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

from dynamo_core.errors import UserError
from dynamo_core.runtime import DistributedRuntime
from dynamo_core.runtime.listing import Listing, Model, read_default_folder, read_listing
from dynamo_frontend.args import FrontendSettings
from dynamo_frontend.routing import GLOBAL_NAMESPACE

logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds without a model before it is said."""
INTERVAL = PATIENCE / 2
"""Seconds between two looks; each takes a quarter of a millisecond of the processor."""


@contextlib.asynccontextmanager
async def saying_what_is_missing(
    runtime: DistributedRuntime, settings: FrontendSettings
) -> AsyncIterator[None]:
    """While the body serves HTTP, warn once whenever no model has been ready for `PATIENCE` seconds."""
    watching = asyncio.ensure_future(_watch(runtime, settings))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _watch(runtime: DistributedRuntime, settings: FrontendSettings) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.ensure_future(runtime.stopping())
    since: float | None = loop.time()
    said = False
    try:
        while not (await asyncio.wait({stopping}, timeout=INTERVAL))[0]:
            ready = await asyncio.to_thread(_ready_models, settings)
            if ready is None:
                continue
            if ready:
                if said:
                    logger.info("ready: %s", ", ".join(ready))
                since, said = None, False
            elif since is None:
                since = loop.time()
            elif not said and loop.time() - since > PATIENCE - INTERVAL / 2:
                said = True
                logger.warning("%s", await _explain(runtime.meeting_point, settings))
    finally:
        stopping.cancel()


def _ready_models(settings: FrontendSettings) -> list[str] | None:
    """What `/health` answers; None if it does not."""
    answer = settings.own_server.ask("/health")
    return None if answer is None else answer.get("models")


async def _explain(meeting_point: str, settings: FrontendSettings) -> str:
    """Where this frontend looks, what is there, and what else can be seen."""
    wanted = settings.namespace
    text = f"no model is ready for this frontend of namespace {wanted}, which looks in {meeting_point}"
    try:
        listing = await read_listing(settings)
    except UserError as error:
        return f"{text}; {str(error).splitlines()[0]}"
    here = _what_is_here(listing, wanted)
    default = await read_default_folder(settings)
    if default is not None:
        models = _names(default.live.models) or "instances without a model"
        here += f"; the default {default.place} has {models}"
    return f"{text}: {here}"


def _what_is_here(listing: Listing, namespace: str) -> str:
    live = listing.live
    own = [model for model in live.models if namespace in (GLOBAL_NAMESPACE, model.namespace)]
    if own:
        return f"it knows {_names(own)}, but cannot serve it{_missing_half(own)}"
    if live.models:
        return (
            f"there are models of other namespaces here: {_names(live.models)}; give frontend and workers "
            "the same --namespace"
        )
    if live.instances:
        paths = ", ".join(sorted({instance.path for instance in live.instances}))
        return f"there are instances here, but none has a model: {paths}"
    left = len({instance.instance_id for instance in listing.stale.instances})
    gone = f"there is only what {left} dead processes left behind" if left else "nothing is registered there"
    return f"{gone}; a worker is once its engine has loaded, if it was given the same discovery settings"


def _missing_half(models: Sequence[Model]) -> str:
    roles = {model.role for model in models}
    for role, other in (("prefill", "decode"), ("decode", "prefill")):
        if roles == {role}:
            return f": a {role} worker needs a {other} worker"
    return " yet; it needs the model's configuration and tokenizer here, too"


def _names(models: Sequence[Model]) -> str:
    return ", ".join(sorted({f"{model.name} (namespace {model.namespace})" for model in models}))
