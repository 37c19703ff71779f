"""One unpacking a frame: shared by screen, stream and network, with the results of a network that looks alone."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from makers import jpeg_frame
from makers import shared as shared_file

from picam_infer import sources
from picam_infer.config import Capture, EngineSettings
from picam_infer.convert.conversion import convert
from picam_infer.core import BadFrame, Frame
from picam_infer.imaging import decode, jpeg_header, native_stderr
from picam_infer.imaging.region import Region
from picam_infer.imaging.unpacked import Unpacked
from picam_infer.inference import engines, preprocess
from picam_infer.inference.classifier import Classifier
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Edges, Input, Photo

SIZES = [(640, 480), (1280, 720), (1920, 1080)]
EYES = "screen"


@pytest.fixture
def unpackings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every time that a JPEG is unpacked: the flags that OpenCV has for that, whoever does it."""
    found: list[int] = []
    imdecode, turbo = cv2.imdecode, decode.simplejpeg

    def counted(data: np.ndarray, flags: int) -> np.ndarray | None:
        found.append(flags & ~cv2.IMREAD_IGNORE_ORIENTATION)
        return imdecode(data, flags)

    def counted_too(data: np.ndarray, colours: str, **options: int) -> np.ndarray:
        assert turbo is not None and colours == "BGR"
        image: np.ndarray = turbo.decode_jpeg(data, colours, **options)
        header = jpeg_header.read(data)
        assert header is not None
        reduction = round(header.width / image.shape[1])
        found.append(cv2.IMREAD_COLOR if reduction == 1 else cv2.IMREAD_COLOR | 8 * reduction)
        return image

    monkeypatch.setattr(cv2, "imdecode", counted)
    if turbo is not None:
        monkeypatch.setattr(decode, "simplejpeg", SimpleNamespace(decode_jpeg=counted_too))
    yield found


