"""Limits connections: how many there are, and how long they may be idle."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

from aiohttp import web

from picam_infer.outputs.web.access import Access
from picam_infer.outputs.web.connection import Connection
from picam_infer.outputs.web.visitor import is_local

_ROOM = 65536
"""Bytes that may wait unsent in the kernel; with more, pictures would arrive late."""


class ConnectionLimiter:
    """Makes the connections of a server. The event loop's thread uses it.

    The web library waits for a request's first line and headers without limit; here a connection that has no request
    under way is cut after `patience_s`, and earlier when there are too many.
    """

    def __init__(self, limit: int, patience_s: float) -> None:
        self._server: web.Server | None = None
        self._access: Access | None = None
        self._limit = limit
        self._patience_s = patience_s
        self._idle: dict[web.RequestHandler, float] = {}
        self._busy: set[web.RequestHandler] = set()
        self._doomed: dict[web.RequestHandler, float] = {}
        """Connections to cut as soon as they are fully set up."""

    def take(self, server: web.Server, access: Access) -> None:
        """Make a server's connections from now on."""
        self._server, self._access = server, access

    @property
    def connections(self) -> int:
        """The number of connections."""
        return len(self._idle) + len(self._busy)

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        if self.connections >= self._limit:
            self._forget_gone()
        if self.connections >= self._limit and not self._cut_oldest():
            return _Full()
        assert self._server is not None and self._access is not None
        protocol = Connection(self._access, self._server, asyncio.get_running_loop())
        self._idle[protocol] = asyncio.get_running_loop().time()
        return protocol

    @contextlib.contextmanager
    def serving(self, request: web.Request) -> Iterator[None]:
        """Count a connection as busy while its request is being answered."""
        protocol = request.protocol
        self._idle.pop(protocol, None)
        self._doomed.pop(protocol, None)
        self._busy.add(protocol)
        connection = request.transport.get_extra_info("socket") if request.transport else None
        if connection is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _ROOM)
        try:
            yield
        finally:
            self._busy.discard(protocol)
            if protocol.transport is not None:
                self._idle[protocol] = asyncio.get_running_loop().time()

    def cut_remote(self) -> None:
        """Cut the connections of visitors from other machines, even during an answer."""
        for protocol in self._server.connections if self._server else ():
            transport = protocol.transport
            name = transport.get_extra_info("peername") if transport is not None else None
            if transport is not None and isinstance(name, tuple) and not is_local(str(name[0])):
                transport.abort()

    async def watch(self) -> None:
        """Cut idle connections, until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._patience_s / 4))
            for protocol, since_s in tuple(self._doomed.items()):
                if protocol.transport is not None:
                    protocol.transport.abort()
                if protocol.transport is not None or since_s < asyncio.get_running_loop().time() - self._patience_s:
                    del self._doomed[protocol]
            if self._idle:
                self._forget_gone()
                until_s = asyncio.get_running_loop().time() - self._patience_s
                for protocol in [p for p, since_s in self._idle.items() if since_s < until_s]:
                    self._cut(protocol)

    def _forget_gone(self) -> None:
        live = set(self._server.connections) if self._server else set()
        # During the TLS handshake, which has its own time limit, a connection does not count yet.
        until_s = asyncio.get_running_loop().time() - self._patience_s
        for protocol in [p for p, since_s in self._idle.items() if p not in live and since_s < until_s]:
            del self._idle[protocol]
        for protocol in [p for p in self._idle if p in live and p.transport is None]:
            del self._idle[protocol]

    def _cut_oldest(self) -> bool:
        oldest = next(iter(self._idle), None)
        if oldest is not None:
            self._cut(oldest)
        return oldest is not None

    def _cut(self, protocol: web.RequestHandler) -> None:
        del self._idle[protocol]
        if protocol.transport is not None:
            protocol.transport.abort()
        else:
            self._doomed[protocol] = asyncio.get_running_loop().time()


class _Full(asyncio.Protocol):
    """Answers that there are too many connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            transport.close()
