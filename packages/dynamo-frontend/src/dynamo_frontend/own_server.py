"""This frontend's own HTTP server, asked as a probe would ask it: the Rust side tells what it knows to
routes of its server alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from typing import Any

from dynamo_frontend.args import FrontendSettings

TIMEOUT = 2.5
"""Seconds."""


def ask(settings: FrontendSettings, path: str) -> dict[str, Any] | None:
    """What it answers to a GET, a JSON object; None if it is busy, or not listening yet."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.http_host, settings.http_host)
    connection: http.client.HTTPConnection
    if settings.tls_cert_path:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # it is this process that answers, under any name
        connection = http.client.HTTPSConnection(host, settings.http_port, timeout=TIMEOUT, context=context)
    else:
        connection = http.client.HTTPConnection(host, settings.http_port, timeout=TIMEOUT)
    try:
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = json.load(connection.getresponse())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
