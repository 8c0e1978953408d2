"""Asking a process whether it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import urllib.parse

TIMEOUT = 2.0
"""Seconds for one question."""


async def answers(url: str) -> bool:
    """Whether a GET is answered with 200. The certificate is our own child's, so it is not checked."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _status(url) == 200
    except (OSError, TimeoutError, ValueError, IndexError):
        return False


async def _status(url: str) -> int:
    parts = urllib.parse.urlsplit(url)
    context = _trusting() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        writer.write(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
        )
        status = await reader.readline()
        return int(status.split()[1]) if status.startswith(b"HTTP/") else 0
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@functools.cache
def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
