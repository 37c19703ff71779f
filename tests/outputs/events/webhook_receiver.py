"""A real HTTP server that takes what is posted to it, and answers as a test says: with a status, late or in crumbs."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

ELSEWHERE = "http://127.0.0.1:9/elsewhere"


class Receiver(ThreadingHTTPServer):
    """Answers as `plan` says: a status, `hang`, or `trickle`; the last one again and again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        """Headers (lower case, and `:path`) and body of each request."""
        self.plan: list[int | str] = [200]
        self.headers: dict[str, str] = {}
        self.answers: dict[str, Any] | None = None
        """JSON in the body of each answer; None: it is empty."""
        self.largest = 1_000_000
        """Bytes; what is more is answered with 413."""
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/hook?to=me"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was posted, as JSON."""
        return [json.loads(body) for _, body in self.got]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()

    def __enter__(self) -> Self:
        return self


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({":path": self.path, **{k.lower(): v for k, v in self.headers.items()}}, body))
        step = self.server.plan.pop(0) if len(self.server.plan) > 1 else self.server.plan[0]
        if step == "hang":
            self.server.released.wait(20)
            return
        if step == "trickle":
            for _ in range(100):
                if self.server.released.wait(0.1):
                    return
                self.wfile.write(b"H")
        self._answer(413 if len(body) > self.server.largest else int(step), self.server.headers)

    def do_OPTIONS(self) -> None:
        self._answer(int(self.server.plan[0]), {})

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        body = b"" if self.server.answers is None else json.dumps(self.server.answers).encode()
        self.send_response(status)
        for name, value in {**headers, "Location": ELSEWHERE, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass
