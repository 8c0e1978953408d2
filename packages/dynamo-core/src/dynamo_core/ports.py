"""Whether a TCP port is free, and who holds it if not."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator

from dynamo_core.errors import UserError

FIRST_PORT = 20000
LAST_STATUS_PORT = 32767
ANYWHERE = "0.0.0.0"
"""Of `free_ports`: nobody has them at any of this machine's addresses."""


def reached_at(host: str) -> str:
    """Where this machine itself reaches what listens on `host`."""
    return {ANYWHERE: "127.0.0.1", "::": "::1"}.get(host, host)


def check_port(host: str, port: int, setting: str) -> None:
    """Raise `UserError` if nothing can listen on `host:port`; a port below 1 is not checked.

    `setting` is the key under which the port can be changed.
    """
    if port < 1:
        return
    try:
        _bind(host, port, reuse=True).close()
    except socket.gaierror as error:
        raise UserError(f"{host} is not an address of this machine: {error.strerror}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} is in use by {holder(port)}",
                fix=f"stop that process, or choose another --{setting}",
            ) from None
        host_setting = setting.replace("port", "host")
        raise UserError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            fix=f"choose another --{host_setting} or --{setting}",
        ) from None


def free_ports(host: str = "127.0.0.1") -> Iterator[int]:
    """Ports that nobody has at this moment, each once.

    They stay below 32768: the Rust runtime keeps its status port in 16 signed bits, and outgoing
    connections, which take theirs from above, cannot steal one before it is used.
    """
    count = LAST_STATUS_PORT - FIRST_PORT + 1
    first = os.getpid() * 61 % count  # two that ask at the same time begin at different ends
    for port in (FIRST_PORT + (first + i) % count for i in range(count)):
        try:
            _bind(host, port, reuse=False).close()
        except OSError:
            continue
        yield port
    raise UserError(f"no port from {FIRST_PORT} to {LAST_STATUS_PORT} is free")


def free_port_range(count: int, host: str) -> int:
    """The first of `count` ports in a row that nothing listens on at this moment."""
    return first_of(count, free_ports(host))


def first_of(count: int, ports: Iterator[int]) -> int:
    """The first of `count` in a row; those before them are passed over."""
    run: list[int] = []
    for port in ports:
        run = [*run, port] if run and port == run[-1] + 1 else [port]
        if len(run) == count:
            return run[0]
    raise UserError(f"there are no {count} free ports in a row from {FIRST_PORT} to {LAST_STATUS_PORT}")


def is_loopback(host: str) -> bool:
    """Whether an address, or a name that needs no resolver, can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reserve(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Keep a port from everybody who looks for a free one, until the socket is closed; servers can listen on
    it all the same. Raises `OSError` if somebody has it."""
    holding = _bind(host, port, reuse=False)
    holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return holding


def holder(port: int) -> str:
    """The process that listens on a port, as a person would name it."""
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "a process that this user may not see"
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            try:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (process {process.pid}, user {process.username()})"
            except psutil.NoSuchProcess:
                break
    return "a process that this user may not see"


def _bind(host: str, port: int, *, reuse: bool) -> socket.socket:
    """A socket that has the port; with `reuse` beside those that have it and do not listen."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        found.bind(address)
    except OSError:
        found.close()
        raise
    return found
