"""The mocker as a worker: real scheduling and KV-cache behaviour, simulated time, random tokens.

dynamo-mocker-worker --model FOLDER
python -m dynamo_mocker.worker --model FOLDER --speedup-ratio 100
"""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.mocker import serve_mocker
from dynamo_mocker.args import MockerWorkerSettings, check, engine_config, facts


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "mocker"
    role = "worker"
    kv_events = True


def parser() -> DynamoFlexibleArgumentParser[MockerWorkerSettings]:
    return DynamoFlexibleArgumentParser(
        MockerWorkerSettings,
        Deployment,
        facts=facts,
        check=check,
        description="The runtime's simulated engine as a worker.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)
        await serve_mocker(
            endpoint,
            engine_config(settings, "aggregated"),
            model_path=settings.model,
            model_name=settings.served_model_name or settings.model,
            source=settings.engine_args_file,
        )

    run(worker())


if __name__ == "__main__":
    main()
