"""From a camera's picture to the network's input: pure functions of arrays, and classes that apply them to frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from picam_infer.core import Frame, Pixels
from picam_infer.imaging import decode, letterbox, region
from picam_infer.imaging.region import Aspect, Box, Roi
from picam_infer.inference.guidance import Sight, measure
from picam_infer.inference.ruled_lines import without_ruled_lines
from picam_infer.inference.stillness import GLANCE_PX
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
    paper = without_ruled_lines(_at_working_size(crop))
    # Wide enough for the grain of paper, pencil and camera; anything finer is not a stroke at 28 x 28 either.
    smooth = cv2.GaussianBlur(paper, (9, 9), 0)
    outline = cv2.dilate(cv2.Canny(smooth, canny[0], canny[1]), _DILATE)
    resized: Pixels = cv2.resize(outline, (_INPUT_PX, _INPUT_PX), interpolation=cv2.INTER_AREA)
    return resized


def _at_working_size(crop: Pixels) -> Pixels:
    side = crop.shape[0]
    if crop.shape == (_WORK_PX, _WORK_PX):
        return crop
    # Below half the size the smoothing that follows takes care of aliasing, and averaging takes four times as long.
    how = cv2.INTER_AREA if side >= 2 * _WORK_PX else cv2.INTER_LINEAR
    resized: Pixels = cv2.resize(crop, (_WORK_PX, _WORK_PX), interpolation=how)
    return resized


def photo(part: Pixels, width: int, height: int, colour: str, out: Pixels | None = None) -> Pixels:
    """Return a network's input (height, width, C) uint8 from the part of a picture that it looks at, BGR (H, W, 3).

    `colour` is the order the network was trained on: rgb, bgr or grey (C = 1, or all channels of `out` the same). Pixel
    values stay 0…255; the card's scale and offset are applied by the engine. `out`: where it is put, and what is
    returned then.
    """
    # Halved, then interpolated: what a browser's canvas does, where Teachable Machine took its pictures, and what
    # comes of a camera's JPEG decoded at half its size. Averaging straight to the size takes several times as long.
    while part.shape[0] >= 2 * height or part.shape[1] >= 2 * width:
        rows = 2 if part.shape[0] >= 2 * height else 1
        columns = 2 if part.shape[1] >= 2 * width else 1
        half = (part.shape[1] // columns, part.shape[0] // rows)
        part = cv2.resize(part[: half[1] * rows, : half[0] * columns], half, interpolation=cv2.INTER_AREA)
    if out is None:
        out = np.empty((height, width, 1 if colour == "grey" else 3), np.uint8)
    if part.shape[:2] != (height, width):
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    if colour == "rgb":
        cv2.cvtColor(part, cv2.COLOR_BGR2RGB, dst=out)
    elif colour == "grey" and out.shape[2] > 1:
        out[:] = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)[:, :, None]
    elif colour == "grey":
        cv2.cvtColor(part, cv2.COLOR_BGR2GRAY, dst=out[:, :, 0])
    else:
        out[:] = part
    return out


class Decoder(Protocol):
    """Where the chains get their part of a frame: the module `decode`, or `Unpacked`, which shares it with others."""

    def grey_square(self, frame: Frame, roi: Roi, at_least_px: int) -> Pixels:
        """Return the square that `roi` means, (S, S) uint8. Raises `BadFrame`."""

    def bgr_part(self, frame: Frame, roi: Roi, at_least_px: tuple[int, int], aspect: Aspect = 1.0) -> Pixels:
        """Return the part of those proportions, (H, W, 3) uint8. Raises `BadFrame`."""


class EdgesChain:
    """Frame → square → edges, for one setting of region and thresholds."""

    def __init__(self, chain: Edges, network: Input, decoder: Decoder = decode) -> None:
        self._chain = chain
        self._decoder = decoder
        self._input_image = np.zeros((network.height, network.width, network.channels), np.uint8)
        self._outline: Pixels | None = None
        self.sight: Callable[[], Sight] | None = None
        """Measures what the last picture shows, if somebody asks for it."""

    def __call__(self, frame: Frame) -> Pixels:
        """Return what the network sees, (H, W, C) uint8; the next call reuses it. Raises `BadFrame`."""
        grey = self._decoder.grey_square(frame, self._chain.roi, _WORK_PX)
        outline = edges(grey, self._chain.canny)
        self.sight = partial(measure, outline, grey, self._outline)
        self._outline = outline
        height, width = self._input_image.shape[:2]
        if outline.shape != (height, width):
            outline = cv2.resize(outline, (width, height), interpolation=cv2.INTER_AREA)
        self._input_image[:] = outline[:, :, None]
        return self._input_image

    def glance(self, frame: Frame) -> Pixels:
        """Return the square in a few pixels, (S, S) uint8, as cheaply as possible. Raises `BadFrame`."""
        return self._decoder.grey_square(frame, self._chain.roi, GLANCE_PX)


class PhotoChain:
    """Frame → the part that the network looks at → its size and colour order."""

    def __init__(self, chain: Photo, network: Input, decoder: Decoder = decode) -> None:
        self._chain = chain
        self._decoder = decoder
        self._aspect = aspect(chain, network)
        self._colour = "grey" if network.channels == 1 else chain.colour
        self.sight: Callable[[], Sight] | None = None
        self._input_image = np.zeros((network.height, network.width, network.channels), np.uint8)

    def __call__(self, frame: Frame) -> Pixels:
        """Return what the network sees, (H, W, C) uint8; the next call reuses it. Raises `BadFrame`."""
        height, width = self._input_image.shape[:2]
        target = self._input_image
        if self._chain.fit == "pad":
            seen = region.box(self._chain.roi, *decode.size(frame), self._aspect)
            x, y, width, height = letterbox.box(seen.width, seen.height, width, height)
            self._input_image[:] = 0  # the last frame may have had other proportions
            target = self._input_image[y : y + height, x : x + width]
        part = self._decoder.bgr_part(frame, self._chain.roi, (width, height), self._aspect)
        photo(part, width, height, self._colour, target)
        return self._input_image

    def glance(self, frame: Frame) -> Pixels:
        """Return the part in a few pixels, (H, W, 3) uint8, as cheaply as possible. Raises `BadFrame`."""
        return self._decoder.bgr_part(frame, self._chain.roi, (GLANCE_PX, GLANCE_PX), self._aspect)


def aspect(chain: Chain, network: Input) -> Aspect:
    """Return the proportions of the part that a network looks at: width over height; None: the picture's own."""
    if isinstance(chain, Edges):
        return 1.0
    return network.width / network.height if chain.fit == "crop" else None


