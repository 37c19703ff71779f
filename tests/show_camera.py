"""A network camera that shows what a test holds up: Motion JPEG over HTTP, like a cheap one's."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

Scene = Callable[[int], np.ndarray]
"""The number of a picture → BGR (H, W, 3)."""
FPS = 12


class ShowCamera:
    """Serves what `scene` paints until it is closed."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.opened = 0
        """How often somebody came for its pictures."""
        self.longest_s = 0.0
        """The longest time between two pictures that it sent; may be set back."""
        camera, self._stop = self, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=f")
                self.end_headers()
                number, sent_s = 0, time.monotonic()
                camera.opened += 1
                with contextlib.suppress(OSError):
                    while not camera._stop.wait(1 / FPS):
                        number += 1
                        data = cv2.imencode(".jpg", camera.scene(number), [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
                        head = f"--f\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                        self.wfile.write(head.encode() + data + b"\r\n")
                        now_s = time.monotonic()
                        camera.longest_s, sent_s = max(camera.longest_s, now_s - sent_s), now_s

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/stream.mjpg"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def show_camera(scene: Scene) -> Iterator[ShowCamera]:
    """Yield a camera, closed at the end."""
    camera = ShowCamera(scene)
    try:
        yield camera
    finally:
        camera.close()


def sheet(kind: str, width: int = 640, height: int = 480) -> Scene:
    """Return a sheet held by a hand, with a sign on it: circle, cross, bars; anything else: none."""

    def paint(number: int) -> np.ndarray:
        rng = np.random.default_rng(number + 7919 * time.monotonic_ns() % 1_000_003)
        image = np.full((height, width, 3), (214, 220, 222), np.uint8)
        x, y = np.array([width / 2, height / 2]) + rng.uniform(-10, 10, 2)
        size = height * rng.uniform(0.1, 0.13)
        _draw(image, kind, x, y, size, rng.uniform(-0.15, 0.15))
        noise = rng.integers(-6, 7, image.shape, np.int16)
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    return paint


def _draw(image: np.ndarray, kind: str, x: float, y: float, size: float, lean: float) -> None:
    ink, wide = (60, 40, 40), max(3, round(size / 7))

    def line(*points: tuple[float, float]) -> None:
        turn = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
        at = (np.array(points) @ turn.T * size + (x, y)).round().astype(np.int32)
        cv2.polylines(image, [at], False, ink, wide, cv2.LINE_AA)

    if kind == "circle":
        cv2.circle(image, (round(x), round(y)), round(size), ink, wide, cv2.LINE_AA)
    elif kind == "cross":
        line((-1, -1), (1, 1))
        line((1, -1), (-1, 1))
    elif kind == "bars":
        for at in (-0.8, 0, 0.8):
            line((at, -1), (at, 1))


def photos(folder: Path, width: int = 640, height: int = 480) -> Scene:
    """Return the pictures of a folder in turn, each filling the picture's height."""
    images = [image for path in sorted(folder.glob("*.png")) if (image := cv2.imread(str(path))) is not None]

    def paint(number: int) -> np.ndarray:
        picture = np.full((height, width, 3), 30, np.uint8)
        left = (width - height) // 2
        picture[:, left : left + height] = cv2.resize(images[number // 2 % len(images)], (height, height))
        noise = np.random.default_rng(number).integers(-3, 4, picture.shape, np.int16)
        return np.clip(picture + noise, 0, 255).astype(np.uint8)

    return paint
