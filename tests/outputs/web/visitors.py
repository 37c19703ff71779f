"""A service with a camera that can be unplugged, and plain sockets to visit its page with."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from makers import jpeg_frame
from makers import until as until

from picam_infer.config import Decide
from picam_infer.config import Web as Settings
from picam_infer.core import Frame, Pixels, Prediction, Result
from picam_infer.imaging import decode
from picam_infer.models.bundle import Edges
from picam_infer.outputs import annotate
from picam_infer.outputs.web.server import Web
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.state import Change, State, Tuning

LABELS = ("zero", "one", "two")


def scene(number: int, width: int = 320, height: int = 240) -> Pixels:
    """Return a picture whose brightness tells its number, with a mark at the top left."""
    image = np.full((height, width, 3), 40 + number % 160, np.uint8)
    cv2.circle(image, (width // 2 + number % 40 - 20, height // 2), 20, (200, 120, 40), -1)
    image[:40, :60] = (0, 0, 255)
    return image


class Run:
    """A state that a thread feeds with frames and results, as the loops would."""

    def __init__(self, fps: float = 30.0, size: tuple[int, int] = (320, 240), **frame: Any) -> None:
        self.state = State(Tuning(Edges(), Decide()), "digits", LABELS)
        self.state.source, self.state.engine = "test camera", "openvino:CPU"
        self.label: str | None = "one"
        self.labels: tuple[str, ...] = ()
        """The other classes in the list; empty: two of them."""
        self.top: tuple[Prediction, ...] = ()
        """Predictions instead of `label`: several classes, or values."""
        self.more = frame
        self.fps, self._size = fps, size
        self._stop, self._on, self._held = threading.Event(), threading.Event(), threading.Event()
        self._on.set()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def pull(self) -> None:
        """Pull the camera out."""
        self.hold()
        self.state.results.clear()
        self.state.health.mark_down("camera", "the camera has been unplugged", "plug it in again")

    def hold(self) -> None:
        """Stop the pictures, for no known reason."""
        self._on.clear()
        self._held.wait(5)

    def go_on(self) -> None:
        """Start the pictures again."""
        self._on.set()

    def plug(self) -> None:
        """Plug the camera in again."""
        self.state.health.mark_up("camera")
        self.go_on()

    def render(self, frame: Frame | None) -> Pixels | None:
        """Draw, as the service would."""
        if frame is None:
            return annotate.status_screen(320, 240, "camera lost") if self.state.health.problems else None
        newest = self.state.results.peek()
        return annotate.draw(decode.bgr(frame), newest[1] if newest else None, annotate.Annotation())

    def close(self) -> None:
        self._stop.set()
        self._on.set()
        self._thread.join(5)

    def _feed(self) -> None:
        number, before = 0, None
        while not self._stop.wait(1 / self.fps):
            if not self._on.is_set():
                self._held.set()
                self._on.wait()
                self._held.clear()
                continue
            number += 1
            frame = jpeg_frame(scene(number, *self._size), number, **self.more)
            self.state.stats.frames.tick()
            self.state.frames.put(frame)
            score = 0.9 if self.label else 0.3
            others = [x for x in self.labels or LABELS if x != self.label][: len(self.labels) or 2]
            top = (Prediction(self.label or "two", score), *(Prediction(x, (1 - score) / 2) for x in others))
            top = self.top or top
            score = top[0].score
            result = Result(
                number, frame.captured, frame.monotonic_s, self.label, score, top, "openvino:CPU", 3.2, 21, frame=frame
            )
            self.state.stats.inferences.tick()
            self.state.results.put(result)
            if self.label != before:
                self.state.announce(Change("label", frame.captured, label=self.label, previous=before, score=score,
                                           result=result, frame=frame))  # fmt: skip
                before = self.label


@contextlib.contextmanager
def serving(run: Run, settings: Settings | None = None, config_path: Path | None = None, **more: Any) -> Iterator[Web]:
    """Serve a run on a free port."""
    more.setdefault("runtime_settings", RuntimeSettings(run.state, config_path))
    with Web(settings or Settings(listen="127.0.0.1:0"), run.state, run.render, **more) as web:
        assert web.listening.wait(10), web.reason
        yield web


def ask(
    web: Web, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (lower case), body; header names take _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def ask_json(web: Web, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers.setdefault("Content_Type", "application/json")
    status, _, text = ask(web, path, method, data, **headers)
    return status, json.loads(text)


@contextlib.contextmanager
def watching(web: Web, path: str = "/stream.mjpg", **headers: str) -> Iterator[Iterator[tuple[dict[str, str], bytes]]]:
    """Yield the parts of a stream: headers (lower case) and JPEG."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        with answer:
            yield _parts(answer)
    finally:
        connection.close()


def _parts(answer: http.client.HTTPResponse) -> Iterator[tuple[dict[str, str], bytes]]:
    while line := answer.readline():
        assert line == b"--frame\r\n", line
        head: dict[str, str] = {}
        while (line := answer.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            head[name.lower()] = value
        yield head, answer.read(int(head["content-length"]))
        assert answer.read(2) == b"\r\n"


def own_address() -> str:
    """Return this machine's address in a network; empty when it has none but loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
    return "" if address.startswith("127.") else address


def make_certificate(folder: Path) -> tuple[str, str] | None:
    """Return cert and key made with openssl; None without it."""
    import shutil
    import subprocess

    if not shutil.which("openssl"):
        return None
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)  # fmt: skip
    return str(cert), str(key)
