"""From a raw frame to pixels, decoding no more than is asked for."""

from __future__ import annotations

import importlib
from functools import lru_cache
from types import ModuleType

import cv2
import numpy as np

from picam_infer.core import BadFrame, Frame, Pixels
from picam_infer.imaging import jpeg_header, native_stderr, region
from picam_infer.imaging.jpeg_header import Header
from picam_infer.imaging.limits import too_large
from picam_infer.imaging.region import Aspect, Box, Roi


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


simplejpeg = _optional("simplejpeg")
"""libjpeg-turbo; None: there is no wheel for this machine, and OpenCV decodes everything."""
_GREY = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_COLOUR = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_TURN = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_FLIP = {"horizontal": 1, "vertical": 0, "both": -1}
_WARY = 100
"""How many pictures the strict decoder skips after one that it refused."""
_wary = 0
"""How many of them are left. Threads may miscount: then it is tried a little sooner or later."""


def whole_jpeg(data: Pixels) -> bool:
    """Tell whether bytes (n,) start and end like a JPEG; zeros and line endings after it are common and allowed.

    Decoders fill a truncated picture with grey and only print a warning, so this is checked first.
    """
    return _end(data) is not None


def _end(data: Pixels) -> int | None:
    """Return where the end marker of a whole JPEG is."""
    if data.size < 128 or data[0] != 0xFF or data[1] != 0xD8:
        return None
    if data[-2] == 0xFF and data[-1] == 0xD9:
        return len(data) - 2
    tail = data[-8192:].tobytes().rstrip(b"\0\r\n")
    return len(data) - min(len(data), 8192) + len(tail) - 2 if tail.endswith(b"\xff\xd9") else None


def size(frame: Frame) -> tuple[int, int]:
    """Return width, height in pixels after rotation."""
    return region.upright_size(frame, frame.width, frame.height)


def bgr(frame: Frame, copy: bool = True) -> Pixels:
    """Return the whole picture the right way up, (H, W, 3) uint8. Raises `BadFrame`.

    The caller may draw on it, unless `copy` is False: then it may be the frame's own pixels.
    """
    if frame.codec == "jpeg":
        image = _whole_colour(frame, _head(frame), 1)
    elif frame.codec == "yuyv":
        image = cv2.cvtColor(frame.data, cv2.COLOR_YUV2BGR_YUYV)
    elif frame.codec == "grey":
        image = cv2.cvtColor(frame.data, cv2.COLOR_GRAY2BGR)
    else:
        image = frame.data
    image = upright(image, frame)
    return image.copy() if copy and image is frame.data else image


def grey_square(frame: Frame, roi: Roi, at_least_px: int) -> Pixels:
    """Return the square that `roi` means, (S, S) uint8, decoded so that S ≥ `at_least_px` if it can.

    Raises `BadFrame`.
    """
    if frame.codec == "jpeg":
        image = _jpeg_part(frame, roi, _GREY, (at_least_px, at_least_px))
    elif frame.codec == "yuyv":
        image = np.ascontiguousarray(_part(frame.data, frame, roi)[:, :, 0])
    elif frame.codec == "grey":
        image = _part(frame.data, frame, roi)
    else:
        image = cv2.cvtColor(_part(frame.data, frame, roi), cv2.COLOR_BGR2GRAY)
    return upright(image, frame)


def bgr_part(frame: Frame, roi: Roi, at_least_px: tuple[int, int], aspect: Aspect = 1.0) -> Pixels:
    """Return the part of those proportions, (H, W, 3) uint8, decoded to at least (width, height) if it can be.

    Raises `BadFrame`.
    """
    if frame.codec == "jpeg":
        image = _jpeg_part(frame, roi, _COLOUR, at_least_px, aspect)
    elif frame.codec == "yuyv":
        image = cv2.cvtColor(_part(frame.data, frame, roi, aspect), cv2.COLOR_YUV2BGR_YUYV)
    elif frame.codec == "grey":
        image = cv2.cvtColor(_part(frame.data, frame, roi, aspect), cv2.COLOR_GRAY2BGR)
    else:
        image = _part(frame.data, frame, roi, aspect)
    return upright(image, frame)


def jpeg_bgr(frame: Frame, reduction: int = 1) -> Pixels:
    """Return a JPEG frame's whole picture as it came, (H, W, 3) uint8; 1/`reduction` of its size: 1, 2, 4 or 8.

    The fastest way: colours may change more abruptly than in the result of `bgr`. Raises `BadFrame`.
    """
    return _whole_colour(frame, _head(frame), reduction, quick=True)


def _whole_colour(frame: Frame, header: Header, reduction: int, quick: bool = False) -> Pixels:
    """Return the whole picture at 1/`reduction` of its size; unless `quick`, exactly what OpenCV gives."""
    global _wary
    if simplejpeg is not None and header.components == 3 and _one_scan(header):
        if _wary <= 0:
            try:
                return _strictly(frame.data, header, reduction, quick)
            except (ValueError, RuntimeError):  # damage: OpenCV works around it, and its warnings are counted
                _wary = _WARY
        _wary -= 1
    return _unpacked(frame, frame.data, _COLOUR[reduction])


