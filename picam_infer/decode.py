"""From a raw frame to pixels, decoding no more than is asked for."""

from __future__ import annotations

import cv2
import numpy as np

from picam_infer.core import BadFrame, Frame, Pixels

_GREY = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
         8: cv2.IMREAD_REDUCED_GRAYSCALE_8}  # fmt: skip
_COLOUR = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4,
           8: cv2.IMREAD_REDUCED_COLOR_8}  # fmt: skip
_TURN = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_FLIP = {"horizontal": 1, "vertical": 0, "both": -1}


def whole_jpeg(data: Pixels) -> bool:
    """Tell whether bytes (n,) start and end as a JPEG does; zeros after the end are common and allowed.

    Decoders fill a cut-off picture with grey and only print a warning, so this is asked first.
    """
    if data.size < 128 or data[0] != 0xFF or data[1] != 0xD8:
        return False
    if data[-2] == 0xFF and data[-1] == 0xD9:
        return True
    end = bytes(data[-8192:]).rstrip(b"\0")
    return end.endswith(b"\xff\xd9")


def size(frame: Frame) -> tuple[int, int]:
    """Return width, height in pixels after rotation."""
    return (frame.height, frame.width) if frame.rotate in (90, 270) else (frame.width, frame.height)


def bgr(frame: Frame) -> Pixels:
    """Return the whole picture the right way up, (H, W, 3) uint8, the caller's to draw on. Raises `BadFrame`."""
    if frame.codec == "jpeg":
        image = _jpeg(frame, _COLOUR[1])
    elif frame.codec == "yuyv":
        image = cv2.cvtColor(frame.data, cv2.COLOR_YUV2BGR_YUYV)
    elif frame.codec == "grey":
        image = cv2.cvtColor(frame.data, cv2.COLOR_GRAY2BGR)
    else:
        image = frame.data
    image = _upright(image, frame)
    return image.copy() if image is frame.data else image


def grey_square(frame: Frame, roi: float, at_least_px: int) -> Pixels:
    """Return the centre square, (S, S) uint8: `roi` of the frame's height, decoded so that S ≥ `at_least_px` if it can.

    Raises `BadFrame`.
    """
    if frame.codec == "jpeg":
        image = _centre(_jpeg(frame, _GREY[_reduction(frame, roi, at_least_px)]), frame, roi)
    elif frame.codec == "yuyv":
        image = np.ascontiguousarray(_centre(frame.data, frame, roi)[:, :, 0])
    elif frame.codec == "grey":
        image = _centre(frame.data, frame, roi)
    else:
        image = cv2.cvtColor(_centre(frame.data, frame, roi), cv2.COLOR_BGR2GRAY)
    return _upright(image, frame)


def bgr_square(frame: Frame, roi: float, at_least_px: int) -> Pixels:
    """Return the centre square as `grey_square` does, in colour: (S, S, 3) uint8."""
    if frame.codec == "jpeg":
        image = _centre(_jpeg(frame, _COLOUR[_reduction(frame, roi, at_least_px)]), frame, roi)
    elif frame.codec == "yuyv":
        image = cv2.cvtColor(_centre(frame.data, frame, roi), cv2.COLOR_YUV2BGR_YUYV)
    elif frame.codec == "grey":
        image = cv2.cvtColor(_centre(frame.data, frame, roi), cv2.COLOR_GRAY2BGR)
    else:
        image = _centre(frame.data, frame, roi)
    return _upright(image, frame)


def side_px(width: int, height: int, roi: float) -> int:
    """Return the side of the centre square of an upright picture."""
    return max(2, min(round(roi * height), width, height))


def _jpeg(frame: Frame, flags: int) -> Pixels:
    # The camera's own turn is in `rotate`; a tag inside the JPEG would turn it twice.
    image: Pixels | None = None
    if whole_jpeg(frame.data):
        image = cv2.imdecode(frame.data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise BadFrame(f"frame {frame.seq} is no whole JPEG")
    return image


def _reduction(frame: Frame, roi: float, at_least_px: int) -> int:
    side = side_px(*size(frame), roi)
    return next((n for n in (8, 4, 2) if side // n >= at_least_px), 1)


def _centre(image: Pixels, frame: Frame, roi: float) -> Pixels:
    # Cut before it is turned: the square is in the middle either way, and a small picture turns faster.
    height, width = image.shape[:2]
    upright = (height, width) if frame.rotate in (90, 270) else (width, height)
    side = side_px(*upright, roi)
    x, y = (width - side) // 2, (height - side) // 2
    if frame.codec == "yuyv":  # two pixels share their colour
        x, side = x & ~1, side & ~1
    return image[y : y + side, x : x + side]


def _upright(image: Pixels, frame: Frame) -> Pixels:
    if frame.rotate:
        image = cv2.rotate(image, _TURN[frame.rotate])
    return image if frame.flip == "none" else cv2.flip(image, _FLIP[frame.flip])
