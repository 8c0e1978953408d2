"""This frontend's own HTTP server, asked as a probe would ask it: the Rust side tells what it knows to
routes of its server alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from dynamo_core.ports import reached_at

TIMEOUT = 2.5
"""Seconds for one question."""
OPENING = 1.0
"""Seconds within which the Rust side opens the routes of a model that it lists."""
SETTLING = 0.1
"""Seconds for the rest of what it does then: its routers learn of the first workers in tasks of their own,
and nothing tells when the last of them, on a busy machine, has had its turn."""
ROUTES = ("/v1/chat/completions", "/v1/completions")
"""Closed until a model needs them. All others are open always."""


@dataclass(frozen=True)
class OwnServer:
    """Where this process listens."""

    host: str
    port: int
    is_tls: bool = False

    def ask(self, path: str) -> dict[str, Any] | None:
        """What it answers to a GET, a JSON object; None if it is busy, or not listening yet."""
        try:
            with self._get(path) as response:
                answer = json.load(response)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return answer if isinstance(answer, dict) else None

    def is_open(self, route: str) -> bool:
        """Whether a route that takes a POST is there: it has an answer of its own to a GET."""
        try:
            with self._get(route) as response:
                return response.status == HTTPStatus.METHOD_NOT_ALLOWED
        except (OSError, http.client.HTTPException):
            return False

    @contextlib.contextmanager
    def _get(self, path: str) -> Iterator[http.client.HTTPResponse]:
        host = reached_at(self.host)
        connection: http.client.HTTPConnection
        if self.is_tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # it is this process that answers, under any name
            connection = http.client.HTTPSConnection(host, self.port, timeout=TIMEOUT, context=context)
        else:
            connection = http.client.HTTPConnection(host, self.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", path)
            yield connection.getresponse()


class Routes:
    """Whether requests for the models that are listed would reach them: a route opens a moment after its
    first model is listed, and until then answers 404."""

    def __init__(self, is_open: Callable[[str], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._is_open = is_open
        self._clock = clock
        self._since: float | None = None

    def lead_to(self, models: list[str]) -> bool:
        """Models that have opened none of `ROUTES` within `OPENING` s do not need one: they embed."""
        if not models:
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock()
        listed_for = self._clock() - self._since
        return listed_for >= SETTLING and (listed_for > OPENING or any(map(self._is_open, ROUTES)))
