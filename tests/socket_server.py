"""A server on the loopback whose every byte a test decides: real sockets, no protocol of its own."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType

Serve = Callable[["Caller"], object]


class Caller:
    """One connection, as the server sees it."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.socket, self.over = sock, over
        self.lines = sock.makefile("rb")

    def request(self) -> str:
        """Return the next request's head; empty when the caller hung up."""
        head = b""
        while (line := self.lines.readline()) not in (b"", b"\r\n", b"\n"):
            head += line
        return head.decode("latin-1")

    def body(self, head: str) -> bytes:
        """Return the body that a request's head announces."""
        length = re.search(r"^content-length: (\d+)", head, re.IGNORECASE | re.MULTILINE)
        return self.lines.read(int(length[1])) if length else b""

    def reset(self) -> None:
        """Hang up with a reset (RST) instead of an end (FIN), as the kernel does when something was left unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.lines.close()
        self.socket.close()

    def send(self, *pieces: bytes | str) -> None:
        self.socket.sendall(b"".join(p.encode() if isinstance(p, str) else p for p in pieces))

    def http(self, kind: str = "", body: bytes = b"", status: str = "200 OK", **headers: str) -> None:
        named = {"Content-Type": kind, **{key.replace("_", "-"): value for key, value in headers.items()}}
        lines = [f"HTTP/1.1 {status}", *(f"{key}: {value}" for key, value in named.items() if value)]
        self.send("\r\n".join(lines), "\r\n\r\n", body)


class SocketServer:
    """Calls `serve` for each connection, in a thread of its own; `most`: no more connections than that."""

    def __init__(
        self, serve: Serve, most: int | None = None, context: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self.listener.getsockname()[1])
        self.over = threading.Event()
        self.callers = 0
        self.heard: list[str] = []
        self._serve, self._most, self._context = serve, most, context
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while self._most is None or self.callers < self._most:
                sock, _ = self.listener.accept()
                self.callers += 1
                threading.Thread(target=self._talk, args=(sock,), daemon=True).start()
            self.listener.close()

    def _talk(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), sock:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._open.append(sock)
            self._serve(Caller(sock, self.over))

    def __enter__(self) -> SocketServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # closing alone leaves the port to the thread that waits in it
        self.listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
