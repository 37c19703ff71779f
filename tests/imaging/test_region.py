"""The square that a network looks at, anywhere in the picture: one sum for decoder, box, state and keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from makers import jpeg_frame, raw_frame

from picam_infer.imaging import decode, region
from picam_infer.imaging.region import Box, Region

PLACES = [Region(0.2, 0.3, 0.4), Region(0.9, 0.8, 0.25), Region(0.0, 1.0, 0.5), Region(0.4, 0.5, 1.0)]


def textured(width: int = 640, height: int = 480) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    ("roi", "size", "box"),
    [
        (0.4, (1280, 720), (496, 216, 288, 288)),
        (1.0, (640, 480), (80, 0, 480, 480)),
        (1.0, (480, 640), (0, 80, 480, 480)),
        (Region(0.25, 0.5, 0.5), (640, 480), (40, 120, 240, 240)),
        (Region(0.0, 0.0, 0.5), (640, 480), (0, 0, 240, 240)),  # moved inwards
        (Region(1.0, 1.0, 0.5), (640, 480), (400, 240, 240, 240)),
        (Region(0.1, 0.9, 1.0), (640, 480), (0, 0, 480, 480)),
        (Region(0.5, 0.25, 1.0), (480, 640), (0, 0, 480, 480)),
        (Region(0.29, 0.5, 0.02), (100, 100), (28, 49, 2, 2)),
        (0.4, (1, 1), (0, 0, 1, 1)),
    ],
)
def test_where_the_square_is(roi: Any, size: tuple[int, int], box: tuple[int, ...]) -> None:
    assert region.box(roi, *size) == box


@pytest.mark.parametrize("size", [(1280, 720), (641, 481), (333, 251), (480, 640), (3, 500)])
@pytest.mark.parametrize("share", [0.05, 0.4, 0.333, 1.0])
def test_a_share_alone_is_the_square_in_the_middle(size: tuple[int, int], share: float) -> None:
    side = max(2, min(round(share * size[1]), *size))
    assert region.box(share, *size) == ((size[0] - side) // 2, (size[1] - side) // 2, side, side)
    assert region.box(share, *size) == region.box(Region(0.5, 0.5, share), *size)


@pytest.mark.parametrize("make", [jpeg_frame, raw_frame])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "both"])
@pytest.mark.parametrize("roi", [*PLACES, 0.4])
def test_what_is_cut_out_is_what_the_box_shows(make: Any, rotate: int, flip: str, roi: Any) -> None:
    frame = replace(make(textured(641, 479)), rotate=rotate, flip=flip)
    whole = decode.bgr(frame)
    x, y, width, height = region.box(roi, whole.shape[1], whole.shape[0])
    square = decode.bgr_part(frame, roi, (10_000, 10_000))
    assert np.array_equal(square, whole[y : y + height, x : x + width])


@pytest.mark.parametrize("at_least_px", [28, 100])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("roi", PLACES)
@pytest.mark.parametrize("shape", [(1280, 720), (333, 251), (1921, 1083)])
def test_what_is_left_undecoded_is_not_missed(
    at_least_px: int, rotate: int, roi: Region, shape: tuple[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    frame = replace(jpeg_frame(textured(*shape)), rotate=rotate)
    got = decode.grey_square(frame, roi, at_least_px)
    reduction = next(
        n for n in (8, 4, 2, 1) if n == 1 or region.box(roi, *decode.size(frame)).width // n >= at_least_px
    )
    flags = cv2.IMREAD_GRAYSCALE if reduction == 1 else cv2.IMREAD_GRAYSCALE | 8 * reduction
    whole = cv2.imdecode(frame.data, flags)
    box = region.raw_box(roi, frame, whole.shape[1], whole.shape[0])
    cut = whole[box.y : box.y + box.height, box.x : box.x + box.width]
    turn = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    assert np.array_equal(got, cv2.rotate(cut, turn[rotate]) if rotate else cut)
    assert capfd.readouterr().err == ""


def test_rows_below_a_square_at_the_top_are_not_decoded() -> None:
    frame = jpeg_frame(textured(1280, 720))
    damaged = frame.data.copy()
    damaged[len(damaged) // 2 : -2] = 0x55
    top, bottom = Region(0.5, 0.0, 0.3), Region(0.5, 1.0, 0.3)
    cut = replace(frame, data=damaged)
    assert np.array_equal(decode.grey_square(frame, top, 100), decode.grey_square(cut, top, 100))
    assert not np.array_equal(decode.grey_square(frame, bottom, 100), decode.grey_square(cut, bottom, 100))
    # Upside down, the top of the upright picture is the last that the camera sends.
    turned, cut = replace(frame, rotate=180), replace(cut, rotate=180)
    assert np.array_equal(decode.grey_square(turned, bottom, 100), decode.grey_square(cut, bottom, 100))


def test_moving_stays_inside_and_comes_back_to_a_plain_share() -> None:
    roi: Any = 0.4
    for _ in range(100):
        roi = region.moved(roi, 1280, 720, right=0.02)
    assert region.box(roi, 1280, 720).x == 1280 - 288
    assert region.box(region.moved(roi, 1280, 720, right=-0.02), 1280, 720).x == pytest.approx(1280 - 288 - 14.4, abs=1)
    assert region.moved(Region(0.0, 0.5, 0.4), 1280, 720, right=0.02).x == pytest.approx(
        0.1125 + 0.02 * 720 / 1280, 1e-3
    )
    assert region.moved(region.moved(0.4, 1280, 720, down=0.02), 1280, 720, down=-0.02) == 0.4
    assert region.moved(0.99, 1280, 720, larger=0.02) == 1.0
    assert region.moved(0.06, 1280, 720, larger=-0.02) == region.SMALLEST
    assert region.moved(1.0, 720, 1280, larger=-0.02) == pytest.approx(720 / 1280 - 0.02, 1e-3)


def test_a_box_is_x_y_width_height() -> None:
    assert Box(1, 2, 3, 4) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("roi", "aspect", "size", "box"),
    [
        (1.0, 3.0, (640, 480), (0, 133, 640, 213)),  # as wide as the picture is
        (0.25, 3.0, (640, 480), (140, 180, 360, 120)),
        (1.0, 0.5, (640, 480), (200, 0, 240, 480)),
        (1.0, None, (640, 480), (0, 0, 640, 480)),
        (0.5, None, (640, 480), (160, 120, 320, 240)),
        (Region(1.0, 0.0, 0.5), 0.5, (640, 480), (520, 0, 120, 240)),
    ],
)
def test_where_a_part_of_other_proportions_is(
    roi: Any, aspect: Any, size: tuple[int, int], box: tuple[int, ...]
) -> None:
    assert region.box(roi, *size, aspect) == box


def test_a_part_of_other_proportions_moves_up_to_the_edge() -> None:
    moved = region.moved(0.25, 640, 480, right=5.0, aspect=3.0)
    assert region.box(moved, 640, 480, 3.0) == (280, 180, 360, 120)
    assert region.moved(1.0, 640, 480, larger=0.2, aspect=None) == 1.0
