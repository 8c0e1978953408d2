"""A double of a Kubernetes API server: real HTTP, the real schemas, and nothing behind them.

It keeps objects, refuses what no real server would take, applies on the server's side with an owner for each
field, and lets a test say how far the pods are. There is no kubelet, no controller and no admission.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import kubernetes_validate
import yaml

Object = dict[str, Any]
Key = tuple[str, str, str]
"""Namespace (empty for what has none), name in the path, name."""

TOKEN = "let-me-in"  # noqa: S105 - of a double
SCHEMAS = Path(__file__).with_name("schemas")
OWN_SCHEMAS = {
    "nvidia.com/v1beta1": "dynamo-dynamographdeployments.v1beta1.json",
    "nvidia.com/v1alpha1": "dynamo-dynamographdeployments.v1alpha1.json",
    "orchestration.aibrix.ai/v1alpha1": "aibrix-stormservices.v1alpha1.json",
    "serving.kserve.io/v1alpha2": "kserve-llminferenceservices.v1alpha2.json",
}
PATH = re.compile(
    r"/(?:api|apis)/(?P<version>v1|[^/]+/[^/]+)(?:/namespaces/(?P<space>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>.+))?"
)


class Problem(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, causes: list[Object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.causes = causes


class ApiServer:
    """What it knows, and what the tests may set."""

    def __init__(self) -> None:
        self.applied: dict[Key, dict[str, Object]] = {}
        """By object: what each owner wants in it."""
        self.status: Callable[[Object, int], Object] = lambda live, looks: {}
        """The status of an object, by how often it was looked at since it was applied."""
        self.old_pods: list[Object] = []
        self.pods: list[Object] = []
        """Those that there are once something has been applied."""
        self.forbidden: set[str] = set()
        """Kinds, by their names in paths, that nobody may read or write."""
        self.unknown: set[str] = set()
        """Groups that this cluster does not have."""
        self.lingering = 0
        """How many looks an object that is deleted stays for."""
        self.requests: list[str] = []
        self._looks: dict[Key, int] = {}
        self._generation: dict[Key, int] = {}
        self._ending: dict[Key, int] = {}
        self._lock = threading.Lock()

    def own(self, key: Key, manager: str, wanted: Object) -> None:
        """Let somebody else have applied an object."""
        self.applied.setdefault(key, {})[manager] = wanted

    def names(self) -> set[str]:
        """Of everything there is, as `deployments/g-worker`."""
        return {f"{plural}/{name}" for _, plural, name in self.applied}

    def live(self, key: Key) -> Object:
        whole: Object = {}
        for wanted in self.applied[key].values():
            whole = _merged(whole, copy.deepcopy(wanted))
        whole["metadata"] |= {
            "uid": "-".join(key),
            "generation": self._generation.get(key, 1),
            "resourceVersion": str(self._looks.get(key, 0)),
        }
        if status := self.status(whole, self._looks.get(key, 0)):
            whole["status"] = {"observedGeneration": whole["metadata"]["generation"], **status}
        return whole

    def answer(self, method: str, url: str, content_type: str, body: str) -> Object:
        parts = urlsplit(url)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        found = PATH.fullmatch(parts.path)
        if found is None or found["version"].split("/")[0] in self.unknown:
            raise Problem(404, "the server could not find the requested resource")
        key = (found["space"] or "", found["plural"], found["name"] or "")
        if found["plural"] in self.forbidden:
            raise Problem(403, f"{found['plural']} is forbidden")
        with self._lock:
            self.requests.append(f"{method} {url}")
            if method == "GET" and not found["name"]:
                return self._list(key, query)
            if method == "PATCH":
                return self._apply(key, found["version"], query, content_type, json.loads(body))
            if key not in self.applied:
                raise Problem(404, f'{found["plural"]} "{found["name"]}" not found')
            self._looks[key] = self._looks.get(key, 0) + 1
            live = self.live(key)
            if method == "DELETE":
                self._ending[key] = self._looks[key]
            if key in self._ending and self._looks[key] - self._ending[key] >= self.lingering:
                del self.applied[key], self._ending[key]
            return live

    def _list(self, key: Key, query: dict[str, str]) -> Object:
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
        if key[1] == "pods":
            items = self.old_pods + (self.pods if self.applied else [])
        else:
            items = [self.live(one) for one in self.applied if one[:2] == key[:2]]
        items = [one for one in items if wanted.items() <= one["metadata"].get("labels", {}).items()]
        # As a real one does, without the kind of each.
        return {"items": [{k: v for k, v in one.items() if k not in ("kind", "apiVersion")} for one in items]}

    def _apply(self, key: Key, version: str, query: dict[str, str], kind: str, wanted: Object) -> Object:
        if kind != "application/apply-patch+yaml":
            raise Problem(415, f"the body of the request was in an unknown format: {kind}")
        if wanted["metadata"]["name"] != key[2] or wanted["apiVersion"] != version:
            raise Problem(400, "the name or the version of the object is not that of the path")
        _validate(wanted)
        manager = query["fieldManager"]
        others = {who: what for who, what in self.applied.get(key, {}).items() if who != manager}
        clashes = [
            {"field": ".".join(("", *path)), "message": f'conflict with "{who}"'}
            for who, what in others.items()
            for path, value in _leaves(wanted)
            if _at(what, path) not in (None, value)
        ]
        if clashes and query.get("force") != "true":
            raise Problem(409, f"Apply failed with {len(clashes)} conflicts", clashes)
        before = copy.deepcopy(self.applied.get(key))
        self.applied[key] = {**others, manager: wanted}
        live = self.live(key)
        if query.get("dryRun") == "All":
            if before is None:
                del self.applied[key]
            else:
                self.applied[key] = before
        else:
            self._generation[key] = self._generation.get(key, 0) + (before != self.applied[key])
            self._looks[key] = 0
            live = self.live(key)
        return live


@cache
def _schema(version: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / OWN_SCHEMAS[version]).read_text()))


def _validate(one: Object) -> None:
    try:
        if one["apiVersion"] in OWN_SCHEMAS:
            _schema(one["apiVersion"]).validate(one)
        elif one["kind"] != "CustomResourceDefinition":
            kubernetes_validate.validate(one, "1.34", strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        raise Problem(422, f"{one['kind']} {one['metadata']['name']} is invalid: {error}") from None


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            key: _merged(below[key], above[key]) if key in below and key in above else (above | below)[key]
            for key in {**below, **above}
        }
    return above


def _leaves(one: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(one, dict) and one:
        for key, value in one.items():
            yield from _leaves(value, (*path, key))
    else:
        yield path, one


def _at(one: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(one, dict) or key not in one:
            return None
        one = one[key]
    return one


class _Handler(BaseHTTPRequestHandler):
    server_version = "double-of-an-api-server"
    api: ApiServer

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Problem(401, "Unauthorized")
            content_type = self.headers.get("Content-Type", "")
            self._send(200, self.api.answer(self.command, self.path, content_type, body))
        except Problem as problem:
            details = {"causes": problem.causes} if problem.causes else {}
            said = {"kind": "Status", "message": str(problem), "code": problem.status, "details": details}
            self._send(problem.status, said)

    do_GET = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names that the library looks for

    def _send(self, status: int, answer: Object) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing: the server keeps its requests itself."""


@contextmanager
def api_server(folder: Path) -> Iterator[tuple[ApiServer, Path]]:
    """A server, and the kubeconfig that leads to it."""
    api = ApiServer()
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "double",
        "contexts": [{"name": "double", "context": {"cluster": "c", "user": "u", "namespace": "prod"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    file.chmod(0o600)
    try:
        yield api, file
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
