"""The frontend component.

dynamo-frontend --http-port 8000
python -m dynamo_frontend --input text
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.frontend import FrontendOptions, serve_frontend
from dynamo_frontend.args import FrontendSettings, check, variables
from dynamo_frontend.chat import chat

logger = logging.getLogger(__name__)


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "frontend"
    ready_port = "http_port"


def parser() -> DynamoFlexibleArgumentParser[FrontendSettings]:
    return DynamoFlexibleArgumentParser(
        FrontendSettings,
        Deployment,
        variables=variables,
        description="OpenAI-compatible HTTP server and router over the runtime.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def frontend(runtime: DistributedRuntime) -> None:
        check(settings)
        options = FrontendOptions(
            namespace=settings.namespace,
            http_host=settings.http_host,
            http_port=settings.http_port,
            router_mode=settings.router_mode,
            migration_limit=settings.migration_limit,
            tls_cert_path=settings.tls_cert_path,
            tls_key_path=settings.tls_key_path,
        )
        logger.info("looking for models of %s through %s", settings.namespace, runtime.meeting_point)
        if settings.input == "text":
            await chat(runtime, options)
        else:
            scheme = "https" if settings.tls_cert_path else "http"
            logger.info("listening on %s://%s:%d", scheme, settings.http_host, settings.http_port)
            await serve_frontend(runtime, options)

    run(frontend())


if __name__ == "__main__":
    main()
