"""The renderer: sizes, repeatability, and that what it draws is there."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from picam_infer.training import glyphs, negatives, render
from picam_infer.training.negatives import hands

Lay = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def field(digit: int, seed: int = 0) -> np.ndarray:
    return glyphs.strokes_field(glyphs.digit_strokes(digit, np.random.default_rng(seed)))


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080)])
def test_a_frame_has_its_size_and_the_digit_in_its_centre_square(size: tuple[int, int]) -> None:
    view = render.View.frame(*size)
    calm = render.RenderParams(height=(0.5, 0.6), ink=(0.05, 0.1), chalk=0.0, ruled=0.0, noise=(0.0, 1.0), shadow=0.0)
    grey = render.render_digit(field(8), False, view, calm, np.random.default_rng(1))
    assert grey.shape == (size[1], size[0])
    assert grey.dtype == np.uint8
    y, x, half = size[1] // 2, size[0] // 2, view.roi_px // 2
    square = grey[y - half : y + half, x - half : x + half]
    assert np.ptp(square.astype(int)) > 60


@pytest.mark.parametrize("kind", [*negatives.INK, *negatives.PICTURES, "bare", "edge", "fingers", "cut"])
def test_every_kind_without_a_digit_renders_as_a_crop_and_as_a_frame(kind: str) -> None:
    for view in (render.View.crop(144), render.View.frame(320, 240)):
        grey = render.render_none(kind, view, render.TRAIN, np.random.default_rng(3))
        assert grey.shape == (view.height, view.width)
        assert grey.dtype == np.uint8


def test_the_same_seed_gives_the_same_picture() -> None:
    def draw() -> np.ndarray:
        rng = np.random.default_rng(5)
        return render.render_digit(field(3), False, render.View.crop(192), render.TRAIN, rng)

    assert np.array_equal(draw(), draw())


def test_evaluation_uses_other_ranges_and_content_than_training() -> None:
    assert {kind for kind, _ in render.EVAL.none} - {kind for kind, _ in render.TRAIN.none}
    same = [
        n
        for n in ("height", "pen", "paper", "ink", "light", "focus", "motion", "noise", "jpeg")
        if getattr(render.TRAIN, n) == getattr(render.EVAL, n)
    ]
    assert same == []


@pytest.mark.parametrize("digit", range(10))
def test_built_in_strokes_fill_about_the_unit_square(digit: int) -> None:
    for seed in range(5):
        lines = glyphs.digit_strokes(digit, np.random.default_rng(seed))
        every = np.concatenate(lines)
        assert all(line.dtype == np.float32 and line.shape[1] == 2 for line in lines)
        assert every.min() > -0.3
        assert every.max() < 1.3
        assert np.ptp(every[:, 1]) > 0.8


def test_a_skeleton_is_one_pixel_wide_and_keeps_the_loop() -> None:
    image = np.zeros((28, 28), np.uint8)
    cv2.ellipse(image, (14, 14), (6, 9), 0, 0, 360, 255, 3)
    thin = glyphs.skeletons(image[None])[0]
    assert 30 < thin.sum() < 110
    holes = cv2.connectedComponents(1 - thin, connectivity=4)[0]
    assert holes == 3  # label 0, outside, inside


def pen(grey: int, width: int) -> np.ndarray:
    image = np.zeros((28, 28), np.uint8)
    cv2.ellipse(image, (14, 14), (6, 9), 0, 0, 360, grey, width)
    return image


def test_a_stroke_that_grows_faint_keeps_its_path_and_its_outline_whole() -> None:
    image = pen(255, 2)
    image[10:18] = image[10:18] * 0.35
    path = glyphs.skeletons(image[None])[0]
    assert cv2.connectedComponents(path, connectivity=8)[0] == 2  # the ground and one stroke
    ink = (glyphs.digit_field(image, None) < 0).astype(np.uint8)
    assert cv2.connectedComponents(ink, connectivity=8)[0] == 2


def test_a_blotted_loop_stays_open() -> None:
    image = np.zeros((28, 28), np.uint8)
    cv2.ellipse(image, (14, 14), (8, 10), 0, 0, 360, 255, -1)
    cv2.ellipse(image, (14, 14), (1, 3), 0, 0, 360, 150, -1)  # what the pen left is grey, not white
    path = glyphs.skeletons(image[None])[0]
    assert cv2.connectedComponents(1 - path, connectivity=4)[0] == 3
    assert glyphs.digit_field(image, None)[56, 56] > 0 > glyphs.digit_field(image, None)[56, 36]


def test_paper_lies_beyond_the_reach_of_the_broadest_outline() -> None:
    outside = glyphs.digit_field(pen(255, 3), None)[4, 4]
    assert outside == pytest.approx(0.06)


@pytest.mark.parametrize("lay", [hands.fingers, hands.hand])
def test_a_hand_covers_some_of_the_square_and_leaves_some(lay: Lay) -> None:
    covered = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        grey = np.full((192, 192), 250, np.float32)
        laid = lay(grey, 192, rng)
        covered.append(float((np.abs(laid - 250) > 15).mean()))
    assert 0.1 < np.median(covered) < 0.8


def test_a_tidy_desk_has_no_content_that_is_kept_for_the_evaluation() -> None:
    assert render.CALM.none == render.TRAIN.none
    assert render.CALM.rough == 0 < render.TRAIN.rough


def test_kinds_of_frames_are_drawn_by_their_shares_in_any_process() -> None:
    mix = pickle.loads(pickle.dumps(render.TRAINING))  # as the pool's workers get it
    rng = np.random.default_rng(0)
    drawn = [render.one_of(mix, rng) for _ in range(2000)]
    for params, share in render.TRAINING:
        assert drawn.count(params) / len(drawn) == pytest.approx(share, abs=0.04)


PLAIN = replace(render.EVAL, paper=(240.0, 240.0), ink=(0.1, 0.1), chalk=0.0, ruled=0.0, edge=0.0, specks=0.0,
                light=(0.0, 0.0), shadow=0.0, focus=(0.0, 0.0), motion=(0.0, 0.0), noise=(0.0, 0.0))  # fmt: skip


def ink_of(params: render.RenderParams, line: np.ndarray, seed: int) -> np.ndarray:
    grey = render.render_digit(line, False, render.View.crop(192), params, np.random.default_rng(seed))
    return (grey < int(grey[0, 0]) / 2 + 15).astype(np.uint8)


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_lies_in_the_square_as_a_whole(digit: int) -> None:
    sprawling = replace(PLAIN, height=(0.9, 1.1), turn_deg=40.0)
    for seed in range(8):
        ink = ink_of(sprawling, field(digit, seed), seed)
        assert ink.any()
        assert not ink[[0, -1]].any() and not ink[:, [0, -1]].any()


def small_loop() -> np.ndarray:
    """A nine whose loop a broad pen would fill."""
    turn = np.linspace(0, 2 * np.pi, 30)
    loop = np.stack([0.45 + 0.09 * np.cos(turn), 0.12 + 0.09 * np.sin(turn)], axis=1)
    return glyphs.strokes_field([loop.astype(np.float32), np.array([[0.54, 0.1], [0.5, 1.0]], np.float32)])


@pytest.mark.parametrize(("line", "loops"), [(field(0), 1), (field(6), 1), (field(8), 2), (small_loop(), 1)])
def test_no_pen_closes_a_digits_loops(line: np.ndarray, loops: int) -> None:
    params = replace(PLAIN, height=(0.6, 0.6), pen=(0.012, 0.16))
    inks = [ink_of(params, line, seed) for seed in range(20)]
    assert [cv2.connectedComponents(1 - ink, connectivity=4)[0] - 2 for ink in inks] == [loops] * 20


def test_a_careless_pen_fills_a_small_loop() -> None:
    params = replace(PLAIN, height=(0.6, 0.6), pen=(0.1, 0.16), careless=1.0)
    assert cv2.connectedComponents(1 - ink_of(params, small_loop(), 0), connectivity=4)[0] == 2


def test_a_camera_exposes_a_dark_desk_longer() -> None:
    dark = replace(PLAIN, paper=(30.0, 30.0))
    bare = [render.render_none("bare", render.View.crop(192), p, np.random.default_rng(0)) for p in (dark, PLAIN)]
    assert bare[0].mean() == pytest.approx(95, abs=6)
    assert bare[1].mean() > 150


def test_a_reduced_decode_halves_the_frame() -> None:
    frame = render.tinted(np.full((240, 320), 200, np.uint8), np.random.default_rng(0))
    assert render.through_jpeg(frame, 80).shape == (240, 320)
    assert render.through_jpeg(frame, 80, 2).shape == (120, 160)
    assert abs(int(render.through_jpeg(frame, 80).mean()) - 200) <= 3


def test_the_scene_is_drawn_in_full_with_and_without_a_digit() -> None:
    rng = np.random.default_rng(0)
    paper = render.paper_background(1280, 720, rng)
    lines = glyphs.digit_strokes(5, rng)
    frame = render.draw_scene(1280, 720, lines, (0.05, 0.0), 4.0, rng, background=paper)
    assert frame.shape == (720, 1280, 3)
    assert frame.dtype == np.uint8
    bare = render.draw_scene(1280, 720, None, (0.0, 0.0), 0.0, rng, background=paper)
    assert np.abs(bare.astype(int) - frame).max() > 80