@functools.cache
def scene(width: int, height: int) -> Frame:
    """Return a 4:2:2 JPEG, as webcams give, of shapes with soft and hard edges and some noise; not to be changed."""
    rng = np.random.default_rng(5)
    image = cv2.resize(rng.integers(60, 200, (9, 16, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.putText(image, "5", (width * 2 // 5, height * 3 // 5), 0, height / 110, (20, 20, 20), height // 40, cv2.LINE_AA)
    image = np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
    data = cv2.imencode(".jpg", image, options)[1].reshape(-1)
    data.flags.writeable = False
    return replace(jpeg_frame(image), data=data)


CHAINS = [
    (Edges(), Input((1, 28, 28, 1))),
    (Edges(roi=Region(0.3, 0.6, 0.5)), Input((1, 28, 28, 1))),
    (Photo(), Input((1, 224, 224, 3))),
    (Photo(roi=Region(0.7, 0.4, 0.8)), Input((1, 96, 96, 3))),
    (Photo(fit="squash"), Input((1, 224, 224, 3))),
    (Photo(fit="pad", roi=1.0), Input((1, 224, 160, 3))),
]


@pytest.mark.parametrize("turn", [(0, "none"), (90, "none"), (180, "horizontal"), (270, "vertical"), (0, "both")])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", [None, (800, 480)])
@pytest.mark.parametrize(("chain", "network"), CHAINS)
def test_the_network_sees_the_same_from_a_shared_picture(
    chain: Edges | Photo,
    network: Input,
    screen: tuple[int, int] | None,
    size: tuple[int, int],
    turn: tuple[int, str],
    unpackings: list[int],
) -> None:
    frame = replace(scene(*size), rotate=turn[0], flip=turn[1])  # type: ignore[arg-type]
    alone = preprocess.build(chain, network)(frame)
    shared = Unpacked()
    shared.expect_part()
    first = preprocess.build(chain, network, shared)
    shared.expect(EYES, screen)
    unpackings.clear()
    from_network = first(frame).copy()
    shown = shared.whole(frame, EYES, screen)
    assert len(unpackings) == 1
    assert np.array_equal(shown, shared.whole(frame, EYES, screen)), "and whoever comes later sees the same"
    difference = np.abs(alone.astype(int) - from_network)
    if isinstance(chain, Photo):
        grey = [picture.astype(np.float32).mean(2) for picture in (alone, from_network)]
        assert difference.mean() < 1 and np.quantile(np.abs(grey[0] - grey[1]), 0.99) <= 3, "grey levels"
    else:
        assert difference.mean() < 4, "an outline is where it was"


def scores_differ(model: Bundle, frames: list[Frame]) -> float:
    """Return by how much a score differs at most between a shared picture and the network's own; labels must agree."""
    settings, worst = EngineSettings(kind="openvino", threads=1), 0.0
    engine = engines.open_engine(settings, model)
    shared = Unpacked()
    with contextlib.closing(engine):
        alone, together = Classifier.of(model, engine), Classifier.of(model, engine, decoder=shared)
        for frame in frames:
            expected = alone.answer(frame).scores
            shared.expect(EYES)
            got = together.answer(frame).scores
            assert np.argmax(got) == np.argmax(expected)
            worst = max(worst, float(np.abs(got - expected).max()))
    return worst


@pytest.mark.parametrize("size", SIZES)
def test_digits_score_the_same_from_a_shared_picture(size: tuple[int, int]) -> None:
    source = sources.open_source("demo", Capture(*size, fps=240))
    frames = []
    for number in range(200):
        frame = source.read()
        assert frame is not None
        if number % 10 == 0:
            data = cv2.imencode(".jpg", decode.bgr(frame), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].reshape(-1)
            frames.append(replace(frame, data=data, codec="jpeg"))
    source.close()
    assert scores_differ(bundles.load("digits"), frames) <= 0.01


def test_photos_score_the_same_from_a_shared_picture(tmp_path: Path) -> None:
    export = shared_file("models", "ojjsaw__teachable-machine-openvino", "converted_keras.zip")
    convert(export, tmp_path / "photo")
    frames = []
    for path in sorted(export.parent.glob("*.jpg")):
        image = cv2.imread(str(path))
        frames += [
            replace(jpeg_frame(cv2.resize(image, size, interpolation=cv2.INTER_AREA)), monotonic_s=float(i))
            for i, size in enumerate(SIZES)
        ]
    assert len(frames) == 6
    assert scores_differ(bundles.load(tmp_path / "photo"), frames) <= 0.01


@pytest.mark.parametrize(("chain", "network"), [CHAINS[0], CHAINS[2]])
def test_whoever_comes_first_unpacks_for_the_other(chain: Edges | Photo, network: Input, unpackings: list[int]) -> None:
    shared = Unpacked()
    look = preprocess.build(chain, network, shared)
    for seq, screen_first in enumerate((True, False) * 2):
        frame = replace(scene(1280, 720), seq=seq, monotonic_s=float(seq))
        shared.expect(EYES)
        shared.expect_part()
        steps: list[Callable[[], object]] = [lambda f=frame: shared.whole(f, EYES), lambda f=frame: look(f)]  # type: ignore[misc]
        for step in steps if screen_first else steps[::-1]:
            step()
    assert unpackings == [cv2.IMREAD_COLOR] * 4


def test_alone_the_network_unpacks_no_more_than_its_part(unpackings: list[int]) -> None:
    shared, frame = Unpacked(), scene(1280, 720)
    look = preprocess.build(Edges(), Input((1, 28, 28, 1)), shared)
    look(frame)
    assert unpackings == [cv2.IMREAD_REDUCED_GRAYSCALE_2]
    shared.expect(EYES)
    shared.forget(EYES)
    look(replace(frame, monotonic_s=frame.monotonic_s + 1))
    assert unpackings == [cv2.IMREAD_REDUCED_GRAYSCALE_2] * 2, "nobody looks any more"


@pytest.mark.parametrize(
    ("size", "screen", "flag"),
    [
        ((1920, 1080), (800, 480), cv2.IMREAD_REDUCED_COLOR_2),
        ((1920, 1080), (480, 320), cv2.IMREAD_REDUCED_COLOR_4),
        ((1280, 720), (800, 480), cv2.IMREAD_COLOR),
        ((1280, 720), (1920, 1080), cv2.IMREAD_COLOR),
        ((1280, 720), (0, 0), cv2.IMREAD_COLOR),
        ((1280, 720), None, cv2.IMREAD_COLOR),
    ],
)
def test_no_more_of_the_picture_than_the_screen_has_pixels(
    size: tuple[int, int], screen: tuple[int, int] | None, flag: int, unpackings: list[int]
) -> None:
    Unpacked().whole(scene(*size), EYES, screen)
    assert unpackings == [flag]


def test_a_small_screen_does_not_make_the_network_unpack_again(unpackings: list[int]) -> None:
    shared = Unpacked()
    look = preprocess.build(Photo(), Input((1, 448, 448, 3)), shared)
    for seq in range(3):
        frame = replace(scene(1920, 1080), monotonic_s=float(seq))
        shared.expect(EYES, (320, 240))
        shared.expect_part()
        shared.whole(frame, EYES, (320, 240))
        look(frame)
    assert unpackings[-2:] == [cv2.IMREAD_REDUCED_COLOR_2] * 2, "in the form that serves both"


def test_the_other_waits_for_a_picture_under_way_and_no_lock_is_held_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, go_on, calls = threading.Event(), threading.Event(), []
    jpeg_bgr = decode.jpeg_bgr

    def slow(frame: Frame, reduction: int = 1) -> np.ndarray:
        calls.append(frame.seq)
        if frame.seq == 0:
            began.set()
            assert go_on.wait(20)
        return jpeg_bgr(frame, reduction)

    monkeypatch.setattr(decode, "jpeg_bgr", slow)
    shared, old = Unpacked(), scene(640, 480)
    new = replace(old, seq=1, monotonic_s=old.monotonic_s + 1)
    got: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: got.append(shared.whole(old, EYES))) for _ in range(2)]
    threads[0].start()
    assert began.wait(20)
    threads[1].start()
    shared.expect("stream")
    shared.whole(new, "stream")  # a newer one need not wait for it
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(got) == 2
    assert calls.count(1) == 1


def test_an_older_picture_does_not_take_the_newer_ones_place(unpackings: list[int]) -> None:
    shared, old = Unpacked(), scene(640, 480)
    new = replace(old, monotonic_s=old.monotonic_s + 1)
    for frame in (new, old, new):
        shared.whole(frame, EYES)
    assert len(unpackings) == 2


def test_damage_is_told_to_everybody_who_wants_the_picture() -> None:
    shared, whole = Unpacked(), scene(640, 480)
    cut = replace(whole, data=whole.data[:4000])
    look = preprocess.build(Photo(), Input((1, 224, 224, 3)), shared)
    shared.expect(EYES)
    for ask in (lambda: look(cut), lambda: shared.whole(cut, EYES)):
        with pytest.raises(BadFrame):
            ask()
    data = whole.data.copy()
    data[len(data) // 3 : len(data) // 3 + 400] = 0x55
    flawed = replace(whole, data=data, monotonic_s=whole.monotonic_s + 1)
    before = native_stderr.complaints()
    threading.Thread(target=lambda: shared.whole(flawed, EYES)).start()
    shared.expect("stream")
    look(flawed)
    assert native_stderr.complaints() > before, "the network's loop counts it"


def test_pictures_are_shared_so_nobody_draws_on_them() -> None:
    frame = scene(640, 480)
    with pytest.raises(ValueError, match="read-only"):
        Unpacked().whole(frame, EYES)[:] = 0


@pytest.mark.parametrize("codec", ["bgr", "grey", "yuyv"])
def test_other_codecs_give_the_whole_picture_too(codec: str) -> None:
    shape = {"bgr": (48, 64, 3), "grey": (48, 64), "yuyv": (48, 64, 2)}[codec]
    frame = Frame(np.full(shape, 90, np.uint8), codec, 64, 48, 0.0, 0.0, 1, rotate=90)  # type: ignore[arg-type]
    shared = Unpacked()
    shared.expect(EYES, (10, 10))
    preprocess.build(Photo(), Input((1, 16, 16, 3)), shared)(frame)
    assert shared.whole(frame, EYES, (10, 10)).shape == (64, 48, 3)