def _strictly(data: Pixels, header: Header, reduction: int, quick: bool) -> Pixels:
    """Decode with libjpeg-turbo, which is cheaper for colour. Raises `ValueError` for anything unusual."""
    assert simplejpeg is not None
    # The smallest of the decoder's sizes that has these many pixels.
    width, height = -(-header.width // reduction), -(-header.height // reduction)
    # Its fast transform would save another 8 %, but shifts colours by a grey level or more, which affects networks.
    image: Pixels = simplejpeg.decode_jpeg(data, "BGR", fastupsample=quick, min_width=width, min_height=height)
    return image


def _head(frame: Frame) -> Header:
    """Return what a JPEG frame declares. Raises `BadFrame` before any memory is taken for its pixels."""
    header = jpeg_header.read(frame.data) if whole_jpeg(frame.data) else None
    if header is None:
        raise BadFrame(f"frame {frame.seq} is not a whole JPEG")
    if excess := too_large(header.width, header.height, header.copies):
        raise BadFrame(f"frame {frame.seq} is too large ({excess})")
    return header


def _unpacked(frame: Frame, data: Pixels, flags: int) -> Pixels:
    try:
        with native_stderr.taken():
            # The camera's rotation is in `rotate`; a tag inside the JPEG would apply it twice.
            image: Pixels | None = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise BadFrame(f"frame {frame.seq} cannot be decoded") from error
    if image is None:
        raise BadFrame(f"frame {frame.seq} cannot be decoded")
    return image


def _jpeg_part(
    frame: Frame, roi: Roi, flags: dict[int, int], at_least_px: tuple[int, int], aspect: Aspect = 1.0
) -> Pixels:
    """Return a part of a JPEG frame, decoding the picture only down to its last row.

    In the middle, a third of the rows lie below the square, and unpacking Huffman codes is most of the work. Rows are
    coded from the top down: given a smaller height, the decoder leaves out the rest.
    """
    header = _head(frame)
    reduced = reduction(frame, roi, at_least_px, aspect)
    if not _top_down_once(header):
        image = _all(frame, header, flags, reduced)
        return _cut(image, region.raw_box(roi, frame, image.shape[1], image.shape[0], aspect))
    part = region.raw_box(roi, frame, -(-header.width // reduced), -(-header.height // reduced), aspect)
    # A block has sixteen rows at most; the blocks below lend a colour decoder their chroma.
    rows = ((part.y + part.height) * reduced + 31) & ~15
    if rows >= header.height:
        return _cut(_all(frame, header, flags, reduced), part)
    complaints = native_stderr.complaints()
    # Without the end marker: the decoder would look for it and warn about the bytes before it.
    at, data = header.height_at, frame.data[: _end(frame.data)].copy()
    data[at], data[at + 1] = rows >> 8, rows & 0xFF
    image = _unpacked(frame, data, flags[reduced])
    if native_stderr.complaints() > complaints and _holds_another(data, header):
        native_stderr.forget(complaints)
    return _cut(image, part)


def _all(frame: Frame, header: Header, flags: dict[int, int], reduction: int) -> Pixels:
    """Return all of a picture in grey or colour, exactly what OpenCV gives."""
    if flags is _COLOUR:
        return _whole_colour(frame, header, reduction)
    return _unpacked(frame, frame.data, flags[reduction])


def _top_down_once(header: Header) -> bool:
    """Tell whether the rows are coded just once, with Huffman codes, from the top down."""
    # Restart markers in the rest would be taken for the end.
    return _one_scan(header) and not header.restarts


def _one_scan(header: Header) -> bool:
    """Tell whether the picture is coded with Huffman codes in a single scan."""
    return header.coding in (0xC0, 0xC1) and header.scan_components == header.components


def _holds_another(data: Pixels, header: Header) -> bool:
    """Tell whether a JPEG without an end marker at its end has one inside: two fields, sent as two pictures in one."""
    return data[header.scan_at :].tobytes().find(b"\xff\xd9") >= 0


def reduction(frame: Frame, roi: Roi, at_least_px: tuple[int, int], aspect: Aspect) -> int:
    """Return how far down a JPEG may be decoded for a part to have at least (width, height): 1, 2, 4 or 8."""
    return _reduction(region.box(roi, *size(frame), aspect), at_least_px)


@lru_cache(maxsize=64)
def _reduction(part: Box, at_least_px: tuple[int, int]) -> int:
    wide, high = at_least_px
    return next((n for n in (8, 4, 2) if part.width // n >= wide and part.height // n >= high), 1)


def _part(image: Pixels, frame: Frame, roi: Roi, aspect: Aspect = 1.0) -> Pixels:
    """Cut the part out of a picture before rotating it: a small picture is rotated faster."""
    part = region.raw_box(roi, frame, image.shape[1], image.shape[0], aspect)
    if frame.codec == "yuyv":  # two pixels share their colour
        part = Box(part.x & ~1, part.y, part.width & ~1, part.height & ~1)
    return _cut(image, part)


def _cut(image: Pixels, at: Box) -> Pixels:
    return image[at.y : at.y + at.height, at.x : at.x + at.width]


def upright(image: Pixels, frame: Frame) -> Pixels:
    """Return a camera's picture turned the right way up; the same object if there is nothing to turn."""
    if frame.rotate:
        image = cv2.rotate(image, _TURN[frame.rotate])
    return image if frame.flip == "none" else cv2.flip(image, _FLIP[frame.flip])
