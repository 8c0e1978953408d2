"""The frontend component.

dynamo-frontend --http-port 8000
python -m dynamo_frontend --input text
python -m dynamo_frontend --input batch:prompts.jsonl
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.ports import check_port
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.frontend import FrontendOptions, serve_frontend
from dynamo_frontend.args import FrontendSettings, check, facts, variables
from dynamo_frontend.batch import batch
from dynamo_frontend.chat import chat
from dynamo_frontend.routing_watch import watching_frontend
from dynamo_frontend.waiting import saying_what_is_missing

logger = logging.getLogger(__name__)


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "frontend"
    ready_port = "http_port"
    role = "frontend"


def parser() -> DynamoFlexibleArgumentParser[FrontendSettings]:
    return DynamoFlexibleArgumentParser(
        FrontendSettings,
        Deployment,
        variables=variables,
        facts=facts,
        check=check,
        description="OpenAI-compatible HTTP server and router over the runtime.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def frontend(runtime: DistributedRuntime) -> None:
        options = FrontendOptions(
            namespace=settings.namespace,
            http_host=settings.http_host,
            http_port=settings.http_port,
            routing=settings.routing,
            migration_limit=settings.migration_limit,
            tls_cert_path=settings.tls_cert_path,
            tls_key_path=settings.tls_key_path,
        )
        logger.info("looking for models of %s through %s", settings.namespace, runtime.meeting_point)
        if settings.input == "text":
            await chat(runtime, options)
        elif settings.batch_input:
            await batch(runtime, options, settings, settings.batch_input)
        else:
            check_port(settings.http_host, settings.http_port, "http-port")
            scheme = "https" if settings.tls_cert_path else "http"
            logger.info("listening on %s://%s:%d", scheme, settings.http_host, settings.http_port)
            async with saying_what_is_missing(runtime, settings), watching_frontend(runtime, settings):
                await serve_frontend(runtime, options)

    run(frontend())


if __name__ == "__main__":
    main()
