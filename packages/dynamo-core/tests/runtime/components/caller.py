"""Sends requests one after another and prints one JSON object for each: its answers and its error.

    python caller.py test.answers.generate '[{"request": {"count": 3}, "take": 1}]'

`take` leaves the loop after so many answers, `pause` sleeps so many seconds after the first; `instance` is an
id, or "known" for one of the real ones.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

from dynamo_core.errors import RequestError, UserError
from dynamo_core.runtime import Client, DistributedRuntime, dynamo_worker


async def call(client: Client, item: dict[str, Any], instance: int | None) -> dict[str, Any]:
    answers: list[Any] = []
    try:
        async for answer in client.generate(item["request"], instance=instance):
            answers.append(answer)
            if len(answers) == item.get("take"):
                break
            if len(answers) == 1 and "pause" in item:
                print("pausing", flush=True)
                await asyncio.sleep(item["pause"])
    except RequestError as error:
        return {"answers": answers, "error": type(error).__name__, "message": str(error)}
    return {"answers": answers, "error": None}


@dynamo_worker()
async def caller(runtime: DistributedRuntime, path: str, calls: list[dict[str, Any]]) -> None:
    namespace, component, endpoint = path.split(".")
    client = await runtime.namespace(namespace).component(component).endpoint(endpoint).client()
    try:
        known = await client.wait_for_instances(timeout=float(calls[0].get("wait", 10)))
    except UserError as error:
        known = []
        print(json.dumps({"missing": str(error)}))
    for item in calls:
        instance = known[0] if item.get("instance") == "known" else item.get("instance")
        print(json.dumps(await call(client, item, instance)), flush=True)


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(caller(sys.argv[1], json.loads(sys.argv[2])))
