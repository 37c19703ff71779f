"""Picture files for a browser: small ones of any kind, and whole ones as JPEG where it does not know the format."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from picam_infer.core import BadFrame, PicamError, Pixels
from picam_infer.imaging import decode, jpeg, jpeg_header, pictures

SHOWN = {".jpg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp"}
"""What every browser shows by itself: the suffix by content, and its media type."""
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_MOST_REDUCED_PX = 100_000_000
_whole = threading.Lock()
"""Held while a picture is decoded whole: a browser asks for several at once, and each may take hundreds of MB."""


def for_browser(data: bytes) -> bytes:
    """Return a picture file as it is where browsers show its format, otherwise as a JPEG. Raises `BadFrame`."""
    if pictures.suffix_of(data) in SHOWN:
        return data
    with _whole:
        return jpeg.encode(_decoded(data), 92)


def thumbnail(data: bytes, width: int) -> bytes:
    """Return any picture file as a JPEG of at most `width` pixels in width, the right way up. Raises `BadFrame`."""
    image = _reduced(data, width)
    if image is None:
        with _whole:
            image = _narrowed(_decoded(data), width)
    return jpeg.encode(_narrowed(image, width), 80)


def _reduced(data: bytes, width: int) -> Pixels | None:
    """Return a JPEG decoded at half, a quarter or an eighth of its size, which is correspondingly cheaper.

    None: it is not a whole JPEG, or it is too small for that.
    """
    packed = np.frombuffer(data, np.uint8)
    header = jpeg_header.read(data) if data[:2] == b"\xff\xd8" and decode.whole_jpeg(packed) else None
    if header is None or header.width * header.height * header.copies > _MOST_REDUCED_PX:
        return None
    side = min(header.width, header.height)  # either may be its width once it is upright
    flag = next((flag for n, flag in _REDUCED.items() if side >= n * width), None)
    return None if flag is None else cv2.imdecode(packed, flag)


def _decoded(data: bytes) -> Pixels:
    try:
        return pictures.decode_picture(data, "the picture")
    except PicamError as error:
        raise BadFrame(str(error)) from error


def _narrowed(image: Pixels, width: int) -> Pixels:
    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    small: Pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small
