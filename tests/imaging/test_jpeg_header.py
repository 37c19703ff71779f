"""The head of a JPEG, as cameras and liars write it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from picam_infer.imaging import jpeg_header

PICTURE = np.random.default_rng(2).integers(0, 255, (40, 72, 3)).astype(np.uint8)


def coded(*options: int) -> bytes:
    return cv2.imencode(".jpg", PICTURE, list(options))[1].tobytes()


@pytest.mark.parametrize(
    ("options", "coding", "copies", "restarts"),
    [
        ((), 0xC0, 1, False),
        ((cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 0xC2, 2, False),
        ((cv2.IMWRITE_JPEG_RST_INTERVAL, 2), 0xC0, 1, True),
    ],
)
def test_what_a_picture_declares(options: tuple[int, ...], coding: int, copies: int, restarts: bool) -> None:
    data = coded(*options)
    for given in (data, np.frombuffer(data, np.uint8)):
        header = jpeg_header.read(given)
        assert header is not None and (header.width, header.height) == (72, 40)
        assert (header.coding, header.copies, header.restarts) == (coding, copies, restarts)
        assert data[header.height_at : header.height_at + 2] == b"\0\x28"
        assert data[header.scan_at : header.scan_at + 2] == b"\xff\xda"


def test_segments_before_the_frame_header_may_be_long_or_filled() -> None:
    data = coded()
    segment = b"\xff\xe1\xff\xff" + b"\xff\xc0" * 32766 + b"\0"
    for padded in (data[:2] + segment * 3 + data[2:], data[:2] + b"\xff\xff\xff" + data[2:]):
        header = jpeg_header.read(padded)
        assert header is not None and (header.width, header.height) == (72, 40)


def test_what_is_cut_off_or_no_jpeg_has_none() -> None:
    data = coded()
    frame = data.index(b"\xff\xc0")
    assert [jpeg_header.read(data[:n]) for n in (0, 1, 2, 3, 20, frame, frame + 8)] == [None] * 7
    assert jpeg_header.read(b"\xff\xd8\xff\xd9" + data) is None
    whole = jpeg_header.read(data[: frame + 30])
    assert whole is not None and whole.scan_at == 0


def test_components_in_scans_of_their_own_are_kept_twice() -> None:
    data = bytearray(coded())
    header = jpeg_header.read(bytes(data))
    assert header is not None
    data[header.scan_at + 4] = 1
    alone = jpeg_header.read(bytes(data))
    assert alone is not None and alone.copies == 2


def test_a_cached_header_is_not_used_for_another_picture() -> None:
    first, second = coded(), cv2.imencode(".jpg", PICTURE[:24])[1].tobytes()
    for data, height in ((first, 40), (second, 24), (first + b"more", 40), (second, 24)):
        header = jpeg_header.read(data)
        assert header is not None and header.height == height
        assert jpeg_header.read(np.frombuffer(data, np.uint8)) == header
        cut = jpeg_header.read(data[: header.scan_at + 5])
        assert cut is not None and cut.scan_at == 0, "less than what is known of it"
