"""The port that the page listens on: why it cannot be had, who has it, and which one is free."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence
from typing import Any

from picam_infer.config import Web
from picam_infer.core import Finding
from picam_infer.platform import procfs
from picam_infer.platform.procfs import Process

_LAST = 65535
_FIRST_FREE = 1024
"""Lower ports need a privilege, which the service does not have."""
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_TRIES = 20
"""How often a port is looked for that is free on all addresses."""


def trouble(error: OSError, listen: str) -> tuple[str, str]:
    """Return why the page cannot listen there, in words, and the remedy; both may be empty."""
    host, _, port = listen.rpartition(":")
    if error.errno == errno.EADDRINUSE:
        return _taken(host, int(port))
    if error.errno == errno.EACCES and int(port) < _FIRST_FREE:
        return f"port {port} needs a privilege that the service does not have", f"set web.listen: {host}:8080"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        where = host.strip("[]")
        remedy = f"set web.listen: 127.0.0.1:{port} (this machine only) or 0.0.0.0:{port} (the whole network)"
        return f"{where} is not an address of this machine", remedy
    return "", ""


def _taken(host: str, port: int) -> tuple[str, str]:
    """Return who has a port and what to do about it; the service's open files are hidden from all but root."""
    users, free = _users(port), f"web.listen: {host}:{_free(port)}"
    services = [process for process in users or procfs.others() if process.service and process.keeps_devices]
    by = f" by {', '.join(map(str, users))}" if users else f", most likely by {services[0]}" if services else ""
    if services:  # what is run beside it by hand reads the same file
        remedy = f"stop that service, or give this picam-infer a settings file of its own (-c FILE) with {free}"
    else:
        remedy = f"end that program, or set {free}"
    return f"port {port} is used{by}", remedy


def bound(found: Sequence[tuple[Any, ...]]) -> list[socket.socket]:
    """Return a socket for each address that `getaddrinfo` has found; none of them listens yet. Raises `OSError`.

    All have the same port, also where any will do.
    """
    tries = 1 if found[0][-1][1] else _TRIES
    while True:
        tries -= 1
        try:
            return _bound(found)
        except OSError as error:
            # The port that is free on the first address may be taken on the next.
            if error.errno != errno.EADDRINUSE or not tries:
                raise


def _bound(found: Sequence[tuple[Any, ...]]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    without: OSError | None = None
    try:
        for family, _, _, _, (host, number, *rest) in found:
            same = sockets[0].getsockname()[1] if sockets else number
            try:
                sockets.append(_one(family, (host, same, *rest)))
            except OSError as error:
                # A kernel without IPv6 still lists its addresses.
                if family != socket.AF_INET6 or error.errno not in _NO_IPV6:
                    raise
                without = error
        if not sockets and without is not None:
            raise without
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _one(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def finding(settings: Web, service: str) -> Finding | None:
    """Return what keeps the page from listening; None: nothing, or it is listening: `service` has the port itself."""
    host, _, port = settings.listen.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with contextlib.ExitStack() as stack:
            for probe in [stack.enter_context(sock) for sock in bound(found)]:
                probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _is_ours(int(port), service):
            return None
        what, remedy = trouble(error, settings.listen)
        return Finding("error", f"cannot listen on {settings.listen}: {what or error.strerror}", remedy)
    return None


def _is_ours(port: int, service: str) -> bool:
    """Whether the service that is checked has the port; who has it is visible to root and to the service's user."""
    if not service:
        return False
    users = _users(port)
    found = users or [process for process in procfs.others() if process.service]
    return any(process.service == service for process in found)


def _users(port: int) -> list[Process]:
    """Return who listens on a port, as far as this user may see."""
    sockets = [f"socket:[{inode}]" for inode in procfs.listening().get(port, ())]
    found = procfs.holders(sockets)
    return list({process.pid: process for name in sockets for process in found[name]}.values())


def _free(port: int) -> int:
    """Return a port that nobody listens on, the next one above if there is one."""
    used = procfs.listening()
    above = (other for other in range(max(port + 1, _FIRST_FREE), _LAST + 1) if other not in used)
    return next(above, 8080)
