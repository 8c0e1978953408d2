"""A router with a rule of its own: short prompts never wait behind long ones."""

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import Request
from dynamo_core.handlers.router import BaseRouter, Candidate
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_frontend.router import RouterSettings, check, workers_of

LONG = 1000
"""Tokens from which on a prompt is a long one; those go to one half of the workers."""


class Deployment(BaseDeployment):
    namespace = "routed"
    name = "router"
    role = "worker"


class LengthRouter(BaseRouter):
    async def choose(self, request: Request) -> Candidate | None:
        workers = sorted(await self.candidates(request), key=lambda worker: worker.worker)
        half = (len(workers) + 1) // 2
        pool = workers[:half] if len(request["token_ids"]) < LONG else workers[half:] or workers
        return min(pool, key=lambda worker: (worker.prefill_tokens, worker.requests), default=None)


def parser() -> DynamoFlexibleArgumentParser[RouterSettings]:
    return DynamoFlexibleArgumentParser(RouterSettings, Deployment, check=check)


def main(argv: list[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def router(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)
        workers = workers_of(runtime, settings)
        handler = LengthRouter(workers, settings.kv_routing)
        await endpoint.serve_endpoint(handler.generate, until=handler.advertise(endpoint), needs=workers)

    run(router())


if __name__ == "__main__":
    main()
