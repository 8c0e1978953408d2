"""etcd's keys over its JSON gateway, which every etcd 3.4 and later has on its usual port."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import ssl
import time
from typing import Any, Self
from urllib.parse import SplitResult, unquote, urlsplit

from dynamo_core import environment
from dynamo_core.errors import UserError
from dynamo_core.runtime.certificates import PASSWORD, USER, VARIABLES, Certificates, etcd_certificates
from dynamo_core.runtime.listing.entries import Stored

TIMEOUT = 3.0
"""Seconds for all that is asked of one server."""
BUCKETS = ("v1/instances/", "v1/mdc/", "v1/event_sources/")
DEFAULT_PORT = 2379
NO_ETCD = "something answers that is no etcd with a JSON gateway"


async def read_etcd(urls: str) -> tuple[str, list[Stored]]:
    """The entries, and the URL without a password of the first server that answered.

    All of the comma-separated servers are asked at the same time. Raises `UserError` if none answers.
    """
    servers = [_split(url) for url in urls.split(",")]
    certificates = etcd_certificates()
    answers = [asyncio.ensure_future(asyncio.to_thread(_read, server, certificates)) for server in servers]
    failures: dict[str, str] = {}
    for answer in asyncio.as_completed(answers):
        place, found = await answer
        if isinstance(found, list):
            return place, found
        failures[place] = found
    told = ", ".join(f"{place}: {failure}" for place, failure in failures.items())
    raise UserError(
        f"etcd cannot be read at {told} (from --etcd-endpoints)",
        fix="start it there or correct --etcd-endpoints; --discovery-backend file needs no server",
    )


class _Failed(Exception):
    """What a server answers instead of what was asked for."""


class _Gateway:
    """One connection to one server."""

    def __init__(self, server: SplitResult, certificates: Certificates | None) -> None:
        host, port = str(server.hostname), server.port or DEFAULT_PORT
        self._ends = time.monotonic() + TIMEOUT
        self._headers: dict[str, str] = {}
        self._connection: http.client.HTTPConnection
        if server.scheme == "https":
            context = certificates.context() if certificates else ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def log_in(self, user: str, password: str) -> None:
        answer = self.post("/v3/auth/authenticate", {"name": user, "password": password})
        self._headers = {"Authorization": str(answer["token"])}

    def read(self, prefix: str) -> list[dict[str, str]]:
        """The keys that begin with `prefix`, with what belongs to each."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        keys = {"key": _encode(prefix), "range_end": _encode(end)}
        found: list[dict[str, str]] = self.post("/v3/kv/range", keys).get("kvs", [])
        return found

    def silence(self, lease: str) -> float | None:
        """Seconds since a lease was renewed; None where it is too late to ask."""
        if time.monotonic() > self._ends - TIMEOUT / 2:
            return None
        answer = self.post("/v3/lease/timetolive", {"ID": lease})
        return (
            max(0.0, float(answer["grantedTTL"]) - float(answer["TTL"])) if "grantedTTL" in answer else None
        )

    def post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        if self._connection.sock is not None:
            self._connection.sock.settimeout(max(0.001, self._ends - time.monotonic()))
        self._connection.request("POST", path, json.dumps(body), self._headers)
        response = self._connection.getresponse()
        text = response.read()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if response.status == 200 and isinstance(answer, dict):
            return answer
        if not isinstance(answer, dict) or not (why := answer.get("message") or answer.get("error")):
            raise _Failed(f"{NO_ETCD} (HTTP {response.status})")
        hint = f"; set {USER} and {PASSWORD}" if "user" in str(why) else ""
        raise _Failed(f"it refuses: {why}{hint}")


def _read(server: SplitResult, certificates: Certificates | None) -> tuple[str, list[Stored] | str]:
    """Where it was asked, and the entries or why there are none."""
    place = _place(server)
    try:
        with _Gateway(server, certificates) as gateway:
            user, password = _credentials(server)
            if user:
                gateway.log_in(user, password)
            pairs = [pair for bucket in BUCKETS for pair in gateway.read(bucket)]
            silences: dict[str, float | None] = {}
            for lease in (pair.get("lease", "") for pair in pairs):
                if lease and lease not in silences:
                    silences[lease] = gateway.silence(lease)
            return place, [
                Stored(base64.b64decode(pair.get("value", "")), silent=silences.get(pair.get("lease", "")))
                for pair in pairs
            ]
    except _Failed as failed:
        return place, str(failed)
    except ssl.SSLError as error:
        return place, f"{error}; check {', '.join(VARIABLES)}"
    except TimeoutError:
        return place, f"no answer within {TIMEOUT:g} s"
    except OSError as error:
        return place, error.strerror or str(error)
    except (http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return place, f"{NO_ETCD} ({type(error).__name__})"


def _split(url: str) -> SplitResult:
    try:
        server = urlsplit(url if "://" in url else f"http://{url}")
        if server.hostname and (server.port or DEFAULT_PORT):
            return server
    except ValueError:
        pass
    raise UserError("--etcd-endpoints is no URL of a server", fix="write it as scheme://host:port") from None


def _place(server: SplitResult) -> str:
    host = f"[{server.hostname}]" if ":" in str(server.hostname) else server.hostname
    return f"{server.scheme}://{host}:{server.port or DEFAULT_PORT}"


def _credentials(server: SplitResult) -> tuple[str, str]:
    """What the components use, else what the URL holds; the Rust runtime passes over the latter."""
    user = environment.read(USER) or unquote(server.username or "")
    return user, environment.read(PASSWORD) or unquote(server.password or "")


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
