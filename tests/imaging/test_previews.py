"""Previews for the browser of every kind of picture that can be taught."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from picam_infer.core import BadFrame
from picam_infer.imaging import jpeg, pictures, previews

HALVES = np.zeros((90, 320, 3), np.uint8)
HALVES[:, 160:] = (40, 90, 250)  # BGR: the right half is red


def saved(kind: str, **more: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(HALVES[:, :, ::-1]).save(file, kind, **more)
    return file.getvalue()


def phone_jpeg() -> bytes:
    """A JPEG with something of the phone's after its end."""
    return jpeg.encode(HALVES, 90) + b"SEFH" * 40


KINDS = {
    "jpeg": lambda: saved("JPEG"), "small jpeg": lambda: jpeg.encode(HALVES[:30, 120:200], 90), "phone": phone_jpeg,
    "png": lambda: saved("PNG"), "webp": lambda: saved("WEBP"), "gif": lambda: saved("GIF"),
    "bmp": lambda: saved("BMP"), "tiff": lambda: saved("TIFF"), "tga": lambda: saved("TGA"),
    "jpeg 2000": lambda: saved("JPEG2000"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_has_a_thumbnail_and_a_form_that_browsers_show(kind: str) -> None:
    data = KINDS[kind]()
    small = cv2.imdecode(np.frombuffer(previews.thumbnail(data, 80), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape[1] == 80 and small.shape[0] in (22, 23, 30)
    assert small[10, 8, 2] < 60 and small[10, 70, 2] > 190, "its left is dark, its right red"
    shown = previews.for_browser(data)
    assert pictures.suffix_of(shown) in previews.SHOWN
    assert shown == data or kind in ("bmp", "tiff", "tga", "jpeg 2000")
    assert pictures.decode_picture(shown, kind).shape[:2] == pictures.decode_picture(data, kind).shape[:2]


def test_heic_comes_as_jpeg() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    data = saved("HEIF")
    assert pictures.suffix_of(previews.for_browser(data)) == ".jpg" and pictures.suffix_of(data) == ".heic"
    assert pictures.suffix_of(previews.thumbnail(data, 80)) == ".jpg"


def test_a_thumbnail_is_the_right_way_up() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    for kind in ("JPEG", "PNG"):
        small = pictures.decode_picture(previews.thumbnail(saved(kind, exif=exif), 45), kind)
        assert small.shape[1] == 45 and small.shape[0] > 150
        assert small[20, 20, 2] < 60 and small[-20, 20, 2] > 190


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + bytes(30), b"hello" * 100])
def test_what_is_no_picture_is_a_bad_frame(data: bytes) -> None:
    with pytest.raises(BadFrame):
        previews.thumbnail(data, 80)
