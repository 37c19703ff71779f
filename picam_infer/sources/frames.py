"""What every source needs to make a frame: its two time stamps, and the size a JPEG declares."""

from __future__ import annotations

import time

import cv2
import numpy as np

from picam_infer.config import Capture
from picam_infer.core import BadFrame, Codec, Frame, Pixels
from picam_infer.imaging import jpeg_header
from picam_infer.imaging.limits import too_large

_TURN = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def make_frame(
    data: Pixels,
    codec: Codec,
    size: tuple[int, int],
    seq: int,
    capture: Capture,
    monotonic_s: float | None = None,
    name: str = "",
) -> Frame:
    """Return a frame of `size` (width, height in pixels), stamped now unless the sensor's `monotonic_s` is known.

    Raises `BadFrame` for a size that no decoder here takes on.
    """
    if excess := too_large(*size):
        raise BadFrame(f"frame {seq} is too large ({excess})")
    now_s = time.monotonic()
    stamp_s = now_s if monotonic_s is None else monotonic_s
    return Frame(
        data=data,
        codec=codec,
        width=size[0],
        height=size[1],
        monotonic_s=stamp_s,
        captured=time.time() - (now_s - stamp_s),
        seq=seq,
        rotate=capture.rotate,
        flip=capture.flip,
        name=name,
    )


def jpeg_size(data: Pixels) -> tuple[int, int] | None:
    """Return the width and height (pixels) that JPEG bytes (n,) declare; None: they declare none."""
    header = jpeg_header.read(data)
    return None if header is None or not header.scan_at else (header.width, header.height)


def upright_by(image: Pixels, turn: int) -> Pixels:
    """Return a picture (H, W, 3) turned by degrees clockwise: 0, 90, 180 or 270."""
    return np.asarray(cv2.rotate(image, _TURN[turn]), np.uint8) if turn in _TURN else image
