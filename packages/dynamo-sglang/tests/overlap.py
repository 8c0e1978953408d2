"""How much of a prompt a router believes to be in the KV cache of each worker of an endpoint.

    echo '[9, 8, 7]' | python overlap.py --to dynamo.sglang-prefill.generate --block-size 16

Prints one JSON list as soon as there is anything, or after some seconds without.
"""

from __future__ import annotations

import asyncio
import json
import sys

from dynamo import _core

from dynamo_core.args import DynamoFlexibleArgumentParser, RuntimeSettings, Settings, setting
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run


class OverlapSettings(Settings):
    "Which workers"

    to: str = setting(..., "Endpoint as namespace.component.endpoint.", metavar="ENDPOINT")
    block_size: int = setting(..., "Tokens per KV block.")


class AskingSettings(OverlapSettings, RuntimeSettings):
    "The settings of this script"


def main() -> None:
    settings = DynamoFlexibleArgumentParser(AskingSettings).parse(None).settings
    prompt = json.load(sys.stdin)

    @dynamo_worker(settings)
    async def ask(runtime: DistributedRuntime) -> None:
        namespace, component, name = settings.to.split(".")
        endpoint = runtime.namespace(namespace).component(component).endpoint(name)
        client = await endpoint.client()
        await client.wait_for_instances()
        router = _core.KvRouter(endpoint._rust, settings.block_size, _core.KvRouterConfig())
        blocks: list[int] = []
        for _ in range(40):
            workers = (await router.get_overlap_scores(prompt))["workers"]
            blocks = [worker["device_blocks"] for worker in workers]
            if any(blocks):
                break
            await asyncio.sleep(0.25)
        print(json.dumps(blocks), flush=True)

    run(ask())


if __name__ == "__main__":
    main()
