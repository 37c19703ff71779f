"""Twin of `picam_infer.inference.explanation`: what was given, what was answered, and what in the picture counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from makers import make_bundle, picture
from openvino import opset13 as ops

from picam_infer.core import Frame, PicamError
from picam_infer.inference.explanation import Explainer, Explanation
from picam_infer.models.bundle import Bundle, Card, Edges, Input, Origin, Photo, load, save


def frame(image: np.ndarray) -> Frame:
    return Frame(image, "bgr", image.shape[1], image.shape[0], 0.0, 0.0, 0)


def explain(bundle: Bundle, image: np.ndarray, label: str | None = None) -> Explanation:
    explainer = Explainer(bundle)
    try:
        return explainer(frame(image), label)
    finally:
        explainer.close()


def corner_bundle(folder: Path, layout: str = "NHWC") -> Bundle:
    """A network that only looks at the red of the top left quarter: `lit` is 4 times its mean, `dark` is 1."""
    shape = [1, 24, 24, 3] if layout == "NHWC" else [1, 3, 24, 24]
    mask = np.zeros((1, 24, 24, 3), np.float32)
    mask[:, :12, :12, 0] = 1
    mask = mask if layout == "NHWC" else mask.transpose(0, 3, 1, 2)
    source = ops.parameter(shape, np.float32, name="input")
    total = ops.reduce_sum(ops.multiply(source, ops.constant(mask)), np.array([1, 2, 3]), keep_dims=False)
    mean = ops.multiply(ops.reshape(total, np.array([1, 1]), False), np.float32(4 / 144))
    model = ov.Model(
        [ops.result(ops.concat([ops.constant(np.array([[1.0]], np.float32)), mean], 1))], [source], "corner"
    )
    folder.mkdir(parents=True)
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
    card = Card(
        name="corner",
        input=Input(tuple(shape), layout),  # type: ignore[arg-type]
        preprocess=Photo(colour="rgb", scale=1 / 127.5, offset=-1.0),
        origin=Origin("made by the tests"),
        probabilities=False,
    )
    files = {name: (folder / name).read_bytes() for name in ("model.xml", "model.bin")}
    return save(folder.parent / "corner", card, ("dark", "lit"), files)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_the_part_that_counts_is_found(layout: str, tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32, 2] = 255  # BGR: red
    found = explain(corner_bundle(tmp_path / "build", layout), image)
    assert found.labels[found.chosen] == "lit" and found.reading == "softmax"
    assert found.box == (8, 0, 48, 48)
    x, y = found.peak
    assert x < 0.5 and y < 0.5
    assert found.saliency[4:8, 4:8].mean() > 0.5 and np.abs(found.saliency[18:, 18:]).max() < 0.05
    heat = found.heat()
    assert heat[6, 6, 2] > heat[20, 20, 2] + 40


def test_numbers_and_outputs_before_and_after(tmp_path: Path) -> None:
    image = np.full((48, 48, 3), (0, 0, 255), np.uint8)
    found = explain(corner_bundle(tmp_path / "build"), image)
    assert (found.numbers.least, found.numbers.most) == (-1.0, 1.0)
    assert found.numbers.mean == pytest.approx((1, -1, -1))
    assert (found.numbers.low, found.numbers.high) == (-1.0, 1.0)
    assert found.raw.tolist() == pytest.approx([1.0, 4.0], abs=1e-3)
    powers = np.exp(found.raw - found.raw.max())
    assert found.scores == pytest.approx(powers / powers.sum(), abs=1e-4)
    assert found.seen()[3, 3].tolist() == [0, 0, 255]
    content = found.as_json()
    assert content["outputs"][0]["label"] == "lit" and content["outputs"][0]["raw"] == pytest.approx(4.0, abs=1e-3)
    assert content["input"]["colour"] == "rgb" and content["input"]["fit"] == "crop"
    assert len(content["saliency"]["grid"]) == len(content["saliency"]["grid"][0]) == found.steps


def test_colours_are_shown_right_for_a_network_that_takes_bgr(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "m", chain=Photo(colour="bgr"))
    found = explain(bundle, np.full((48, 48, 3), (10, 120, 240), np.uint8))
    assert found.colour == "bgr" and found.seen()[3, 3].tolist() == [10, 120, 240]


def test_another_class_may_be_asked_for(tmp_path: Path) -> None:
    bundle = corner_bundle(tmp_path / "build")
    image = np.zeros((48, 48, 3), np.uint8)
    image[:24, :24, 2] = 255
    against = explain(bundle, image, "dark")
    assert against.labels[against.chosen] == "dark" and against.saliency[5, 5] < -0.4
    with pytest.raises(PicamError, match="no class 'cat'"):
        explain(bundle, image, "cat")


@pytest.mark.parametrize(("classes", "named"), [(11, "c0, .*, c10$"), (13, "c0, .*, c11 …$")])
def test_classes_that_are_not_named_are_hinted_at(classes: int, named: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "m", labels=[f"c{number}" for number in range(classes)])
    with pytest.raises(PicamError, match=f"its classes: {named}"):
        explain(bundle, np.zeros((48, 48, 3), np.uint8), "cat")


def test_a_certain_answer_still_has_a_reason(tmp_path: Path) -> None:
    # Probabilities near 1 hardly move: their odds do.
    bundle = make_bundle(tmp_path / "m", labels=("dark", "bright"), shape=(1, 16, 16, 3))
    image = np.zeros((64, 64, 3), np.uint8)
    image[:16] = 255
    found = explain(bundle, image)
    assert found.reading == "as they are" and np.abs(found.saliency).max() == pytest.approx(1.0)


def test_outlines_are_covered_with_black(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "m", chain=Edges(roi=1.0, scale=1 / 255), shape=(1, 28, 28, 1))
    image = picture(255, 200, 200)
    image[90:110, 60:140] = 0
    found = explain(bundle, image)
    assert found.colour == "grey" and found.input_image.shape == (28, 28, 1) and found.input_image.any()
    assert found.seen().shape == (28, 28, 3)
    # Where there is no outline, covering changes nothing.
    assert found.saliency[0, 0] == 0.0


def test_a_slow_network_is_asked_less_often(tmp_path: Path) -> None:
    explainer = Explainer(load(make_bundle(tmp_path / "m").folder))
    assert explainer(frame(picture(9)), budget_s=0.0).steps == 5
