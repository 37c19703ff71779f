"""What listens on a port: gRPC or HTTP, plain or through TLS. Only `check` asks; the engine relies on its settings."""

from __future__ import annotations

import contextlib
import socket
import ssl

from picam_infer.inference.engines.remote.address import Address

NAMES = {"grpc": "gRPC", "grpcs": "gRPC over TLS", "http": "HTTP", "https": "HTTP over TLS"}
_GRPC_ALPN = ["h2"]
_LIMIT_S, _NEXT_S = 2.0, 0.5
# See RFC 9113, sections 3.4 and 4.1: how a client begins, and where a frame says what it is.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_TYPE_AT, _SETTINGS = 3, 4
_REFUSED = b"HTTP/1.1 400"
_ENOUGH = 4096


def scheme(where: Address, deadline_s: float) -> str:
    """Return the scheme of what listens there, that of the address first; empty: nothing that is known."""
    limit_s = min(deadline_s, _LIMIT_S)
    for encrypted in (where.encrypted, not where.encrypted):
        for grpc in (where.grpc, not where.grpc):
            with contextlib.suppress(OSError):  # it hung up, or is waiting for another protocol
                if _speaks(where, grpc, encrypted, limit_s):
                    return ("grpc" if grpc else "http") + ("s" if encrypted else "")
            limit_s = min(limit_s, _NEXT_S)
    return ""


def _speaks(where: Address, grpc: bool, encrypted: bool, limit_s: float) -> bool:
    with socket.create_connection((where.host, where.port), limit_s) as sock:
        if not encrypted:
            return _begins(sock, where, grpc)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # trust is checked elsewhere
        if grpc:
            context.set_alpn_protocols(_GRPC_ALPN)
        with context.wrap_socket(sock, server_hostname=where.host) as secure:
            return _begins(secure, where, grpc)


def _begins(sock: socket.socket, where: Address, grpc: bool) -> bool:
    """Whether it answers the first words of a client as such a server does."""
    path = f"{where.path}/" if where.path else ""
    sock.sendall(
        _PREFACE
        if grpc
        else f"GET /{path}v2/health/live HTTP/1.1\r\nHost: {where.place}\r\nConnection: close\r\n\r\n".encode()
    )
    said = b""
    while len(said) < _ENOUGH and (more := sock.recv(_ENOUGH)):
        said += more
        if grpc and len(said) > _TYPE_AT:
            return said[_TYPE_AT] == _SETTINGS
        if not grpc and b"\r\n\r\n" in said and not said.startswith(_REFUSED):
            return said.startswith(b"HTTP/1")
    # nginx answers so on a port that is encrypted.
    return not grpc and said.startswith(b"HTTP/1") and b"HTTPS port" not in said
