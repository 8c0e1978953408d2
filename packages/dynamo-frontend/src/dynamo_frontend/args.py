"""The frontend's own settings."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from dynamo_core.args import ComponentSettings, RuntimeSettings, Settings, setting
from dynamo_core.environment import Variable
from dynamo_core.errors import UserError
from dynamo_core.ports import check_port
from dynamo_core.runtime.frontend import RouterMode
from dynamo_core.runtime.variables import frontend_variables, runtime_variables


class HttpSettings(Settings):
    "HTTP"

    http_host: str = setting(
        "127.0.0.1", "Address to listen on; 0.0.0.0 for all of them.", metavar="HOST", min_length=1
    )
    http_port: int = setting(8000, "Port of the OpenAI API.", ge=1, le=65535)
    tls_cert_path: str | None = setting(None, "PEM certificate; turns on HTTPS.", metavar="FILE")
    tls_key_path: str | None = setting(None, "PEM key of the certificate.", metavar="FILE")
    input: Literal["http", "text"] = setting("http", "Serve HTTP, or chat in this terminal.")


class RoutingSettings(Settings):
    "Routing"

    router_mode: RouterMode = setting("round-robin", "How a worker is chosen for a request.")
    migration_limit: int = setting(
        3, "How often a request may move to another worker when its worker is lost.", ge=0
    )


class FrontendSettings(HttpSettings, RoutingSettings, ComponentSettings, RuntimeSettings):
    "The settings of dynamo-frontend"


def variables(settings: FrontendSettings) -> list[Variable]:
    """What the frontend sets for the libraries in it."""
    return [*runtime_variables(settings), *frontend_variables(settings.drain_timeout)]


def check(settings: FrontendSettings) -> None:
    """Raise `UserError` for what would fail later, or less clearly."""
    if settings.input == "http":
        check_port(settings.http_host, settings.http_port, "http-port")
    if bool(settings.tls_cert_path) != bool(settings.tls_key_path):
        given, missing = ("cert", "key") if settings.tls_cert_path else ("key", "cert")
        raise UserError(
            f"HTTPS needs certificate and key: --tls-{given}-path is given", fix=f"add --tls-{missing}-path"
        )
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
