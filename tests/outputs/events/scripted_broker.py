"""An MQTT broker on a real socket that answers as a test says: for what mosquitto cannot be made to say."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _SUBSCRIBE, _SUBACK, _DISCONNECT = 1, 2, 3, 4, 8, 9, 14


@dataclass(frozen=True)
class Published:
    """One PUBLISH packet."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class HangUp(Exception):
    """Raised by a script: end the connection; with a reason code, after a DISCONNECT."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__()
        self.code = code


class ScriptedBroker(socketserver.ThreadingTCPServer):
    """`answer(published)` returns PUBACK's reason code, or raises `HangUp`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.port = self.server_address[1]
        self.answer: Callable[[Published], int] = lambda published: 0
        self.properties = b""
        """CONNACK's."""
        self.connack = 0
        self.only_v3 = False
        self.got: list[Published] = []
        self.connections = 0

    def of(self, ending: str) -> list[Published]:
        return [one for one in list(self.got) if one.topic.endswith(ending)]


class _Connection(socketserver.BaseRequestHandler):
    server: ScriptedBroker
    request: socket.socket

    def handle(self) -> None:
        try:
            for kind, flags, body in self._packets():
                self._take(kind, flags, body)
        except HangUp as end:
            if end.code is not None:
                self._send(_DISCONNECT << 4, bytes([end.code, 0]))
        except OSError:
            pass

    def _take(self, kind: int, flags: int, body: bytes) -> None:
        if kind == _CONNECT:
            self.server.connections += 1
            self.version = body[6]
            if self.server.only_v3 and self.version == 5:
                self._send(_CONNACK << 4, b"\0\1")
                raise HangUp
            properties = bytes([len(self.server.properties)]) + self.server.properties if self.version == 5 else b""
            self._send(_CONNACK << 4, bytes([0, self.server.connack]) + properties)
        elif kind == _SUBSCRIBE:
            self._send(_SUBACK << 4, body[:2] + (b"\0" if self.version == 5 else b"") + b"\1" * self._filters(body))
        elif kind == _PUBLISH:
            self._published(flags, body)
        elif kind == _DISCONNECT:
            raise HangUp

    def _published(self, flags: int, body: bytes) -> None:
        size = struct.unpack(">H", body[:2])[0]
        topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
        qos, number = flags >> 1 & 3, b""
        if qos:
            number, rest = rest[:2], rest[2:]
        if self.version == 5:
            rest = rest[1 + rest[0] :]
        one = Published(topic, rest, qos, bool(flags & 1))
        code = self.server.answer(one)
        self.server.got.append(one)
        if qos:
            self._send(_PUBACK << 4, number + (bytes([code, 0]) if self.version == 5 else b""))

    def _filters(self, body: bytes) -> int:
        at, count = 2 + (1 + body[2] if self.version == 5 else 0), 0
        while at < len(body):
            at += 2 + struct.unpack(">H", body[at : at + 2])[0] + 1
            count += 1
        return count

    def _packets(self) -> Iterator[tuple[int, int, bytes]]:
        file = self.request.makefile("rb")
        while head := file.read(1):
            size, shift = 0, 0
            while True:
                byte = file.read(1)[0]
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            yield head[0] >> 4, head[0] & 15, file.read(size)

    def _send(self, head: int, body: bytes) -> None:
        self.request.sendall(bytes([head, len(body)]) + body)


@contextmanager
def scripted() -> Iterator[ScriptedBroker]:
    broker = ScriptedBroker()
    threading.Thread(target=broker.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield broker
    finally:
        broker.shutdown()
        broker.server_close()
