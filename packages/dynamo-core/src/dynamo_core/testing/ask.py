"""Sends requests straight to an endpoint, past any frontend, and prints the answers.

    echo '{"token_ids": [9, 8, 7]}' |
      python -m dynamo_core.testing.ask --to dynamo.vllm-prefill.generate

One JSON object per line in; per line out, the list of chunks, or `{"error": [kind, message]}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from dynamo_core.args import DynamoFlexibleArgumentParser, RuntimeSettings, Settings, setting
from dynamo_core.errors import RequestError
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run


class AskSettings(Settings):
    "Whom to ask"

    to: str = setting(..., "Endpoint as namespace.component.endpoint.", metavar="ENDPOINT")


class AskingSettings(AskSettings, RuntimeSettings):
    "The settings of dynamo_core.testing.ask"


def parser() -> DynamoFlexibleArgumentParser[AskingSettings]:
    return DynamoFlexibleArgumentParser(AskingSettings, description=__doc__ or "")


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings
    requests = [json.loads(line) for line in sys.stdin]

    @dynamo_worker(settings)
    async def ask(runtime: DistributedRuntime) -> None:
        namespace, component, endpoint = settings.to.split(".")
        client = await runtime.namespace(namespace).component(component).endpoint(endpoint).client()
        await client.wait_for_instances()
        for request in requests:
            answer: Any
            try:
                answer = [chunk async for chunk in client.generate(request)]
            except RequestError as error:
                answer = {"error": [type(error).__name__, str(error)]}
            print(json.dumps(answer), flush=True)

    run(ask())


if __name__ == "__main__":
    main()
