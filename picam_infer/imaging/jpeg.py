"""A frame as a JPEG that any program opens the right way up, without decoding the camera's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np

from picam_infer.core import BadFrame, Frame, Pixels
from picam_infer.imaging import decode, jpeg_header

DHT, _APP1 = 0xC4, 0xE1
# (rotate, then flip) → the EXIF orientation with the same effect (CIPA DC-008, tag 0x0112).
_ORIENTATION = {
    (0, "none"): 1, (90, "none"): 6, (180, "none"): 3, (270, "none"): 8,
    (0, "horizontal"): 2, (90, "horizontal"): 5, (180, "horizontal"): 4, (270, "horizontal"): 7,
    (0, "vertical"): 4, (90, "vertical"): 7, (180, "vertical"): 2, (270, "vertical"): 5,
    (0, "both"): 3, (90, "both"): 8, (180, "both"): 1, (270, "both"): 6,
}  # fmt: skip


def portable(frame: Frame) -> bytes:
    """Return a complete JPEG of the frame: the camera's own bytes if it sent a JPEG, otherwise encoded here.

    The camera's picture stays as it is; only missing parts are added to its header: the Huffman tables that UVC cameras
    leave out, and the orientation. Raises `BadFrame`.
    """
    if frame.codec != "jpeg":
        return encode(decode.bgr(frame), 92)
    if not decode.whole_jpeg(frame.data):
        raise BadFrame(f"frame {frame.seq} is not a whole JPEG")
    data = frame.data.tobytes()
    kinds = {kind for kind, _ in segments(data)}
    head = b""
    orientation = _ORIENTATION[frame.rotate, frame.flip]
    if orientation != 1:
        head += _exif(orientation)
    if DHT not in kinds:
        head += _huffman_tables()
    return data[:2] + head + data[2:] if head else data


def encode(image: Pixels, quality: int) -> bytes:
    """Return BGR (H, W, 3) as a JPEG; quality 1…100."""
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, segment with its marker) up to the start of the scan."""
    for kind, at, end in jpeg_header.markers(data):
        if kind == jpeg_header.SOS:
            return
        yield kind, data[at:end]


@lru_cache(maxsize=1)
def _huffman_tables() -> bytes:
    # The standard's own (annex K.3), which cameras mean when they send none and OpenCV writes unless asked to optimise.
    sample = encode(np.zeros((16, 16, 3), np.uint8), 90)
    return b"".join(segment for kind, segment in segments(sample) if kind == DHT)


@lru_cache(maxsize=8)
def _exif(orientation: int) -> bytes:
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, orientation, 0, 0])
    body = b"Exif\0\0" + b"MM\0*\0\0\0\x08" + b"\0\x01" + entry + b"\0\0\0\0"
    return bytes([0xFF, _APP1]) + (len(body) + 2).to_bytes(2, "big") + body
