"""Raw frames to pixels: only what is asked for, the right way up."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from makers import jpeg_frame

from picam_infer import decode
from picam_infer.core import BadFrame, Frame


def quadrants(width: int = 640, height: int = 480) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, : width // 2] = (0, 0, 255)
    return image


def raw(image: np.ndarray, codec: str = "bgr") -> Frame:
    return Frame(image, codec, image.shape[1], image.shape[0], time.monotonic(), time.time(), 0)  # type: ignore[arg-type]


def yuyv(image: np.ndarray) -> Frame:
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV)
    packed = np.empty((*image.shape[:2], 2), np.uint8)
    packed[:, :, 0] = yuv[:, :, 0]
    packed[:, 0::2, 1] = yuv[:, 0::2, 1]
    packed[:, 1::2, 1] = yuv[:, 0::2, 2]
    return raw(packed, "yuyv")


@pytest.mark.parametrize("make", [jpeg_frame, raw, yuyv])
def test_every_codec_gives_the_same_picture(make: object) -> None:
    image = cv2.GaussianBlur(quadrants(), (31, 31), 0)
    got = decode.bgr(make(image))  # type: ignore[operator]
    assert got.shape == image.shape
    assert np.abs(got.astype(int) - image).mean() < 3


@pytest.mark.parametrize("make", [jpeg_frame, raw, yuyv])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "both"])
def test_a_square_is_the_middle_of_the_upright_picture(make: object, rotate: int, flip: str) -> None:
    image = cv2.GaussianBlur(quadrants(), (31, 31), 0)
    frame = replace(make(image), rotate=rotate, flip=flip)  # type: ignore[operator]
    whole = decode.bgr(frame)
    assert (whole.shape[1], whole.shape[0]) == decode.size(frame)
    side = decode.side_px(*decode.size(frame), 0.5)
    x, y = (whole.shape[1] - side) // 2, (whole.shape[0] - side) // 2
    square = decode.bgr_square(frame, 0.5, 10_000)
    assert square.shape == (side, side, 3)
    assert np.abs(square.astype(int) - whole[y : y + side, x : x + side]).mean() < 3
    grey = decode.grey_square(frame, 0.5, 10_000)
    assert np.abs(grey.astype(int) - cv2.cvtColor(square, cv2.COLOR_BGR2GRAY)).mean() < 3


def test_jpeg_is_decoded_no_larger_than_needed() -> None:
    frame = jpeg_frame(quadrants(1280, 720))
    assert decode.grey_square(frame, 0.4, 144).shape == (144, 144)
    assert decode.grey_square(frame, 0.4, 145).shape == (288, 288)
    assert decode.bgr_square(frame, 1.0, 224).shape == (360, 360, 3)
    assert decode.bgr_square(frame, 1.0, 90).shape == (90, 90, 3)


def test_bgr_is_the_callers_to_draw_on() -> None:
    frame = raw(quadrants())
    decode.bgr(frame)[:] = 0
    assert frame.data.max() == 255


@pytest.mark.parametrize("keep", [0, 2, 100, 0.5, 0.98])
def test_a_cut_off_jpeg_is_a_bad_frame(keep: float) -> None:
    frame = jpeg_frame(quadrants())
    length = int(keep if keep > 1 or keep == 0 else len(frame.data) * keep)
    cut = replace(frame, data=frame.data[:length])
    assert not decode.whole_jpeg(cut.data)
    for call in (decode.bgr, lambda f: decode.grey_square(f, 0.4, 100)):
        with pytest.raises(BadFrame):
            call(cut)


def test_padding_after_the_end_is_allowed_and_garbage_is_not_a_jpeg() -> None:
    frame = jpeg_frame(quadrants())
    padded = np.concatenate([frame.data, np.zeros(4000, np.uint8)])
    assert decode.whole_jpeg(padded)
    assert decode.bgr(replace(frame, data=padded)).shape == (480, 640, 3)
    noise = np.random.default_rng(1).integers(0, 256, 5000, np.uint8)
    noise[:2], noise[-2:] = (0xFF, 0xD8), (0xFF, 0xD9)
    with pytest.raises(BadFrame):
        decode.bgr(replace(frame, data=noise))


def test_tiny_and_thin_pictures_do_not_break_the_crop() -> None:
    for width, height in ((2, 2), (3, 500), (500, 3), (1, 1)):
        square = decode.bgr_square(raw(np.zeros((height, width, 3), np.uint8)), 0.4, 28)
        assert min(square.shape[:2]) >= 1
