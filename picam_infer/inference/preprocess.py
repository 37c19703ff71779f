"""From a camera's picture to the tensor a network wants: pure functions of arrays, and what binds them to frames."""

from __future__ import annotations

import cv2
import numpy as np

from picam_infer.core import Frame, Pixels
from picam_infer.imaging import decode
from picam_infer.models.bundle import Chain, Edges, Input, Photo

# Every crop the camera sizes give (144, 192, 216, 288, 432 px) is brought to this side first, so that Canny and the
# dilation see the same number of pixels per pen stroke whatever the resolution; 144 divides most of them evenly.
_WORK_PX = 144
_INPUT_PX = 28
_DILATE = np.ones((3, 3), np.uint8)


def edges(crop: Pixels, canny: tuple[float, float]) -> Pixels:
    """Return the digit network's input: thickened outlines of what the square shows.

    `crop` is S x S uint8 grey, already cut out of the frame, any S; `canny` the two
    thresholds in grey levels per pixel as `cv2.Canny` takes them. Returns 28 x 28 uint8, 0..255.
    """
    side = crop.shape[0]
    if side != _WORK_PX or crop.shape[1] != _WORK_PX:
        how = cv2.INTER_AREA if side > _WORK_PX else cv2.INTER_LINEAR
        crop = cv2.resize(crop, (_WORK_PX, _WORK_PX), interpolation=how)
    crop = cv2.GaussianBlur(crop, (3, 3), 0)
    outline = cv2.dilate(cv2.Canny(crop, canny[0], canny[1]), _DILATE)
    resized: Pixels = cv2.resize(outline, (_INPUT_PX, _INPUT_PX), interpolation=cv2.INTER_AREA)
    return resized


def photo(square: Pixels, width: int, height: int, colour: str) -> Pixels:
    """Return a network's input (height, width, C) uint8 from a BGR square (S, S, 3).

    `colour` is the order the network was trained on: rgb, bgr or grey (C = 1). Pixel values stay 0…255; the card's
    scale and offset are applied by the engine.
    """
    # Halved, then between its pixels: what a browser's canvas does, where Teachable Machine took its pictures, and what
    # comes of a camera's JPEG decoded at half its size. Averaging straight to the size takes several times as long.
    while square.shape[0] >= 2 * max(width, height):
        half = square.shape[0] // 2
        square = cv2.resize(square[: 2 * half, : 2 * half], (half, half), interpolation=cv2.INTER_AREA)
    if square.shape[:2] != (height, width):
        square = cv2.resize(square, (width, height), interpolation=cv2.INTER_LINEAR)
    if colour == "rgb":
        square = cv2.cvtColor(square, cv2.COLOR_BGR2RGB)
    elif colour == "grey":
        square = cv2.cvtColor(square, cv2.COLOR_BGR2GRAY)[:, :, None]
    return square


class EdgesChain:
    """Frame → square → edges, for one setting of region and thresholds."""

    def __init__(self, chain: Edges, network: Input) -> None:
        self._chain = chain
        self._patch = np.zeros((network.height, network.width, network.channels), np.uint8)

    def __call__(self, frame: Frame) -> Pixels:
        """Return what the network sees, (H, W, C) uint8; the next call reuses it. Raises `BadFrame`."""
        outline = edges(decode.grey_square(frame, self._chain.roi, _WORK_PX), self._chain.canny)
        height, width = self._patch.shape[:2]
        if outline.shape != (height, width):
            outline = cv2.resize(outline, (width, height), interpolation=cv2.INTER_AREA)
        self._patch[:] = outline[:, :, None]
        return self._patch


class PhotoChain:
    """Frame → square → the network's size and colour order."""

    def __init__(self, chain: Photo, network: Input) -> None:
        self._chain = chain
        self._colour = "grey" if network.channels == 1 else chain.colour
        self._patch = np.zeros((network.height, network.width, network.channels), np.uint8)

    def __call__(self, frame: Frame) -> Pixels:
        """Return what the network sees, (H, W, C) uint8; the next call reuses it. Raises `BadFrame`."""
        height, width = self._patch.shape[:2]
        square = decode.bgr_square(frame, self._chain.roi, max(width, height))
        self._patch[:] = photo(square, width, height, self._colour)
        return self._patch


def build(chain: Chain, network: Input) -> EdgesChain | PhotoChain:
    """Return the preprocessor for a chain's settings and a network's input."""
    return EdgesChain(chain, network) if isinstance(chain, Edges) else PhotoChain(chain, network)
