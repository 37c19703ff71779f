import threading
import time

import cv2
import numpy as np
import pytest

from picam_infer.config import Capture
from picam_infer.core import Disconnected, Source
from picam_infer.imaging import decode, region
from picam_infer.imaging.region import Region
from picam_infer.sources.demo import ROI, Demo, Scene

FAST = {"fps": 240}


def test_it_is_a_live_source_of_jpegs_at_the_size_asked_for():
    demo = Demo(Capture(width=640, height=480, **FAST))
    assert isinstance(demo, Source) and demo.live
    frames = [demo.read() for _ in range(5)]
    assert [f.seq for f in frames] == [0, 1, 2, 3, 4] and {f.codec for f in frames} == {"jpeg"}
    assert decode.bgr(frames[0]).shape == (480, 640, 3)
    assert not np.array_equal(frames[0].data, frames[4].data)


def test_the_same_seed_shows_the_same():
    one, two, other = (Demo(Capture(width=320, height=240, **FAST), seed) for seed in (1, 1, 2))
    assert all(one.read().data.tobytes() == two.read().data.tobytes() for _ in range(10))
    assert [one.truth(s) for s in range(0, 9000, 300)] != [other.truth(s) for s in range(0, 9000, 300)]


def test_every_digit_comes_and_at_times_goes_away():
    demo = Demo(Capture(fps=30))
    shown = [demo.truth(seq) for seq in range(30 * 60)]
    assert set(shown) == {*range(10), None}
    assert 0.05 < shown.count(None) / len(shown) < 0.3 and shown[0] is not None
    assert sum(truth is not None for truth in shown[:100]) > 60  # most of the first hundred are named


def test_the_truth_is_in_the_picture():
    demo = Demo(Capture(width=640, height=480, fps=30))
    bare = next(s for s in range(2000) if demo.truth(s) is None)
    squares = []
    for seq in (0, bare):
        image = cv2.imdecode(np.frombuffer(demo.draw(seq), np.uint8), cv2.IMREAD_GRAYSCALE)
        side = round(ROI * 480)
        squares.append(image[240 - side // 2 : 240 + side // 2, 320 - side // 2 : 320 + side // 2])
    ink, paper = (np.ptp(square.astype(int)) for square in squares)
    assert ink > 80 and paper < 40


def test_the_digit_stays_inside_the_centre_square():
    width, height = 640, 360
    demo = Demo(Capture(width=width, height=height, fps=30))
    bare = next(s for s in range(2000) if demo.truth(s) is None)
    x, y, side, _ = region.box(ROI, width, height)
    paper = cv2.imdecode(np.frombuffer(demo.draw(bare), np.uint8), cv2.IMREAD_GRAYSCALE).astype(int)
    for seq in range(0, 3000, 7):
        ink = np.abs(cv2.imdecode(np.frombuffer(demo.draw(seq), np.uint8), cv2.IMREAD_GRAYSCALE) - paper) > 60
        assert ink[y : y + side, x : x + side].any() == (demo.truth(seq) is not None)
        ink[y : y + side, x : x + side] = False
        assert not ink.any()


@pytest.mark.parametrize("size", [(1280, 720), (640, 480), (1000, 700), (333, 217), (50, 300), (64, 48), (16, 16)])
def test_splicing_gives_the_picture_that_coding_the_whole_would(size):
    scene = Scene(*size)
    lines = [np.array([[-5, -5], [5, 5], [0, 8]], np.float32)]
    still, drawn = (cv2.imdecode(np.frombuffer(scene.draw(which), np.uint8), 1) for which in ([], lines))
    assert still.shape == drawn.shape == (size[1], size[0], 3)
    changed = np.abs(still.astype(int) - drawn).max(axis=2) > 0
    assert changed.any()
    outside = changed.copy()
    # The lines are 8 px long, their pen 16 px at most, and a coded block that they touch changes as a whole.
    x, y = size[0] // 2, size[1] // 2
    outside[max(0, y - 48) : y + 48, max(0, x - 48) : x + 48] = False
    assert not outside.any()
    assert decode.whole_jpeg(np.frombuffer(scene.draw(lines), np.uint8))


def test_frames_come_at_their_rate_and_a_pause_is_not_caught_up():
    away_s = [0.0]
    demo = Demo(Capture(width=160, height=120, fps=50), clock=lambda: time.monotonic() + away_s[0])
    frames = [demo.read() for _ in range(11)]
    assert frames[-1].monotonic_s - frames[0].monotonic_s > 0.15
    away_s[0] = 60.0  # the reader was away
    frames = [demo.read() for _ in range(6)]
    assert frames[-1].monotonic_s - frames[0].monotonic_s > 0.06


def test_closing_wakes_the_reader():
    demo = Demo(Capture(width=160, height=120, fps=1))
    demo.read()
    threading.Timer(0.05, demo.close).start()
    with pytest.raises(Disconnected):
        demo.read()
    demo.close()


def test_the_digit_follows_to_another_place():
    place = [Region(0.2, 0.5, 0.3)]
    demo = Demo(Capture(width=640, height=480, fps=240), roi=lambda: place[0])
    for place[0] in (Region(0.2, 0.5, 0.3), Region(0.8, 0.5, 0.2)):
        assert np.ptp(decode.grey_square(demo.read(), place[0], 10_000).astype(int)) > 80, "ink on paper"


@pytest.mark.parametrize("roi", [Region(0.2, 0.3, 0.3), Region(1.0, 1.0, 0.4), Region(0.0, 0.0, 1.0), 0.25])
@pytest.mark.parametrize("turn", [{}, {"rotate": 90}, {"rotate": 180, "flip": "horizontal"}, {"rotate": 270}])
def test_the_digit_is_where_the_network_looks(roi, turn):
    capture = Capture(width=640, height=480, fps=240, **turn)
    demo, place = Demo(capture, roi=lambda: roi), region.of(roi)
    place = Region(place.x, place.y, min(place.size, ROI))
    inside = decode.grey_square(demo.read(), place, 10_000)
    whole = decode.bgr(demo.read())
    assert np.ptp(inside.astype(int)) > 80, "ink on paper"
    x, y, width, height = region.box(place, whole.shape[1], whole.shape[0])
    bare = decode.bgr(Demo(capture, roi=lambda: Region(0.5, 0.5, 0.05)).read())
    outside = np.abs(whole.astype(int) - bare).max(axis=2) > 60
    outside[y : y + height, x : x + width] = False
    middle = region.box(0.05, whole.shape[1], whole.shape[0])
    outside[middle.y - 5 : middle.y + middle.height + 5, middle.x - 5 : middle.x + middle.width + 5] = False
    assert not outside.any()
