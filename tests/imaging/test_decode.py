"""Raw frames to pixels: only what is asked for, the right way up."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from makers import jpeg_frame, raw_frame

from picam_infer.core import BadFrame, Frame
from picam_infer.imaging import decode, native_stderr, region
from picam_infer.imaging.jpeg import DHT, portable, segments
from picam_infer.imaging.region import Region, Roi


def quadrants(width: int = 640, height: int = 480) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, : width // 2] = (0, 0, 255)
    return image


def bgr_square(frame: Frame, roi: float, at_least_px: int) -> np.ndarray:
    return decode.bgr_part(frame, roi, (at_least_px, at_least_px))


def yuyv(image: np.ndarray) -> Frame:
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV)
    packed = np.empty((*image.shape[:2], 2), np.uint8)
    packed[:, :, 0] = yuv[:, :, 0]
    packed[:, 0::2, 1] = yuv[:, 0::2, 1]
    packed[:, 1::2, 1] = yuv[:, 0::2, 2]
    return raw_frame(packed, "yuyv")


@pytest.mark.parametrize("make", [jpeg_frame, raw_frame, yuyv])
def test_every_codec_gives_the_same_picture(make: object) -> None:
    image = cv2.GaussianBlur(quadrants(), (31, 31), 0)
    got = decode.bgr(make(image))  # type: ignore[operator]
    assert got.shape == image.shape
    assert np.abs(got.astype(int) - image).mean() < 3


@pytest.mark.parametrize("make", [jpeg_frame, raw_frame, yuyv])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "both"])
def test_a_square_is_the_middle_of_the_upright_picture(make: object, rotate: int, flip: str) -> None:
    image = cv2.GaussianBlur(quadrants(), (31, 31), 0)
    frame = replace(make(image), rotate=rotate, flip=flip)  # type: ignore[operator]
    whole = decode.bgr(frame)
    assert (whole.shape[1], whole.shape[0]) == decode.size(frame)
    side = region.box(0.5, *decode.size(frame)).width
    x, y = (whole.shape[1] - side) // 2, (whole.shape[0] - side) // 2
    square = decode.bgr_part(frame, 0.5, (10_000, 10_000))
    assert square.shape == (side, side, 3)
    assert np.abs(square.astype(int) - whole[y : y + side, x : x + side]).mean() < 3
    grey = decode.grey_square(frame, 0.5, 10_000)
    assert np.abs(grey.astype(int) - cv2.cvtColor(square, cv2.COLOR_BGR2GRAY)).mean() < 3


def test_jpeg_is_decoded_no_larger_than_needed() -> None:
    frame = jpeg_frame(quadrants(1280, 720))
    assert decode.grey_square(frame, 0.4, 144).shape == (144, 144)
    assert decode.grey_square(frame, 0.4, 145).shape == (288, 288)
    assert decode.bgr_part(frame, 1.0, (224, 224)).shape == (360, 360, 3)
    assert decode.bgr_part(frame, 1.0, (90, 90)).shape == (90, 90, 3)


def textured(width: int = 1280, height: int = 720) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def coded(image: np.ndarray, *options: int, padding: int = 0) -> Frame:
    """Return a JPEG frame coded with OpenCV's options."""
    frame = jpeg_frame(image)
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85, *options])[1].reshape(-1)
    return replace(frame, data=np.concatenate([data, np.zeros(padding, np.uint8)]))


CODINGS = {
    "4:2:0": (),
    "4:2:2": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "4:4:4": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restart markers": (cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
}


