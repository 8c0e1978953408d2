"""The start of the chain: sends one text and prints the answer as it comes.

python3 client.py --text "hello world"
"""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_core.args import (
    ComponentSettings,
    DynamoFlexibleArgumentParser,
    RuntimeSettings,
    Settings,
    setting,
)
from dynamo_core.deploy import BaseDeployment
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run


class ClientSettings(Settings):
    "Client"

    text: str = setting("hello from three components", "What to send.")


class HelloClientSettings(ClientSettings, ComponentSettings, RuntimeSettings):
    "The settings of this component"


class Deployment(BaseDeployment):
    namespace = "hello"
    name = "client"


def parser() -> DynamoFlexibleArgumentParser[HelloClientSettings]:
    return DynamoFlexibleArgumentParser(HelloClientSettings, Deployment)


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def client(runtime: DistributedRuntime) -> None:
        middle = await runtime.namespace(settings.namespace).component("middle").endpoint("generate").client()
        await middle.wait_for_instances()
        async for word in middle.generate(settings.text):
            print(word, flush=True)

    run(client())


if __name__ == "__main__":
    main()