def box(chain: Chain, network: Input, width: int, height: int) -> Box:
    """Return that part of an upright picture, in pixels."""
    return region.box(chain.roi, width, height, aspect(chain, network))


def tensor(input_image: Pixels, chain: Chain, network: Input) -> npt.NDArray[np.float32]:
    """Return (H, W, C) uint8 as the network's own input: scaled, (1, H, W, C) or (1, C, H, W) by its layout."""
    batch = chain.normalisation(input_image)[np.newaxis]
    return batch if network.layout == "NHWC" else np.ascontiguousarray(batch.transpose(0, 3, 1, 2))


def as_picture(input_image: Pixels, chain: Chain) -> Pixels:
    """Return (H, W, C) uint8 in the network's own colour order as a picture: BGR (H, W, 3), or grey (H, W, 1)."""
    if input_image.shape[2] == 1 or isinstance(chain, Edges) or chain.colour == "bgr":
        return input_image
    picture: Pixels = cv2.cvtColor(input_image, cv2.COLOR_RGB2BGR)
    return picture


def build(chain: Chain, network: Input, decoder: Decoder = decode) -> EdgesChain | PhotoChain:
    """Return the preprocessor for a chain's settings and a network's input."""
    if isinstance(chain, Edges):
        return EdgesChain(chain, network, decoder)
    return PhotoChain(chain, network, decoder)
