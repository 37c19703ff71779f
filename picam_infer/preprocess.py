"""From a camera's picture to the tensor a network wants: pure functions of arrays."""

from __future__ import annotations

import cv2
import numpy as np

# Every crop the camera sizes give (144, 192, 216, 288, 432 px) is brought to this side first, so that Canny and the
# dilation see the same number of pixels per pen stroke whatever the resolution; 144 divides most of them evenly.
_WORK_PX = 144
_INPUT_PX = 28
_DILATE = np.ones((3, 3), np.uint8)


def edges(crop: np.ndarray, canny: tuple[float, float]) -> np.ndarray:
    """The digit network's input: thickened outlines of what the centre square shows.

    `crop` is S x S uint8 grey, already cut out of the frame (S = roi * frame height, any S); `canny` the two
    thresholds in grey levels per pixel as `cv2.Canny` takes them. Returns 28 x 28 uint8, 0..255 (the network sees x/255).
    """
    side = crop.shape[0]
    if side != _WORK_PX or crop.shape[1] != _WORK_PX:
        how = cv2.INTER_AREA if side > _WORK_PX else cv2.INTER_LINEAR
        crop = cv2.resize(crop, (_WORK_PX, _WORK_PX), interpolation=how)
    crop = cv2.GaussianBlur(crop, (3, 3), 0)
    outline = cv2.dilate(cv2.Canny(crop, canny[0], canny[1]), _DILATE)
    return cv2.resize(outline, (_INPUT_PX, _INPUT_PX), interpolation=cv2.INTER_AREA)
