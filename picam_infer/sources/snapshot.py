"""A camera that gives one picture at a time over HTTP: asked as often as the configuration says."""

from __future__ import annotations

import logging
import threading
import time

import numpy as np

from picam_infer.config import Capture
from picam_infer.core import BadFrame, Disconnected, Frame, NotYet, PicamError
from picam_infer.imaging.decode import whole_jpeg
from picam_infer.imaging.pictures import decode_picture
from picam_infer.sources import causes, http_client
from picam_infer.sources.frames import jpeg_size, make_frame
from picam_infer.sources.http_client import Endpoint, Reply
from picam_infer.sources.mjpeg import MAX_PART

log = logging.getLogger(__name__)

_HEARTBEAT_S = 2.0


class Snapshots:
    """Pictures of an address, one every `capture.every_s`."""

    live = True
    other_pictures = "look at the address in a browser: does it show a whole picture?"

    def __init__(self, camera: Endpoint, first: Reply, capture: Capture) -> None:
        """Take `first`, the answer that showed what the address is, for the first picture."""
        self._camera, self._asked = camera, capture
        self._reply: Reply | None = first
        self._due_s = time.monotonic()
        self._seq = 0
        self._seen: dict[str, str] = {}
        self._last = b""
        self._closed = threading.Event()
        self.patience_s = 3 * max(capture.every_s, camera.quiet_s)
        self.silence = Disconnected(f"{camera.name} sends no pictures", causes.CHECK)
        self.description = f"{camera.name} a picture every {capture.every_s:g} s"

    def read(self) -> Frame:
        """Return the next picture when it is due: codec jpeg, or bgr for other kinds. Raises as `Source.read`."""
        wait_s = self._due_s - time.monotonic()
        if wait_s > 0:
            if self._closed.wait(min(wait_s, _HEARTBEAT_S)):
                raise Disconnected(f"{self._camera.name} was closed")
            if wait_s > _HEARTBEAT_S:
                raise NotYet
        # From now, not from when it was due: a camera that is slower than asked is not rushed.
        self._due_s = time.monotonic() + self._asked.every_s
        data = self._fetched()
        seq, self._seq = self._seq, self._seq + 1
        return self._frame(data, seq)

    def _fetched(self) -> bytes:
        reply, self._reply = self._reply, None
        if reply is None:
            reply = http_client.ask(self._camera, self._seen)
        self._reply = reply  # so that `close` finds it
        try:
            if reply.status == 304:  # the same picture: it is still what the camera shows
                return self._last
            self._last = self._body(reply)
        finally:
            reply.close()
            self._reply = None
        known = {"If-None-Match": reply.headers.get("ETag"), "If-Modified-Since": reply.headers.get("Last-Modified")}
        self._seen = {name: value for name, value in known.items() if value}
        return self._last

    def _body(self, reply: Reply) -> bytes:
        data, until_s, wanted = bytearray(), time.monotonic() + 2 * self._camera.quiet_s, reply.length
        try:
            while wanted is None or len(data) < wanted:
                chunk = reply.read(until_s - time.monotonic())
                if not chunk:
                    break
                data += chunk
                if len(data) > MAX_PART:
                    raise Disconnected(
                        f"{self._camera.name} has no end", "use the address of a single picture or of a stream"
                    )
                if time.monotonic() > until_s:
                    raise TimeoutError
        except TimeoutError:
            raise Disconnected(f"{self._camera.name} does not answer", causes.CHECK) from None
        if self._closed.is_set():
            raise Disconnected(f"{self._camera.name} was closed")
        return bytes(data)

    def _frame(self, data: bytes, seq: int) -> Frame:
        raw, name = np.frombuffer(data, np.uint8), self._camera.name
        if data[:2] != b"\xff\xd8":
            try:
                image = decode_picture(data, name)
            except PicamError as error:
                self._seen = {}
                raise BadFrame(error.message) from error
            return make_frame(image, "bgr", (image.shape[1], image.shape[0]), seq, self._asked)
        size = jpeg_size(raw) if whole_jpeg(raw) else None
        if size is None:
            self._seen = {}  # the next one is wanted whole, changed or not
            raise BadFrame(f"picture {seq} is not a whole JPEG")
        if seq == 0:
            self.description = f"{name} {size[0]}×{size[1]} JPEG every {self._asked.every_s:g} s"
        return make_frame(raw, "jpeg", size, seq, self._asked)

    def close(self) -> None:
        """Stop asking, and wake a waiting reader."""
        self._closed.set()
        reply = self._reply
        if reply is not None:
            reply.close()
