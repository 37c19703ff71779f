"""A still scene is asked about less, and no change in one is missed: slow, sudden, small, or in a dim room."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from makers import jpeg_frame

from picam_infer.core import Frame
from picam_infer.inference import preprocess
from picam_infer.inference.classifier import Classifier
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.inference.stillness import Stillness
from picam_infer.models.bundle import Chain, Edges, Input, Photo

FPS = 10
KINDS = [(Photo(), Input((1, 224, 224, 3))), (Edges(), Input((1, 28, 28, 1)))]
PHOTO = KINDS[:1]


def camera(
    draw: Callable[[np.ndarray, float], None], light: float, noise: float, seconds: float
) -> Iterator[np.ndarray]:
    """Yield 640×480 pictures of a table, on which `draw` puts what is there at a moment, with a sensor's noise."""
    rng = np.random.default_rng(3)
    table = cv2.resize(rng.integers(150, 190, (6, 8, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    grains = [rng.normal(0, noise, image.shape).astype(np.float32) for image in [table] * 5]
    for number in range(int(seconds * FPS)):
        image = table.copy()
        draw(image, number / FPS)
        yield np.clip(image * np.float32(light) + grains[number % 5], 0, 255).astype(np.uint8)


def asked(pictures: Iterator[np.ndarray], chain: Chain, network: Input, per_s: float = 2.0) -> list[float]:
    """Return at which seconds of the recording the network is asked."""
    now_s = [0.0]
    stillness = Stillness(after_s=2.0, per_s=per_s, clock=lambda: now_s[0])
    prepare = preprocess.build(chain, network)
    found = []
    for number, image in enumerate(pictures):
        now_s[0] = number / FPS
        frame = jpeg_frame(image)
        if not stillness.rests(lambda frame=frame: prepare.glance(frame)) and not stillness.skips(
            prepare(frame), chain
        ):
            found.append(now_s[0])
    return found


def nothing(image: np.ndarray, at_s: float) -> None: ...


@pytest.mark.parametrize(("chain", "network"), KINDS)
@pytest.mark.parametrize(("light", "noise"), [(1.0, 2.0), (0.25, 12.0)], ids=["bright", "dim webcam"])
def test_a_still_scene_is_asked_about_twice_a_second(chain: Chain, network: Input, light: float, noise: float) -> None:
    times = asked(camera(nothing, light, noise, 6), chain, network)
    assert 7 <= sum(t >= 2.2 for t in times) <= 9
    assert sum(t < 1.95 for t in times) == 20, "all, at first"


@pytest.mark.parametrize(("chain", "network"), KINDS)
def test_something_put_down_is_inferred_at_once(chain: Chain, network: Input) -> None:
    def put_down(image: np.ndarray, at_s: float) -> None:
        if at_s >= 4.5:
            cv2.circle(image, (330, 250), 18, (40, 40, 40), -1)

    times = asked(camera(put_down, 1.0, 2.0, 6), chain, network, per_s=0.2)
    assert min(t for t in times if t >= 4.4) == pytest.approx(4.5, abs=1e-6)
    assert sum(4.5 <= t < 6 for t in times) == 15, "and all that follow, for as long as said"


@pytest.mark.parametrize(("chain", "network"), PHOTO)
def test_a_light_that_is_switched_is_seen_at_once_in_a_dim_room(chain: Chain, network: Input) -> None:
    def lamp(image: np.ndarray, at_s: float) -> None:
        if at_s >= 4.5:
            np.copyto(image, cv2.add(image, np.full_like(image, 60)))

    times = asked(camera(lamp, 0.4, 8.0, 5), chain, network, per_s=0.2)
    assert min(t for t in times if t >= 4.4) == pytest.approx(4.5, abs=1e-6)


@pytest.mark.parametrize(("chain", "network"), KINDS)
def test_a_slow_approach_adds_up(chain: Chain, network: Input) -> None:
    def approach(image: np.ndarray, at_s: float) -> None:
        if at_s >= 4:
            right = 130 + int((at_s - 4) * 24)  # two pixels a picture
            cv2.rectangle(image, (0, 150), (right, 330), (40, 40, 40), -1)

    times = asked(camera(approach, 1.0, 2.0, 12), chain, network, per_s=0.2)
    inside_s = 4 + (225 - 130) / 24  # it reaches the digit's square, which is 192 wide
    assert sum(inside_s < t < inside_s + 2 for t in times) > 8


class Silent:
    """An engine that always answers the same."""

    name, depth, telemetry = "silent", 1, None

    def submit(self, input_image: np.ndarray) -> None: ...

    def collect(self) -> np.ndarray:
        return np.array([0.9, 0.1], np.float32)

    def close(self) -> None: ...


class Counted:
    """A preprocessor that counts the inputs it makes."""

    def __init__(self, chain: Chain, network: Input) -> None:
        self._prepare = preprocess.build(chain, network)
        self.glance = self._prepare.glance
        self.made = 0

    def __call__(self, frame: Frame) -> np.ndarray:
        self.made += 1
        return self._prepare(frame)


@pytest.mark.parametrize(("chain", "network"), KINDS)
def test_in_a_still_scene_only_inputs_for_the_network_are_computed(chain: Chain, network: Input) -> None:
    now_s, prepare, answers = [0.0], Counted(chain, network), 0
    stillness = Stillness(2.0, 2.0, lambda: now_s[0])
    classifier = Classifier(Silent(), lambda _: prepare, Postprocessor("ab"), chain, stillness=stillness)
    for number, image in enumerate(camera(nothing, 1.0, 2.0, 6)):
        now_s[0] = number / FPS
        classifier.submit(jpeg_frame(image), may_skip=True)
        if classifier.under_way:
            classifier.collect()
            answers += 1
    assert 27 <= answers <= 30
    assert answers < prepare.made <= answers + 2, "one for the first glance, with which the next ones are compared"
