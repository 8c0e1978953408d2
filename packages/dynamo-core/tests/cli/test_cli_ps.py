"""`dynamo ps` on what real components have registered, and on what they have not."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamo_core.args import RuntimeSettings
from dynamo_core.cli.tables import duration
from dynamo_core.errors import UserError
from dynamo_core.runtime.certificates import VARIABLES
from dynamo_core.runtime.listing import Listing, read_listing
from dynamo_core.testing.processes import Stack
from dynamo_core.testing.servers import PASSWORD, USER, Etcd

Dynamo = Callable[..., subprocess.CompletedProcess[str]]


def listing_of(**settings: Any) -> Listing:
    return asyncio.run(read_listing(RuntimeSettings(**settings)))


def refusal_of(**settings: Any) -> str:
    with pytest.raises(UserError) as raised:
        listing_of(**settings)
    return str(raised.value)


def table(text: str, first: str) -> list[list[str]]:
    """The cells of the table whose first column has this name."""
    lines = next(part for part in text.split("\n\n") if part.startswith(first)).splitlines()
    return [line.split(maxsplit=5) for line in lines]


def test_models_and_instances(stack: Stack, dynamo: Dynamo) -> None:
    workers = [stack.scripted(), stack.scripted(), stack.scripted("--namespace", "other")]
    for worker in workers:
        worker.wait_for_line("is ready")
    shown = dynamo("ps", "--discovery-path", stack.discovery)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"looking in folder {stack.discovery}\n\n")
    assert table(shown.stdout, "MODEL") == [
        ["MODEL", "NAMESPACE", "COMPONENT", "ENDPOINT", "ROLE", "INSTANCES"],
        ["scripted", "dynamo", "scripted", "generate", "aggregated", "2"],
        ["scripted", "other", "scripted", "generate", "aggregated", "1"],
    ]
    rows = table(shown.stdout, "INSTANCE")[1:]
    assert [row[1] for row in rows] == ["dynamo.scripted.generate"] * 2 + ["other.scripted.generate"]
    assert all(row[2].startswith("127.0.0.1:") and row[3].endswith("s") for row in rows)


def test_json_has_numbers_and_the_ids_that_the_runtime_uses(stack: Stack, dynamo: Dynamo) -> None:
    stack.frontend()
    stack.scripted()
    stack.wait_ready()
    data = json.loads(dynamo("ps", "--json", env={"DYN_FILE_KV": str(stack.discovery)}).stdout)
    assert data["place"] == f"folder {stack.discovery}"
    assert [(model["model"], model["instances"]) for model in data["models"]] == [("scripted", 1)]
    (instance,) = data["instances"]
    assert 0 <= instance["silent"] < 5
    assert 0 <= instance["age"] < 20
    (file,) = (stack.discovery / "v1" / "instances").iterdir()
    assert file.name.endswith(f"%2F{instance['instance_id']:x}")


def test_an_instance_grows_older_while_it_is_renewed(stack: Stack) -> None:
    stack.scripted().wait_for_line("is ready")
    time.sleep(5)
    (instance,) = listing_of(discovery_path=str(stack.discovery)).instances
    assert instance.age is not None
    assert 5 <= instance.age < 8
    assert instance.silent is not None
    assert instance.silent < 4
    assert not instance.is_stale


def test_what_a_killed_worker_leaves_is_told_apart(stack: Stack, dynamo: Dynamo) -> None:
    worker = stack.scripted()
    worker.wait_for_line("is ready")
    assert worker.stop(signal.SIGKILL) == -signal.SIGKILL
    _age(stack.discovery, 60)
    listing = listing_of(discovery_path=str(stack.discovery))
    assert (len(listing.live.models), len(listing.live.instances)) == (0, 0)
    assert (len(listing.stale.models), len(listing.stale.instances)) == (1, 1)
    shown = dynamo("ps", "--discovery-path", stack.discovery).stdout
    assert "MODEL" not in shown
    assert re.search(r"   6\ds ago, its process is gone\n", shown)


def _age(folder: Path, seconds: float) -> None:
    """What waiting would do."""
    for file in folder.glob("v1/*/*"):
        os.utime(file, times=(time.time() - seconds,) * 2)


def test_nothing_is_no_error_and_makes_no_folder(tmp_path: Path, dynamo: Dynamo) -> None:
    shown = dynamo("ps", "--discovery-path", tmp_path / "absent", env={"TMPDIR": str(tmp_path)})
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(
        f"looking in folder {tmp_path / 'absent'}\n\nNo instance is registered there.\nComponents meet where"
    )
    assert list(tmp_path.iterdir()) == []


def test_nothing_here_but_in_the_default_folder(stack: Stack, tmp_path: Path, dynamo: Dynamo) -> None:
    default = stack.discovery = tmp_path / f"dynamo-{os.getuid()}"
    stack.scripted().wait_for_line("is ready")
    shown = dynamo("ps", "--discovery-path", tmp_path / "absent", env={"TMPDIR": str(tmp_path)})
    assert f"\nfolder {default}, the default, has models: scripted.\n" in shown.stdout


def test_foreign_files_are_passed_over(stack: Stack) -> None:
    worker = stack.scripted()
    worker.wait_for_line("is ready")
    bucket = stack.discovery / "v1" / "instances"
    (entry,) = bucket.iterdir()
    worker.stop(signal.SIGKILL)  # its runtime would wait for the pipe below
    contents = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"x" * (2 << 20), b'{"type":7}']
    contents += [b'{"type":"Endpoint"}', b'{"type":"Model","card_json":[]}', entry.read_bytes()[:-9]]
    for number, content in enumerate(contents):
        (bucket / f"foreign{number}").write_bytes(content)
    (bucket / "folder").mkdir()
    (bucket / "nowhere").symlink_to("nowhere")
    os.mkfifo(bucket / "pipe")
    listing = listing_of(discovery_path=str(stack.discovery))
    assert (len(listing.instances), len(listing.models)) == (1, 1)


def test_names_from_files_do_not_talk_to_the_terminal(tmp_path: Path, dynamo: Dynamo) -> None:
    bucket = tmp_path / "v1" / "instances"
    bucket.mkdir(parents=True)
    names = dict.fromkeys(("namespace", "component", "endpoint"), "\x1b[31m")
    entry = {"type": "Endpoint", **names, "instance_id": 1, "transport": {"tcp": "\x07"}}
    (bucket / "entry").write_text(json.dumps(entry))
    shown = dynamo("ps", "--discovery-path", tmp_path).stdout
    assert "\x1b" not in shown
    assert r"\x1b[31m.\x1b[31m" in shown


def test_a_folder_of_others_is_refused(tmp_path: Path, dynamo: Dynamo) -> None:
    tmp_path.chmod(0o777)
    shown = dynamo("ps", "--discovery-path", tmp_path)
    assert shown.returncode == 2
    assert shown.stderr.startswith(
        f"dynamo ps: error: discovery folder {tmp_path} is writable by everyone; others could redirect"
    )


@pytest.mark.parametrize(
    ("backend", "said"),
    [("kubernetes", "kubectl get dynamoworkermetadatas"), ("mem", "use --discovery-backend file or etcd")],
)
def test_backends_that_cannot_be_looked_into(backend: str, said: str, dynamo: Dynamo) -> None:
    shown = dynamo("ps", "--discovery-backend", backend)
    assert shown.returncode == 2
    assert said in shown.stderr.splitlines()[1]


def test_a_misspelt_variable_and_no_file_of_ours(dynamo: Dynamo) -> None:
    shown = dynamo("ps", env={"DYN_DISCOVERY_BACKEND": "etdc"})
    assert shown.returncode == 2
    assert "found 'etdc' (from DYN_DISCOVERY_BACKEND); did you mean etcd?" in shown.stderr


def test_the_compiled_library_is_not_loaded(tmp_path: Path) -> None:
    script = f"""
