"""A USB webcam through OpenCV's V4L2 back-end, its MJPG bytes untouched."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import cv2

from picam_infer.config import Capture
from picam_infer.core import BadFrame, Codec, Disconnected, Frame, Pixels, UsageError
from picam_infer.imaging.decode import whole_jpeg
from picam_infer.platform.paths import real
from picam_infer.runtime.camera_controls import Control, Number
from picam_infer.sources import v4l2
from picam_infer.sources.frames import jpeg_size, make_frame
from picam_infer.sources.thread_safe_capture import SELECT_TIMEOUT_S, ThreadSafeCapture
from picam_infer.sources.v4l2 import CameraInfo, Format, Roots
from picam_infer.sources.v4l2_controls import NodeControls

log = logging.getLogger(__name__)

BUFFERS = 2
"""One is filled while the other is read. More would only make pictures older; with one, every other one is missed."""
_OLDEST_STAMP_S = 10.0
_FIRST_TRIES = 10
_VANISHING_S = 0.5
_RAW: dict[str, Codec] = {"MJPG": "jpeg", "JPEG": "jpeg", "YUYV": "yuyv", "GREY": "grey"}

found_before: dict[str, CameraInfo] = {}
"""The camera that each address led to last, so that it is found again under another number."""


class Camera:
    """One webcam, found by its identity. Opening delivers the first picture, so that a camera that opens also works."""

    live = True

    def __init__(self, address: str, capture: Capture, roots: Roots = Roots()) -> None:  # noqa: B008
        """Open the camera that `address` means. Raises `Disconnected` with the reason and the remedy."""
        self._asked, self._roots = capture, roots
        self.info = found_before[address] = find(address, roots)
        self._settings = NodeControls(self.info.node)
        self._capture = ThreadSafeCapture(self.info.path, cv2.CAP_V4L2)
        try:
            if not self._capture.opened:
                raise self._why(capture.format.upper())
            self._set_up()
            self._first: Frame | None = self._first_frame()
        except BaseException:
            self._capture.close()
            raise
        self._describe()

    # -- opening ---------------------------------------------------------

    def _set_up(self) -> None:
        capture, asked = self._capture, self._asked
        for fourcc in preferred(asked, v4l2.formats(self.info.node)):
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc))
            self._fourcc = self._granted_fourcc()
            if self._fourcc == fourcc:
                break
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, asked.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, asked.height)
        capture.set(cv2.CAP_PROP_FPS, asked.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, BUFFERS)
        self._fourcc = self._granted_fourcc()
        self._codec: Codec = _RAW.get(self._fourcc, "bgr")
        if self._codec != "bgr" and not capture.set(cv2.CAP_PROP_CONVERT_RGB, 0):
            self._codec = "bgr"
        self._size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        self._fps = capture.get(cv2.CAP_PROP_FPS)
        self._seq = 0

    def _granted_fourcc(self) -> str:
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        return code.to_bytes(4, "little").decode("latin-1").strip()

    def _first_frame(self) -> Frame:
        # Many webcams begin with a damaged picture. The first whole JPEG tells the actual size.
        # Some need more than one time-out to start.
        for attempt in range(_FIRST_TRIES):
            image = self._grab(patience=2 if attempt == 0 else 1)
            if self._codec == "jpeg" and whole_jpeg(image):
                self._size = jpeg_size(image) or self._size
            try:
                return self._frame(image)
            except BadFrame:
                continue
        raise Disconnected(
            f"{self.info.name} sends damaged pictures only", "try another port or cable, or a smaller size"
        )

    def _describe(self) -> None:
        width, height = self._size
        self.description = f"{self.info.name} {width}×{height} {self._fourcc} {self._fps:.3g} fps"
        asked = self._asked
        if (width, height) != (asked.width, asked.height) or round(self._fps) != asked.fps:
            log.info("%s granted instead of %d×%d at %d fps", self.description, asked.width, asked.height, asked.fps)
        else:
            log.info("%s", self.description)

    # -- reading ---------------------------------------------------------

    def read(self) -> Frame:
        """Return the next picture: jpeg, yuyv, grey or bgr. Raises `Disconnected`, or `BadFrame` if it is truncated."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._frame(self._grab())

    def _grab(self, patience: int = 1) -> Pixels:
        waited_s = 0.0
        for _ in range(patience):
            began_s = time.monotonic()
            image = self._capture.read()
            if image is not None:
                return image.reshape(-1) if self._codec == "jpeg" else image
            waited_s = time.monotonic() - began_s
            if not _timed_out(waited_s):
                break
        if self._capture.closed:
            raise Disconnected(f"{self.info.name} was closed")
        raise self._gone(waited_s)

    def _frame(self, image: Pixels) -> Frame:
        width, height = self._size
        seq, self._seq = self._seq, self._seq + 1
        if self._codec == "jpeg":
            if not whole_jpeg(image):
                raise BadFrame(f"frame {seq} is truncated ({image.size} bytes)")
            if jpeg_size(image) != self._size:
                raise BadFrame(f"frame {seq} is not {width}×{height}")
        elif image.shape[:2] != (height, width):
            raise BadFrame(f"frame {seq} has the shape {image.shape}")
        return make_frame(image, self._codec, self._size, seq, self._asked, self._stamp_s())

    def _stamp_s(self) -> float | None:
        # CLOCK_MONOTONIC from UVC and most others; some drivers send zero or another clock.
        stamp_s, now_s = self._capture.position_ms / 1e3, time.monotonic()
        return stamp_s if stamp_s > 0 and 0 <= now_s - stamp_s < _OLDEST_STAMP_S else None

    def controls(self) -> Sequence[Control]:
        """Return the camera's own settings. Raises `OSError` when it is gone."""
        return self._settings.controls()

    def set_control(self, control: Control, value: Number) -> None:
        """Set one of them. Raises `OSError` when the driver refuses."""
        self._settings.set_control(control, value)

    def close(self) -> None:
        """Release the camera; a thread that hangs in `read` does so itself when it returns. Never waits."""
        self._capture.close()

    # -- losing ----------------------------------------------------------

    def _gone(self, waited_s: float) -> Disconnected:
        if _timed_out(waited_s) and Path(self.info.path).exists():
            return Disconnected(
                f"no picture for {SELECT_TIMEOUT_S} s",
                "the camera is plugged in but sends nothing: replug it, or try another port or cable",
            )
        # The read fails a moment before the node goes away.
        until_s = time.monotonic() + _VANISHING_S
        while Path(self.info.path).exists():
            if time.monotonic() > until_s:
                self._capture.close()
                return self._why(self._fourcc)
            time.sleep(0.02)
        return v4l2.unplugged(self.info.name)

    def _why(self, fourcc: str) -> Disconnected:
        width, height = self._asked.width, self._asked.height
        return v4l2.explain(self.info, v4l2.start_error(self.info.node, fourcc, width, height), self._roots)


