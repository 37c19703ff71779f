"""Twin of `picam_infer.models.normalisation`: a pixel's number, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from picam_infer.convert.input_spec import normalised
from picam_infer.models.bundle import Edges, Photo
from picam_infer.models.normalisation import Normalisation

PIXELS = np.array([[[0, 51, 255], [255, 102, 0]]], np.uint8)
"""One row of two pixels, shape (1, 2, 3)."""


def test_one_scale_and_offset_hold_for_every_channel() -> None:
    found = Normalisation.of(1 / 51, -1.0)(PIXELS)
    assert found.dtype == np.float32 and found.shape == (1, 2, 3)
    assert found[0, 0] == pytest.approx([-1, 0, 4]) and found[0, 1] == pytest.approx([4, 1, -1])


def test_each_channel_has_its_own_in_the_order_of_the_pixels() -> None:
    found = Normalisation.of((1.0, 2.0, 3.0), (0.5, -2.0, 10.0))(PIXELS)
    assert found[0, 0] == pytest.approx([0.5, 100, 775]) and found[0, 1] == pytest.approx([255.5, 202, 10])


@pytest.mark.parametrize("offset", [0.0, (0.0, 0.0, 0.0), -7.0])
def test_previous_contents_of_the_array_do_not_matter(offset: float | tuple[float, float, float]) -> None:
    normalisation, out = Normalisation.of(2.0, offset), np.full(PIXELS.shape, 1e6, np.float32)
    normalisation.into(PIXELS, out)
    assert (out == normalisation(PIXELS)).all() and out[0, 0, 1] == 102 + np.min(offset)


def test_black_and_white_give_the_range_also_of_a_picture_that_is_inverted() -> None:
    low, high = Normalisation.of((1.0, -1.0, 0.5), (0.0, 255.0, -10.0)).range()
    assert low.tolist() == [0, 255, -10] and high.tolist() == [255, 0, 117.5]
    assert Normalisation.of((1.0, -1.0, 0.5), (0.0, 255.0, -10.0)).limits() == (-10, 255)
    assert Normalisation.of(1 / 127.5, -1.0).limits() == pytest.approx((-1, 1))


def test_rows_repeat_the_channels_pixel_by_pixel() -> None:
    scale, offset = Normalisation.of((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)).rows(2)
    assert scale.tolist() == [[1, 2, 3, 1, 2, 3]] and offset.tolist() == [[4, 5, 6, 4, 5, 6]]
    scale, offset = Normalisation.of(0.5, -1.0).rows(2)
    assert scale.shape == offset.shape == () and (scale, offset) == (0.5, -1)


def test_the_mean_is_subtracted_before_the_division() -> None:
    scale, offset = normalised((0.5, 0.25, 0.0), (0.5, 0.125, 2.0), factor=1 / 255)
    found = Normalisation.of(scale, offset)(PIXELS)
    # (pixel / 255 − mean) / std
    assert found[0, 0] == pytest.approx([-1, (0.2 - 0.25) / 0.125, 0.5], abs=1e-6)
    assert found[0, 1] == pytest.approx([1, (0.4 - 0.25) / 0.125, 0], abs=1e-6)


def test_the_normalisation_is_the_cards() -> None:
    photo = Photo(colour="bgr", scale=(1.0, 2.0, 3.0), offset=(0.5, -2.0, 10.0)).normalisation
    assert photo(PIXELS)[0, 0] == pytest.approx([0.5, 100, 775])
    assert Edges().normalisation(PIXELS)[0, 0] == pytest.approx([0, 0.2, 1])