import sys
from dynamo_core.cli.ps import main
assert main(["--discovery-path", {str(tmp_path)!r}]) == 0
assert "dynamo._core" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_etcd(stack: Stack, etcd: Etcd, dynamo: Dynamo) -> None:
    flags = ("--discovery-backend", "etcd", "--etcd-endpoints", etcd.url)
    assert "No instance is registered there." in dynamo("ps", *flags).stdout
    worker = stack.scripted(*flags)
    worker.wait_for_line("is ready")
    etcd.put("v1/instances/foreign", b"\xff{")
    etcd.put("v1/instancesX", b'{"type":"Endpoint"}')
    shown = dynamo("ps", *flags).stdout
    assert shown.startswith(f"looking in etcd at {etcd.url}\n\n")
    assert table(shown, "MODEL")[1:] == [["scripted", "dynamo", "scripted", "generate", "aggregated", "1"]]
    ((_, path, address, age, seen, _),) = table(shown, "INSTANCE")[1:]
    assert (path, age) == ("dynamo.scripted.generate", "-")
    assert address.startswith("127.0.0.1:")
    assert seen.endswith("s")
    worker.stop(signal.SIGKILL)
    time.sleep(3)
    listing = listing_of(discovery_backend="etcd", etcd_endpoints=etcd.url)
    assert all(instance.silent and instance.silent >= 2 for instance in listing.instances)
    assert listing.instances
    assert listing.live == listing


