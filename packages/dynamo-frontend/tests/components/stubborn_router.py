"""A router that first chooses a worker that is not there.

python stubborn_router.py --workers workers.scripted.generate
"""

from __future__ import annotations

from dynamo_core.handlers import Request
from dynamo_core.handlers.router import BaseRouter, Candidate
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_frontend.router import parser, workers_of


class StubbornRouter(BaseRouter):
    chosen = 0

    async def choose(self, request: Request) -> Candidate | None:
        self.chosen += 1
        here = await self.candidates(request)
        print("candidates", len(here), min(worker.cached_tokens for worker in here), flush=True)
        return Candidate(12345, 0, 0, 0, 0, 0) if self.chosen == 1 else here[0]


def main() -> None:
    settings = parser().parse().settings

    @dynamo_worker(settings)
    async def router(runtime: DistributedRuntime) -> None:
        endpoint = runtime.namespace(settings.namespace).component("router").endpoint("generate")
        workers = workers_of(runtime, settings)
        handler = StubbornRouter(workers, settings.kv_routing)
        await endpoint.serve_endpoint(handler.generate, until=handler.advertise(endpoint), needs=workers)

    run(router())


if __name__ == "__main__":
    main()
