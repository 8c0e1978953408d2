"""An OpenTelemetry collector for tests: it keeps the spans that processes send it over HTTP.

Needs opentelemetry-proto.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Span:
    """One component's part in one request; ids in hexadecimal."""

    service: str
    name: str
    trace: str
    id: str
    parent: str


class Collector:
    """What has arrived so far."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.flags = ("--otlp-endpoint", self.url, "--otlp-protocol", "http/protobuf")
        self.spans: list[Span] = []

    def wait(self, is_it: Callable[[list[Span]], bool], timeout: float = 30.0) -> list[Span]:
        """The spans, once `is_it` holds for them; they are sent every few seconds."""
        deadline = time.monotonic() + timeout
        while not is_it(self.spans):
            assert time.monotonic() < deadline, self.spans
            time.sleep(0.1)
        return list(self.spans)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine, for as long as the context lasts."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                collector.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        collector = Collector(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield collector
        finally:
            server.shutdown()


def _spans(request: Any) -> Iterator[Span]:
    for resource in request.resource_spans:
        about = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                yield Span(about.get("service.name", ""), span.name, *ids)
