"""HTTPS, with a certificate made for the occasion."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import openai
import pytest

from dynamo_core.testing.processes import Stack


class Pair(NamedTuple):
    cert: Path
    key: Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("tls")
    found = Pair(folder / "cert.pem", folder / "key.pem")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    subprocess.run([*words, "-keyout", found.key, "-out", found.cert], check=True, capture_output=True)
    return found


@pytest.mark.setting("tls_cert_path", "tls_key_path")
def test_https_with_a_certificate_that_is_checked(stack: Stack, pair: Pair) -> None:
    frontend = stack.frontend("--tls-cert-path", pair.cert, "--tls-key-path", pair.key)
    stack.scripted()
    url = f"https://127.0.0.1:{stack.port}"
    frontend.wait_for_line(f"listening on {url}")
    with httpx.Client(verify=str(pair.cert)) as http:
        _wait_until_ready(http, url)
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", http_client=http, max_retries=0)
        answer = client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "hi"}], max_tokens=3
        )
        assert len(answer.choices[0].message.content or "") == 3
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(f"{url}/health", timeout=5)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{stack.port}/health", timeout=5)


def _wait_until_ready(http: httpx.Client, url: str, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            if http.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"{url} is not ready after {timeout} s")
        time.sleep(0.02)


def refusal(stack: Stack, *flags: object) -> list[str]:
    """What a frontend says that does not start, without its name."""
    frontend = stack.frontend(*flags)
    assert frontend.wait() == 2, frontend.output
    assert "Traceback" not in frontend.output
    return [line.removeprefix("python -m dynamo_frontend: ") for line in frontend.lines]


def test_a_certificate_without_its_key(stack: Stack, pair: Pair) -> None:
    assert refusal(stack, "--tls-cert-path", pair.cert)[-2:] == [
        "error: HTTPS needs certificate and key: --tls-cert-path is given",
        "  fix: add --tls-key-path",
    ]
    assert refusal(stack, "--tls-key-path", pair.key)[-2:] == [
        "error: HTTPS needs certificate and key: --tls-key-path is given",
        "  fix: add --tls-cert-path",
    ]


def test_a_file_that_is_not_there(stack: Stack, pair: Pair, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    lines = refusal(stack, "--tls-cert-path", pair.cert, "--tls-key-path", missing)
    assert lines[-1] == (f"error: --tls-key-path: there is no file {missing} (from --tls-key-path)")
    lines = refusal(stack, "--tls-cert-path", missing, "--tls-key-path", pair.key)
    assert lines[-1] == (f"error: --tls-cert-path: there is no file {missing} (from --tls-cert-path)")


def test_a_file_that_is_no_certificate(stack: Stack, pair: Pair, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("not a certificate\n")
    lines = refusal(stack, "--tls-cert-path", wrong, "--tls-key-path", pair.key)
    assert lines[-1].startswith("error: ") or lines[-2].startswith("error: ")
    assert "tls-cert-path" in "".join(lines[-2:])


def test_a_key_of_another_certificate(stack: Stack, pair: Pair, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    words = [
        "openssl",
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-out",
        other,
    ]
    subprocess.run(words, check=True, capture_output=True)
    lines = refusal(stack, "--tls-cert-path", pair.cert, "--tls-key-path", other)
    assert "tls-" in "".join(lines[-2:])