def _timed_out(waited_s: float) -> bool:
    return waited_s > 0.9 * SELECT_TIMEOUT_S


def find(address: str, roots: Roots = Roots()) -> CameraInfo:  # noqa: B008
    """Return the camera that `camera`, `camera:NAME`, `camera:usb:VID:PID` or a path in /dev means.

    The one that the address led to last comes first, whatever its number is now. Raises `Disconnected`, `UsageError`.
    """
    while True:
        chosen = _choose(address, roots)
        if not v4l2.is_settling(chosen):
            return chosen
        time.sleep(0.05)


def _choose(address: str, roots: Roots) -> CameraInfo:
    cameras, known = v4l2.discover(roots), found_before.get(address)
    again = next((c for c in cameras if known and _same(c, known)), None)
    if address == "camera":
        chosen = again or next(iter(cameras), None)
    elif address.startswith("camera:"):
        wanted = address.removeprefix("camera:").strip()
        if not wanted:
            raise UsageError("camera: needs a name", "such as camera:C270 or camera:usb:046d:0825")
        chosen = again or next((c for c in cameras if v4l2.matches(c, wanted)), None)
    else:
        node = real(Path(address))
        chosen = again or next((c for c in cameras if real(Path(c.node)) == node), None)
    if chosen is not None:
        return chosen
    raise v4l2.unplugged(known.name) if known else v4l2.none_found(address.removeprefix("camera").lstrip(":"), roots)


def _same(camera: CameraInfo, known: CameraInfo) -> bool:
    if known.by_id:
        return camera.by_id == known.by_id
    return (camera.name, camera.usb_id, camera.serial) == (known.name, known.usb_id, known.serial)


def preferred(capture: Capture, offered: Sequence[Format]) -> list[str]:
    """Return FOURCCs in the order to ask for them, best first.

    `any`: the first that reaches size and rate, uncompressed (no decoding, but little fits through USB) before JPEG.
    """
    names = [f.fourcc for f in offered]
    jpegs = [name for name in ("MJPG", "JPEG") if name in names] or ["MJPG"]
    raws = [name for name in ("YUYV",) if name in names or not names]
    order = [*jpegs, *raws] if capture.format == "mjpg" else [*(raws or ["YUYV"]), *jpegs]
    if capture.format == "any":
        order.sort(key=lambda name: not _reaches(capture, name, offered))
    return order + [name for name in names if name not in order]


def _reaches(capture: Capture, fourcc: str, offered: Sequence[Format]) -> bool:
    modes = [m for f in offered if f.fourcc == fourcc for m in f.modes]
    rates = [m.rates for m in modes if (m.width, m.height) == (capture.width, capture.height)]
    return any(rate >= capture.fps - 0.1 for r in rates for rate in r)
