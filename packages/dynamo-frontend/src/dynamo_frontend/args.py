"""The frontend's own settings."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from dynamo_core.args import ComponentSettings, RuntimeSettings, Settings, setting
from dynamo_core.elsewhere import has_own_files
from dynamo_core.environment import Variable
from dynamo_core.errors import UserError
from dynamo_core.runtime.own_server import OwnServer
from dynamo_core.runtime.variables import frontend_variables, runtime_variables
from dynamo_frontend.routing import RoutingSettings, routing_problems

BATCH = "batch:"


def _known_input(value: str) -> str:
    if value in ("http", "text") or value.removeprefix(BATCH) not in ("", value):
        return value
    raise ValueError("input should be http, text or batch:FILE")


class HttpSettings(Settings):
    "HTTP"

    http_host: str = setting(
        "127.0.0.1", "Address to listen on; 0.0.0.0 for all of them.", metavar="HOST", min_length=1
    )
    http_port: int = setting(8000, "Port of the OpenAI API.", ge=1, le=65535)
    tls_cert_path: str | None = setting(None, "PEM certificate; turns on HTTPS.", metavar="FILE")
    tls_key_path: str | None = setting(None, "PEM key of the certificate.", metavar="FILE")
    input: Annotated[
        str,
        AfterValidator(_known_input),
        WithJsonSchema({"type": "string", "pattern": f"^(http|text|{BATCH}.+)$"}),
    ] = setting(
        "http",
        "http to serve, text to chat in this terminal, batch:FILE to answer the requests of a JSONL file.",
        metavar="http|text|batch:FILE",
    )


class BatchSettings(Settings):
    "Batch: the requests of a file"

    batch_output: Path | None = setting(
        None, "File for the answers; beside the input and called .out.jsonl if left out.", metavar="FILE"
    )
    batch_concurrency: int = setting(64, "Requests that are under way at the same time.", ge=1)
    batch_wait_timeout: float = setting(
        1800.0,
        "Seconds without a model that is ready after which a batch gives up.",
        ge=0,
        allow_inf_nan=False,
    )


class FrontendSettings(HttpSettings, RoutingSettings, BatchSettings, ComponentSettings, RuntimeSettings):
    "The settings of dynamo-frontend"

    @property
    def batch_input(self) -> Path | None:
        """The file of requests, if there is to be a batch."""
        return Path(self.input.removeprefix(BATCH)) if self.input.startswith(BATCH) else None

    @property
    def own_server(self) -> OwnServer:
        """The HTTP server that this frontend will be."""
        return OwnServer(self.http_host, self.http_port, is_tls=self.tls_cert_path is not None)


def variables(settings: FrontendSettings) -> list[Variable]:
    """What the frontend sets for the libraries in it."""
    return [*runtime_variables(settings), *frontend_variables(settings.drain_timeout)]


def facts(settings: FrontendSettings) -> dict[str, Any]:
    """What a planner has to know besides the deployment class."""
    return {"foreground": settings.input != "http"}


def check(settings: FrontendSettings) -> None:
    """Raise `UserError` for what would fail later, or less clearly."""
    if problems := list(routing_problems(settings)):
        raise UserError("\n".join(problems))
    if settings.batch_output and not settings.batch_input:
        raise UserError(
            f"--batch-output is for a batch, but --input is {settings.input}", fix="give --input batch:FILE"
        )
    if settings.batch_input and not settings.batch_input.is_file():
        found = "not a file, and a batch is read twice" if settings.batch_input.exists() else "not there"
        raise UserError(f"--input: {settings.batch_input} is {found}")
    _check_tls(settings)


def _check_tls(settings: FrontendSettings) -> None:
    if bool(settings.tls_cert_path) != bool(settings.tls_key_path):
        given, missing = ("cert", "key") if settings.tls_cert_path else ("key", "cert")
        raise UserError(
            f"HTTPS needs certificate and key: --tls-{given}-path is given", fix=f"add --tls-{missing}-path"
        )
    if has_own_files():
        return
    for key, path in (("tls-cert-path", settings.tls_cert_path), ("tls-key-path", settings.tls_key_path)):
        if path is not None and not Path(path).is_file():
            raise UserError(f"--{key}: there is no file {path}")
    if settings.tls_cert_path is not None:
        try:
            ssl.create_default_context().load_cert_chain(settings.tls_cert_path, settings.tls_key_path)
        except OSError as error:
            raise UserError(
                f"--tls-cert-path {settings.tls_cert_path} and --tls-key-path {settings.tls_key_path} "
                f"cannot be used: {error}",
                fix="give a PEM certificate and the key that it was made for",
            ) from None
