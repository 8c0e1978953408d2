"""The mocker as a worker: real scheduling and KV-cache behaviour, simulated time, random tokens.

dynamo-mocker-worker --model FOLDER
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dynamo_core.args import (
    ComponentSettings,
    DynamoFlexibleArgumentParser,
    ModelSettings,
    RuntimeSettings,
    Settings,
    setting,
)
from dynamo_core.deploy import BaseDeployment
from dynamo_core.errors import UserError
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.mocker import serve_mocker


class MockerSettings(Settings):
    "Simulated engine"

    engine_args_file: Path | None = setting(
        None, "JSON file with the mocker's own arguments.", metavar="FILE"
    )


class MockerWorkerSettings(MockerSettings, ModelSettings, ComponentSettings, RuntimeSettings):
    "The settings of dynamo-mocker-worker"


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "mocker"
    role = "worker"


def parser() -> DynamoFlexibleArgumentParser[MockerWorkerSettings]:
    return DynamoFlexibleArgumentParser(
        MockerWorkerSettings,
        Deployment,
        facts=lambda settings: {"kv_events": True},
        description="The runtime's simulated engine as a worker.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        if settings.engine_args_file is not None and not settings.engine_args_file.is_file():
            raise UserError(f"--engine-args-file: there is no file {settings.engine_args_file}")
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)
        await serve_mocker(
            endpoint,
            model_path=settings.model,
            model_name=settings.served_model_name or settings.model,
            engine_arguments=settings.engine_args_file,
        )

    run(worker())


if __name__ == "__main__":
    main()