@pytest.mark.parametrize("options", CODINGS.values(), ids=CODINGS)
@pytest.mark.parametrize("shape", [(1280, 720), (640, 480), (1920, 1080), (333, 251)])
@pytest.mark.parametrize(("roi", "at_least_px"), [(0.4, 28), (0.4, 144), (0.4, 10_000), (0.9, 224), (1.0, 100)])
def test_what_is_left_undecoded_is_not_missed(
    options: tuple[int, ...], shape: tuple[int, int], roi: float, at_least_px: int, capfd: pytest.CaptureFixture[str]
) -> None:
    frame = coded(textured(*shape), *options)
    for square, flags in ((decode.grey_square, cv2.IMREAD_GRAYSCALE), (bgr_square, cv2.IMREAD_COLOR)):
        got = square(frame, roi, at_least_px)
        reduction = round(region.box(roi, *shape).width / got.shape[0])
        whole = cv2.imdecode(frame.data, flags if reduction == 1 else flags | 8 * reduction)
        y, x = ((n - got.shape[0]) // 2 for n in whole.shape[:2])
        assert np.array_equal(got, whole[y : y + got.shape[0], x : x + got.shape[0]])
    assert capfd.readouterr().err == ""  # the decoder complains there about whatever it finds odd


def test_rows_below_the_square_are_not_decoded() -> None:
    frame = coded(textured(), padding=700)
    damaged = frame.data.copy()
    damaged[len(damaged) * 4 // 5 : -702] = 0x55
    assert not np.array_equal(decode.bgr(frame), decode.bgr(replace(frame, data=damaged)))
    for padding in (0, 700):
        cut = replace(frame, data=damaged[: len(damaged) - 700 + padding])
        assert np.array_equal(decode.grey_square(frame, 0.4, 144), decode.grey_square(cut, 0.4, 144))


@pytest.mark.parametrize("height", [480, 1000])
def test_the_pictures_own_height_counts(height: int) -> None:
    frame = coded(textured())
    square = decode.grey_square(replace(frame, height=height), 0.4, 10_000)
    assert np.array_equal(square, decode.grey_square(frame, 0.4, 10_000))


def test_bgr_is_the_callers_to_draw_on() -> None:
    frame = raw_frame(quadrants())
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
        square = decode.bgr_part(raw_frame(np.zeros((height, width, 3), np.uint8)), 0.4, (28, 28))
        assert min(square.shape[:2]) >= 1


@pytest.mark.parametrize("make", [jpeg_frame, raw_frame, yuyv])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "horizontal", "both"])
@pytest.mark.parametrize(
    ("roi", "aspect"), [(0.5, 2.0), (0.6, 0.5), (1.0, None), (1.0, 4.0), (Region(0.7, 0.2, 0.5), 1.5)]
)
def test_a_part_of_any_proportions_is_that_of_the_upright_picture(
    make: object, rotate: int, flip: str, roi: Roi, aspect: float | None
) -> None:
    image = cv2.GaussianBlur(quadrants(), (31, 31), 0)
    frame = replace(make(image), rotate=rotate, flip=flip)  # type: ignore[operator]
    whole = decode.bgr(frame)
    x, y, width, height = region.box(roi, whole.shape[1], whole.shape[0], aspect)
    got = decode.bgr_part(frame, roi, (10_000, 10_000), aspect)
    assert abs(got.shape[0] - height) <= 1 and abs(got.shape[1] - width) <= 1  # two pixels may share their colour
    expected = whole[y : y + got.shape[0], x : x + got.shape[1]]
    assert np.abs(got.astype(int) - expected).mean() < 3
    small = decode.bgr_part(frame, roi, (width // 4, height // 4), aspect)
    assert small.shape[0] >= height // 4 and small.shape[1] >= width // 4


@pytest.fixture
def strict_tries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every picture that the strict decoder is given, once what other tests made it refuse is forgotten."""
    simplejpeg = pytest.importorskip("simplejpeg", reason="OpenCV decodes everything without simplejpeg")
    found: list[int] = []

    def counted(data: np.ndarray, *args: object, **options: object) -> np.ndarray:
        found.append(len(data))
        image: np.ndarray = simplejpeg.decode_jpeg(data, *args, **options)
        return image

    monkeypatch.setattr(decode, "simplejpeg", SimpleNamespace(decode_jpeg=counted))
    small = coded(textured(32, 32))
    while not found:
        decode.bgr(small)
    found.clear()
    return found


@pytest.mark.parametrize("options", CODINGS.values(), ids=CODINGS)
@pytest.mark.parametrize("shape", [(1280, 720), (333, 251)])
def test_either_decoder_gives_the_same_pictures(
    options: tuple[int, ...], shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = coded(textured(*shape), *options)

    def pictures() -> list[np.ndarray]:
        parts = [decode.bgr_part(frame, 1.0, (side, side)) for side in (10_000, 100, 50, 25)]
        return [decode.bgr(frame), *parts]

    turbo = pictures()
    quick = [decode.jpeg_bgr(frame, reduction).astype(int) for reduction in (1, 2, 4, 8)]
    monkeypatch.setattr(decode, "simplejpeg", None)  # as on a machine that has no wheel of it
    for one, other in zip(turbo, pictures(), strict=True):
        assert np.array_equal(one, other)
    for reduction, picture in zip((1, 2, 4, 8), quick, strict=True):
        exact = decode.jpeg_bgr(frame, reduction).astype(int)
        assert picture.shape == exact.shape
        assert np.abs(picture.mean((0, 1)) - exact.mean((0, 1))).max() < 0.1, "no shift of colours"
        grey = [cv2.cvtColor(p.astype(np.uint8), cv2.COLOR_BGR2GRAY).astype(int) for p in (picture, exact)]
        assert np.quantile(np.abs(grey[0] - grey[1]), 0.9) <= 2


def test_a_turn_inside_the_picture_is_left_to_the_settings() -> None:
    frame = coded(textured(320, 200))
    turned = replace(frame, data=np.frombuffer(portable(replace(frame, rotate=90)), np.uint8))
    assert np.array_equal(decode.bgr(turned), decode.bgr(frame))
    assert decode.jpeg_bgr(turned).shape == (200, 320, 3)


def test_a_picture_without_huffman_tables_is_decoded_once(strict_tries: list[int]) -> None:
    frame = coded(textured(320, 200))
    tables = [segment for kind, segment in segments(frame.data.tobytes()) if kind == DHT]
    bare = frame.data.tobytes()
    for segment in tables:
        bare = bare.replace(segment, b"")
    assert tables and len(bare) < len(frame.data)
    without = replace(frame, data=np.frombuffer(bare, np.uint8))
    complaints = native_stderr.complaints()
    for _ in range(2):
        assert np.array_equal(decode.bgr(without), decode.bgr(frame))
    assert len(strict_tries) == 4 and native_stderr.complaints() == complaints


def test_damage_is_worked_around_and_counted_but_not_decoded_twice_each_time(
    strict_tries: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    frame = coded(textured())
    data = frame.data.copy()
    data[len(data) // 3 : len(data) // 3 + 400] = 0x55
    flawed = replace(frame, data=data)
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR)
    capfd.readouterr()
    for number in range(5):
        complaints = native_stderr.complaints()
        assert np.array_equal(decode.jpeg_bgr(flawed), expected)
        assert native_stderr.complaints() > complaints, f"picture {number}"
    assert len(strict_tries) == 1, "a camera whose every picture has damage must not cost twice as much"
    for _ in range(100):
        decode.jpeg_bgr(frame, 8)
    assert len(strict_tries) > 1, "one damaged picture is not for ever"
    assert capfd.readouterr().err == ""


def test_other_threads_go_on_while_a_picture_is_decoded() -> None:
    frame = coded(textured(3840, 2160))
    done, counted = threading.Event(), 0
    decoding = threading.Thread(target=lambda: ([decode.jpeg_bgr(frame) for _ in range(5)], done.set()))
    old = sys.getswitchinterval()
    sys.setswitchinterval(30)  # whoever holds Python's lock is not asked to let go of it
    try:
        decoding.start()
        while not done.is_set():
            counted += 1
            time.sleep(0.001)
    finally:
        sys.setswitchinterval(old)
        decoding.join()
    assert counted > 10, "once a picture, at most, if it kept the lock"
