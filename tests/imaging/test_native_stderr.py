"""Decoders' lines on file descriptor 2: real damaged JPEGs, real threads."""

from __future__ import annotations

import ctypes
import threading

import cv2
import numpy as np
import pytest
from makers import jpeg_frame

from picam_infer.core import Frame
from picam_infer.imaging import decode, native_stderr

NOISE = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)


def damaged(frame: Frame) -> np.ndarray:
    """Return the frame's bytes with Huffman codes overwritten: decoders make something up, and print a line."""
    data = frame.data.copy()
    data[data.size // 4 : data.size // 4 + 40] = 0xAA
    data[data.size // 3 : data.size // 3 + 9] = [0xFF, 0xD9 - 9, 0, 1, 2, 3, 0xFF, 0xE3, 7]
    return data


def with_data(frame: Frame, data: np.ndarray) -> Frame:
    return Frame(data, "jpeg", frame.width, frame.height, frame.monotonic_s, frame.captured, frame.seq)


@pytest.fixture
def whole() -> Frame:
    return jpeg_frame(NOISE)


def test_damage_inside_is_counted_and_never_printed(whole: Frame, capfd: pytest.CaptureFixture[str]) -> None:
    bad = with_data(whole, damaged(whole))
    before = native_stderr.complaints()
    assert decode.bgr(bad).shape == NOISE.shape
    assert native_stderr.complaints() == before + 1
    assert decode.grey_square(bad, 0.9, 28).shape[0] >= 28
    assert native_stderr.complaints() == before + 2
    decode.bgr(whole)
    decode.grey_square(whole, 0.4, 28)
    assert native_stderr.complaints() == before + 2
    assert capfd.readouterr().err == ""


def test_two_fields_in_one_part_are_no_damage(whole: Frame, capfd: pytest.CaptureFixture[str]) -> None:
    two = with_data(whole, np.concatenate([whole.data, whole.data]))
    before = native_stderr.complaints()
    got = decode.grey_square(two, 0.4, 28)
    assert np.array_equal(got, decode.grey_square(whole, 0.4, 28))
    assert native_stderr.complaints() == before and capfd.readouterr().err == ""


def test_other_libraries_lines_still_come_out(capfd: pytest.CaptureFixture[str]) -> None:
    libc = ctypes.CDLL(None)
    with native_stderr.taken():
        libc.perror(b"somebody else")
    libc.perror(b"afterwards")
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["somebody else", "afterwards"]


def test_many_threads_lose_no_line_and_print_none(whole: Frame, capfd: pytest.CaptureFixture[str]) -> None:
    bad, counts, rounds = with_data(whole, damaged(whole)), [], 20

    def work() -> None:
        for _ in range(rounds):
            decode.bgr(bad)
        counts.append(native_stderr.complaints())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 4 * rounds and capfd.readouterr().err == ""
    assert cv2.imdecode(whole.data, 1).shape == NOISE.shape
