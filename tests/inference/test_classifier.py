"""A frame's way through a model, alone and in a loop that keeps the engine busy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from makers import jpeg_frame, make_bundle, picture

from picam_infer.config import Decide, EngineSettings
from picam_infer.core import BadFrame, Pixels, Scores
from picam_infer.imaging.pictures import as_frame
from picam_infer.inference import engines
from picam_infer.inference.classifier import Classifier
from picam_infer.models.bundle import Colour, Photo


class Depth2:
    """An engine that says in turn what it was asked: as brightness, of two classes."""

    name, depth, telemetry = "depth 2", 2, None

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.closed = False

    def submit(self, input_image: Pixels) -> None:
        self.asked.append(float(input_image.mean()) / 255)

    def collect(self) -> Scores:
        bright = self.asked.pop(0)
        return np.array([1 - bright, bright], np.float32)

    def close(self) -> None:
        self.closed = True


def test_one_frame_through_a_real_model(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "m")
    classifier = Classifier.of(bundle, engines.open_engine(EngineSettings(kind="openvino"), bundle))
    frame = jpeg_frame(picture(255), 7)
    result = classifier.classify(frame)
    classifier.close()
    assert (result.label, result.seq, result.engine) == ("bright", 7, "openvino:CPU")
    assert result.input_image is None and result.infer_ms > 0 and result.frame is frame


def test_answers_come_in_order_and_what_the_network_saw_only_where_it_was_asked_for(tmp_path: Path) -> None:
    bundle, engine = make_bundle(tmp_path / "m"), Depth2()
    classifier = Classifier.of(bundle, engine)
    classifier.submit(jpeg_frame(picture(0), 1), keep_input=True)
    assert classifier.free and classifier.under_way == 1
    classifier.submit(jpeg_frame(picture(255), 2))
    assert not classifier.free
    first, second = classifier.collect(), classifier.collect()
    assert (first.frame.seq, second.frame.seq) == (1, 2) and first.scores[1] < 0.1 < 0.9 < second.scores[1]
    assert first.input is not None and first.input.mean() < 5, "its own copy, not the buffer of the next frame"
    assert second.input is None
    classifier.close()
    assert engine.closed


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_what_the_network_saw_is_a_picture_whatever_order_of_colours_it_takes(colour: Colour, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "m", chain=Photo(colour=colour))
    classifier = Classifier.of(bundle, Depth2())
    frame = as_frame(np.full((48, 64, 3), (10, 120, 240), np.uint8))
    answer = classifier.answer(frame, keep_input=True)
    assert answer.input is not None
    assert answer.input[0, 0].tolist() == ([240, 120, 10] if colour == "rgb" else [10, 120, 240]), "the network's order"
    image = classifier.decide(answer, Decide()).input_image
    assert image is not None and (image == (10, 120, 240)).all() and image.shape == (8, 8, 3)


def test_single_pictures_do_not_colour_each_other_and_frames_of_a_film_do(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "m")
    smooth = Decide(smooth=0.9, threshold=0.5)
    classifier = Classifier.of(bundle, Depth2(), settings=smooth)
    dark, bright = jpeg_frame(picture(0), 1), jpeg_frame(picture(255), 2)
    assert [classifier.classify(frame).label for frame in (dark, bright)] == [bundle.labels[0], bundle.labels[1]]
    classifier.reset()
    said = [classifier.decide(classifier.answer(frame), smooth).label for frame in (dark, bright)]
    assert said == [bundle.labels[0]] * 2


def test_a_damaged_frame_leaves_nothing_under_way_and_settings_count_from_the_next_frame(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "m")
    classifier = Classifier.of(bundle, Depth2())
    broken = jpeg_frame(picture(90), 1)
    broken.data[: len(broken.data)] = 0
    with pytest.raises(BadFrame):
        classifier.submit(broken)
    assert classifier.under_way == 0
    half = np.zeros((240, 320, 3), np.uint8)
    half[:, 240:] = 255
    whole = classifier.answer(jpeg_frame(half, 2)).scores[1]
    classifier.chain = Photo(roi=0.3)
    assert classifier.answer(jpeg_frame(half, 3)).scores[1] < whole
