"""Twin of `picam_infer.outputs.qr`: each form of a code shows the same modules, and a reader reads them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from picam_infer.outputs import qr

LINK = "http://192.168.178.29:8080/join#Zm9vYmFyYmF6cXV1eA"
HALVES = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


def read(picture: np.ndarray) -> str:
    return str(cv2.QRCodeDetectorAruco().detectAndDecode(picture)[0])


@pytest.mark.parametrize("side", [200, 333, 720])
def test_a_picture_is_read_and_has_whole_pixels_for_each_module(side: int) -> None:
    picture, count = qr.picture(LINK, side), len(qr.modules(LINK))
    assert picture.shape[0] == picture.shape[1] <= side and picture.shape[0] % count == 0 and picture.shape[2] == 3
    assert side - picture.shape[0] < count and set(np.unique(picture)) == {0, 255}
    assert read(picture) == LINK


def test_it_is_never_smaller_than_a_pixel_for_each_module() -> None:
    assert qr.picture(LINK, 1).shape[0] == len(qr.modules(LINK))


def test_rows_are_the_modules_with_the_quiet_zone_around_them() -> None:
    dark = np.array([[int(cell) for cell in row] for row in qr.rows(LINK)], np.uint8)
    assert (dark == qr.modules(LINK)).all()
    inside = dark[qr.QUIET : -qr.QUIET, qr.QUIET : -qr.QUIET]
    assert dark.sum() == inside.sum() and inside[0, :7].all() and inside[:7, 0].all(), "a finder pattern in the corner"


@pytest.mark.parametrize("text", [LINK, "7", "x" * 300])
def test_a_terminal_shows_two_modules_to_a_character(text: str) -> None:
    lines = qr.in_text(text)
    assert all(line.startswith("\x1b[30;107m") and line.endswith("\x1b[0m") for line in lines)
    cells = [[HALVES[cell] for cell in line.removeprefix("\x1b[30;107m").removesuffix("\x1b[0m")] for line in lines]
    dark = np.array(cells, np.uint8).transpose(0, 2, 1).reshape(2 * len(lines), -1)
    expected = qr.modules(text)
    assert (dark[: len(expected)] == expected).all() and not dark[len(expected) :].any()
    assert read(np.kron(1 - dark, np.full((6, 6), 255, np.uint8))) == text