def test_one_etcd_of_several_is_enough(etcd: Etcd) -> None:
    urls = f"127.0.0.1:1,{etcd.url}"
    assert listing_of(discovery_backend="etcd", etcd_endpoints=urls).place == f"etcd at {etcd.url}"


def test_an_etcd_with_a_password(etcd: Etcd, dynamo: Dynamo) -> None:
    etcd.demand_password()
    flags = ("ps", "--discovery-backend", "etcd", "--etcd-endpoints")
    refused = dynamo(*flags, etcd.url)
    assert refused.returncode == 2
    assert "it refuses: etcdserver: user name is empty; set ETCD_AUTH_USERNAME and" in refused.stderr
    url = f"http://{USER}:pa%3Ass%40w@127.0.0.1:{etcd.port}"
    for shown in (
        dynamo(*flags, url),
        dynamo(*flags, etcd.url, env={"ETCD_AUTH_USERNAME": USER, "ETCD_AUTH_PASSWORD": PASSWORD}),
    ):
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout.startswith(f"looking in etcd at {etcd.url}\n")
    wrong = dynamo(*flags, url.replace("pa%3A", "secret"))
    assert (wrong.returncode, "authentication failed" in wrong.stderr) == (2, True)
    assert "secret" not in wrong.stderr


class SecureEtcd(Etcd):
    """One that talks TLS, and only with those who have a certificate of its authority."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "data")
        self.authority, self._certificate, self._key = (
            folder / f"{name}.pem" for name in ("ca", "cert", "key")
        )
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        signed = ["-CA", self.authority, "-CAkey", folder / "ca.key", "-keyout", self._key]
        what = [
            word
            for text in ("subjectAltName=IP:127.0.0.1", "basicConstraints=CA:FALSE")
            for word in ("-addext", text)
        ]
        for words in (
            [*new, "-subj", "/CN=authority", "-keyout", folder / "ca.key", "-out", self.authority],
            [*new, *signed, *what, "-subj", "/CN=me", "-out", self._certificate],
        ):
            command = ["openssl", "req", "-x509", *map(str, words)]
            subprocess.run(command, check=True, capture_output=True)
        texts = [path.read_text() for path in (self.authority, self._certificate, self._key)]
        self.env = dict(zip(VARIABLES, texts, strict=True))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        files = (self._certificate, self._key, self.authority)
        flags = ("--cert-file", "--key-file", "--trusted-ca-file")
        given = [str(word) for pair in zip(flags, files, strict=True) for word in pair]
        return [*super().command(), *given, "--client-cert-auth"]

    def answers(self) -> bool:
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self._certificate, self._key)
        try:
            urllib.request.urlopen(f"{self.url}/health", timeout=5, context=context).close()
        except OSError:
            return False
        return True


@pytest.fixture
def secure_etcd(tmp_path: Path) -> Iterator[SecureEtcd]:
    with SecureEtcd(tmp_path) as server:
        yield server


def test_an_etcd_over_tls(
    stack: Stack, secure_etcd: SecureEtcd, dynamo: Dynamo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the certificates that components use."""
    refused = dynamo("ps", *secure_etcd.flags)
    assert refused.returncode == 2
    assert f"etcd cannot be read at {secure_etcd.url}: " in refused.stderr
    assert "certificate verify failed" in refused.stderr
    assert "; check ETCD_AUTH_CA, ETCD_AUTH_CLIENT_CERT, ETCD_AUTH_CLIENT_KEY" in refused.stderr
    for name, value in secure_etcd.env.items():
        monkeypatch.setenv(name, value)
    stack.scripted(*secure_etcd.flags).wait_for_line("is ready")
    shown = dynamo("ps", *secure_etcd.flags)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"looking in etcd at {secure_etcd.url}\n\n")
    assert table(shown.stdout, "MODEL")[1:] == [
        ["scripted", "dynamo", "scripted", "generate", "aggregated", "1"]
    ]


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"ETCD_AUTH_CA": "/etc/ca.pem"}, "ETCD_AUTH_CLIENT_CERT, ETCD_AUTH_CLIENT_KEY are not set"),
        (
            dict.fromkeys(VARIABLES, "/etc/a.pem"),
            "ETCD_AUTH_CA, ETCD_AUTH_CLIENT_CERT, ETCD_AUTH_CLIENT_KEY: the Rust runtime takes the text of a "
            'PEM file, not its path\n  fix: ETCD_AUTH_CA="$(cat FILE)" ETCD_AUTH_CLIENT_CERT="$(cat FILE)" ',
        ),
        (
            {
                **dict.fromkeys(VARIABLES, "-----BEGIN X"),
                "ETCD_AUTH_USERNAME": "a",
                "ETCD_AUTH_PASSWORD": "b",
            },
            "passes over etcd's certificates where ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD are set",
        ),
    ],
)
def test_certificates_that_the_runtime_would_pass_over(
    stack: Stack, dynamo: Dynamo, env: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Components refuse them as well, instead of ten seconds later without a word of it."""
    flags = ("--discovery-backend", "etcd", "--etcd-endpoints", "https://127.0.0.1:1")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    shown, worker = dynamo("ps", *flags), stack.scripted(*flags)
    assert (shown.returncode, worker.wait()) == (2, 2)
    assert problem in shown.stderr
    assert problem in worker.output


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where connections are taken and nothing is said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_etcd_that_is_not_there_or_does_not_answer(silent: int) -> None:
    started = time.monotonic()
    said = refusal_of(
        discovery_backend="etcd", etcd_endpoints=f"http://u:secret@127.0.0.1:{silent},127.0.0.1:1"
    )
    assert 2.5 < time.monotonic() - started < 5
    assert said == (
        "etcd cannot be read at http://127.0.0.1:1: Connection refused, "
        f"http://127.0.0.1:{silent}: no answer within 3 s (from --etcd-endpoints)\n  fix: start it there or "
        "correct --etcd-endpoints; --discovery-backend file needs no server"
    )


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"<html>", b'{"kvs": 3}', b'{"kvs": [{"value": 3}]}'])
@pytest.mark.parametrize("status", [200, 404])
def test_something_else_on_that_port(answer: bytes, status: int) -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        if (answer, status) == (b"{}", 200):  # what an empty etcd says
            assert listing_of(discovery_backend="etcd", etcd_endpoints=url).instances == ()
        else:
            said = refusal_of(discovery_backend="etcd", etcd_endpoints=url)
            assert f"{url}: something answers that is no etcd with a JSON gateway" in said
        server.shutdown()


@pytest.mark.parametrize("url", ["http://", "http://host:port", "http://[::1", ","])
def test_what_is_no_url(url: str) -> None:
    assert refusal_of(discovery_backend="etcd", etcd_endpoints=url).startswith("--etcd-endpoints is no URL")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.4, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (2 * 86400, "2d")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
