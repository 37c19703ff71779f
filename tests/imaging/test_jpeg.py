"""JPEGs that any program opens: whole, and the right way up."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import jpeg_frame

from picam_infer.core import BadFrame, Frame
from picam_infer.imaging import decode, jpeg


def scene() -> np.ndarray:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :16] = (0, 0, 255)
    image[32:, 40:] = (0, 255, 0)
    return image


def without_tables(data: np.ndarray) -> np.ndarray:
    raw = data.tobytes()
    for kind, segment in list(jpeg.segments(raw)):
        if kind == jpeg.DHT:
            raw = raw.replace(segment, b"", 1)
    return np.frombuffer(raw, np.uint8)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "both"])
def test_other_programs_turn_it_as_we_do(tmp_path: Path, rotate: int, flip: str) -> None:
    frame = jpeg_frame(scene(), rotate=rotate, flip=flip)
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg.portable(frame))
    assert np.array_equal(cv2.imread(str(path)), decode.bgr(frame))


def test_a_whole_upright_picture_is_passed_through() -> None:
    frame = jpeg_frame(scene())
    assert jpeg.portable(frame) == frame.data.tobytes()


def test_missing_huffman_tables_are_added() -> None:
    whole = jpeg_frame(scene())
    bare = Frame(without_tables(whole.data), "jpeg", 64, 48, 0.0, 0.0, 0)
    assert bare.data.size < whole.data.size
    made = np.frombuffer(jpeg.portable(bare), np.uint8)
    assert np.array_equal(cv2.imdecode(made, 1), cv2.imdecode(whole.data, 1))


def test_other_codecs_are_encoded_upright() -> None:
    frame = Frame(scene(), "bgr", 64, 48, 0.0, 0.0, 0, rotate=90)
    image = cv2.imdecode(np.frombuffer(jpeg.portable(frame), np.uint8), 1)
    assert image.shape == (64, 48, 3)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8" + b"\0" * 200, b"x" * 500])
def test_damaged_frames_are_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        jpeg.portable(Frame(np.frombuffer(data, np.uint8), "jpeg", 64, 48, 0.0, 0.0, 0))
