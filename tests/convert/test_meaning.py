"""What a network's outputs are and how it wants its pictures: read from the graph, the same for every format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import openvino.opset13 as op
import pytest
from makers import shared
from small_models import (
    COLOURS,
    colour_keras,
    colour_onnx,
    dense,
    keras,
    layer,
    network,
    onnx_file,
    paint,
    save_ir,
    tflite,
    tflite_metadata,
)

from picam_infer.cli import main
from picam_infer.convert.conversion import Options, convert
from picam_infer.convert.report import Report
from picam_infer.core import PicamError, UsageError
from picam_infer.models import bundle
from picam_infer.models.bundle import Card, Edges, Photo

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
KERNEL = 8 * np.eye(3)


def softmax(y: Any) -> Any:
    return op.softmax(y, 1)


def constant(values: Any) -> Any:
    return op.constant(np.asarray(values, np.float32))


def logistic_by_hand(y: Any) -> Any:
    return op.divide(constant(1), op.add(op.exp(op.negative(y)), constant(1)))


def labels(folder: Path, *names: str) -> Path:
    path = folder / "names.txt"
    path.write_text("".join(f"{name}\n" for name in names), "utf-8")
    return path


def card_of(source: Path, out: Path, **options: Any) -> tuple[Card, Report]:
    report = convert(source, out, Options(**options))
    return bundle.load(out).card, report


def classified(out: Path, *pictures: Path, capsys: Any) -> list[dict[str, Any]]:
    """Return what `classify --json` says, in float32."""
    assert main(["classify", "--json", "--top", "9", "-m", str(out), *map(str, pictures)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# -- outputs ---------------------------------------------------------------------


def test_one_sigmoid_with_two_labels_stays_a_probability(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = colour_keras(tmp_path / "m.h5", [[10.0], [0], [0]], -5.0, "sigmoid")
    card, _ = card_of(source, tmp_path / "o", labels=labels(tmp_path, "not red", "red"))
    assert card.probabilities and card.task == "classification"
    red, black = classified(tmp_path / "o", *paint(tmp_path, "red", "black"), capsys=capsys)
    assert red["label"] == "red" and red["score"] == pytest.approx(0.993, abs=0.005)
    assert black["label"] == "not red" and black["score"] == pytest.approx(0.993, abs=0.005)
    assert sum(one["score"] for one in red["top"]) == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("make", [
    lambda p: colour_keras(p / "m.h5", activation="sigmoid"), lambda p: colour_onnx(p / "m.onnx", "Sigmoid"),
    lambda p: tflite(p / "m.tflite", last="LOGISTIC"), lambda p: save_ir(p / "m.xml", network(op.sigmoid)),
    lambda p: save_ir(p / "m.xml", network(logistic_by_hand)),
    lambda p: colour_keras(p / "m.h5", activation="linear", loss="binary_crossentropy"),
], ids=["keras", "onnx", "tflite", "ir", "written out", "logits"])  # fmt: skip
def test_several_sigmoids_are_classes_that_may_apply_at_once(
    make: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card, report = card_of(make(tmp_path), tmp_path / "o", labels=labels(tmp_path, "r", "g", "b"))
    assert card.task == report.task == "multi-label" and card.probabilities
    assert any("several may apply" in note or "independent logits" in note for note in card.notes)
    white, red, black = classified(tmp_path / "o", *paint(tmp_path, "white", "red", "black"), capsys=capsys)
    assert white["labels"] == ["r", "g", "b"] and white["label"] == "r, g, b"
    assert red["labels"] == ["r"] and red["label"] == "r" and red["score"] > 0.99
    assert black["labels"] == [] and black["label"] is None


def test_several_sigmoids_trained_to_exclude_each_other(tmp_path: Path) -> None:
    source = colour_keras(tmp_path / "m.h5", activation="sigmoid", loss="categorical_crossentropy")
    assert card_of(source, tmp_path / "o")[0].task == "classification"
    source = colour_keras(tmp_path / "m.h5", activation="sigmoid")
    assert card_of(source, tmp_path / "o", task="classification")[0].task == "classification"


@pytest.mark.parametrize("finish", [
    lambda y: op.clamp(y, 0.0, 1.0), lambda y: op.minimum(op.maximum(y, constant(0)), constant(1)),
    lambda y: op.multiply(op.clamp(op.add(y, constant(3)), 0.0, 6.0), constant(1 / 6)),
    lambda y: op.convert(op.greater(y, constant(0.5)), "f32"),
], ids=["clipped", "minimum and maximum", "hard sigmoid", "yes or no"])  # fmt: skip
def test_numbers_held_between_0_and_1_are_probabilities_as_they_are(
    finish: Callable[[Any], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_ir(tmp_path / "m.xml", network(finish, kernel=[[8.0], [-8], [-8]]))
    assert card_of(source, tmp_path / "o", labels=labels(tmp_path, "not red", "red"))[0].probabilities
    red, blue = classified(tmp_path / "o", *paint(tmp_path, "red", "blue"), capsys=capsys)
    assert (red["label"], blue["label"]) == ("red", "not red")
    assert red["score"] > 0.99 and blue["score"] > 0.99


def test_a_hard_sigmoid_of_keras_for_each_class(tmp_path: Path) -> None:
    card, _ = card_of(colour_keras(tmp_path / "m.h5", activation="hard_sigmoid"), tmp_path / "o")
    assert card.task == "multi-label" and card.probabilities and not card.softmax


def test_a_softmax_that_is_cut_off_stays_one(tmp_path: Path) -> None:
    source = save_ir(tmp_path / "m.xml", network(lambda y: op.clamp(softmax(y), 1e-7, 1 - 1e-7)))
    card, _ = card_of(source, tmp_path / "o")
    assert card.task == "classification" and card.probabilities


def test_a_probability_and_its_complement_exclude_each_other(tmp_path: Path) -> None:
    def both(y: Any) -> Any:
        return op.concat([op.subtract(constant(1), op.sigmoid(y)), op.sigmoid(y)], 1)

    source = save_ir(tmp_path / "m.xml", network(both, kernel=[[8.0], [-4], [-4]]))
    assert card_of(source, tmp_path / "o")[0].task == "classification"


def test_a_softmax_over_one_number_is_refused(tmp_path: Path) -> None:
    source = save_ir(tmp_path / "m.xml", network(softmax, kernel=[[8.0], [-4], [-4]]))
    with pytest.raises(PicamError, match="whatever it sees"):
        convert(source, tmp_path / "o", Options(labels=labels(tmp_path, "not red", "red")))


def test_an_answer_without_its_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save_ir(tmp_path / "m.xml", network(lambda y: op.squeeze(softmax(y), op.constant(np.int64(0)))))
    convert(source, tmp_path / "o", Options(labels=labels(tmp_path, *"rgb")))
    assert [one["label"] for one in classified(tmp_path / "o", *paint(tmp_path, "green"), capsys=capsys)] == ["g"]


@pytest.mark.parametrize("make", [
    lambda p: colour_keras(p / "m.h5", activation="linear"), lambda p: colour_onnx(p / "m.onnx", ""),
    lambda p: colour_onnx(p / "m.onnx", "LogSoftmax"), lambda p: tflite(p / "m.tflite", last=""),
    lambda p: save_ir(p / "m.xml", network(lambda y: y)),
], ids=["keras", "onnx", "log softmax", "tflite", "ir"])  # fmt: skip
def test_logits_get_a_softmax(make: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card, _ = card_of(make(tmp_path), tmp_path / "o", labels=labels(tmp_path, "r", "g", "b"))
    assert card.softmax
    (red,) = classified(tmp_path / "o", *paint(tmp_path, "red"), capsys=capsys)
    assert red["label"] == "r" and red["score"] == pytest.approx(np.exp(8) / (np.exp(8) + 2), abs=0.003)


def test_a_softmax_that_is_written_out_gets_no_second_one(tmp_path: Path) -> None:
    def written(y: Any) -> Any:
        return op.divide(op.exp(y), op.reduce_sum(op.exp(y), np.array([1]), True))

    assert not card_of(save_ir(tmp_path / "m.xml", network(written)), tmp_path / "o")[0].softmax


@pytest.mark.parametrize(("names", "said"), [
    ((), "output: 2.00"), (("degrees",), "output: 2.00 degrees"), (("angle [°]",), "angle: 2.00 °"),
    (("speed (m/s)",), "speed: 2.00 m/s"), (("height: cm",), "height: 2.00 cm"),
])  # fmt: skip
def test_one_linear_output_is_a_value_in_its_unit(
    names: Sequence[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = colour_keras(tmp_path / "m.h5", [[3.0], [0], [0]], -1.0, "linear")
    named = {"labels": labels(tmp_path, *names)} if names else {}
    card, report = card_of(source, tmp_path / "o", **named)
    assert card.task == "regression" and not card.softmax and "a value" in "\n".join(report.lines())
    red, black = paint(tmp_path, "red", "black")
    assert main(["classify", "-m", str(tmp_path / "o"), str(red)]) == 0
    shown = capsys.readouterr().out
    assert said in shown and "%" not in shown and "unknown" not in shown
    (low,) = classified(tmp_path / "o", black, capsys=capsys)
    assert low["value"] == low["score"] == pytest.approx(-1, abs=0.01) and low["label"] is not None


def test_percent_are_probabilities_and_other_scales_are_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_ir(tmp_path / "m.xml", network(lambda y: op.multiply(softmax(y), constant(100))))
    assert card_of(source, tmp_path / "o", labels=labels(tmp_path, *"rgb"))[0].task == "classification"
    (red,) = classified(tmp_path / "o", *paint(tmp_path, "red"), capsys=capsys)
    assert red["label"] == "r" and 0.98 < red["score"] <= 1
    source = save_ir(tmp_path / "m.xml", network(lambda y: op.multiply(op.sigmoid(y), constant(180))))
    assert card_of(source, tmp_path / "o")[0].task == "regression"


def test_several_values_have_names_and_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = colour_keras(tmp_path / "m.h5", [[1.0, 0], [0, 2], [0, 0]], [0.5, -3], "linear", loss="mse")
    card, _ = card_of(source, tmp_path / "o", labels=labels(tmp_path, "steering [°]", "throttle"))
    assert card.task == "regression" and card.units == ("°", "")
    (red,) = classified(tmp_path / "o", *paint(tmp_path, "red"), capsys=capsys)
    assert [(one["label"], one["unit"]) for one in red["top"]] == [("steering", "°"), ("throttle", "")]
    assert [one["score"] for one in red["top"]] == pytest.approx([1.5, -3], abs=0.02)


@pytest.mark.parametrize(("loss", "activation", "task"), [
    (None, "linear", "classification"), ("mean_squared_error", "linear", "regression"),
    ({"class_name": "MeanAbsoluteError", "config": {}}, "linear", "regression"),
    ({"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}}, "linear", "classification"),
    ({"class_name": "function", "config": "huber"}, "linear", "regression"), (["mse"], "linear", "regression"),
    (None, "tanh", "regression"), ("mse", "softmax", "classification"),
])  # fmt: skip
def test_the_training_loss_distinguishes_values_from_classes(
    loss: Any, activation: str, task: str, tmp_path: Path
) -> None:
    source = colour_keras(tmp_path / "m.h5", activation=activation, loss=loss)
    assert card_of(source, tmp_path / "o")[0].task == task


def test_one_logit_with_two_labels_is_two_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = colour_keras(tmp_path / "m.h5", [[10.0], [0], [0]], -5.0, "linear")
    card, _ = card_of(source, tmp_path / "o", labels=labels(tmp_path, "not red", "red"))
    assert card.task == "classification" and any("sigmoid was added" in note for note in card.notes)
    red, black = classified(tmp_path / "o", *paint(tmp_path, "red", "black"), capsys=capsys)
    assert (red["label"], black["label"]) == ("red", "not red") and red["score"] == pytest.approx(0.993, abs=0.005)


def test_the_user_says_what_the_outputs_are(tmp_path: Path) -> None:
    source = colour_keras(tmp_path / "m.h5", activation="linear")
    for task, probabilities in (("regression", False), ("multi-label", True), ("classification", False)):
        card, _ = card_of(source, tmp_path / "o", task=task)
        assert (card.task, card.probabilities) == (task, probabilities)


@pytest.mark.parametrize(("finish", "said"), [
    (lambda y: op.reshape(op.concat([y] * 1024, 1), np.array([1, 32, 32, 3]), False), "another picture"),
    (lambda y: op.softmax(op.reshape(op.concat([y] * 1024, 1), np.array([1, 32, 32, 3]), False), 3), "segmentation"),
    (lambda y: op.sigmoid(op.reshape(op.concat([y] * 1024, 1), np.array([1, 3, 32, 32]), False)), "another picture"),
    (lambda y: op.reshape(op.concat([y] * 40, 1), np.array([1, 30, 4]), False), "detection"),
    (lambda y: op.reshape(op.concat([y] * 85, 1), np.array([1, 1, 1, 15, 17]), False), "detection"),
    (lambda y: op.normalize_l2(op.concat([y] * 10, 1), np.array([1]), 1e-9, "add"), "embedding"),
    (lambda y: op.relu(op.concat([y] * 20, 1)), "embedding"),
    (lambda y: op.matmul(y, constant(np.ones((3, 128))), False, False), "embedding"),
], ids=["picture", "regions", "mask", "boxes", "ssd", "normalised", "features", "face"])  # fmt: skip
def test_other_kinds_are_refused_with_what_they_are(finish: Callable[[Any], Any], said: str, tmp_path: Path) -> None:
    source = save_ir(tmp_path / "m.xml", network(finish))
    with pytest.raises(PicamError, match=said) as caught:
        convert(source, tmp_path / "o")
    assert caught.value.hint and not (tmp_path / "o").exists()


def test_labels_make_classes_of_what_looks_like_an_embedding(tmp_path: Path) -> None:
    source = save_ir(tmp_path / "m.xml", network(lambda y: op.matmul(y, constant(np.ones((3, 128))), False, False)))
    names = labels(tmp_path, *(f"bird {at}" for at in range(128)))
    assert card_of(source, tmp_path / "o", labels=names)[0].task == "classification"


def two_outputs(y: Any) -> list[Any]:
    return [op.concat([y] * 5, 1), y]


def test_the_output_that_the_labels_fit_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save_ir(tmp_path / "m.xml", network(two_outputs))
    card, report = card_of(source, tmp_path / "o", labels=labels(tmp_path, "red", "green", "blue"))
    assert card.output == "out1" and report.labels == ["red", "green", "blue"]
    assert any("out1 is used" in note and "labels" in note for note in card.notes)
    card, report = card_of(source, tmp_path / "p", labels=labels(tmp_path, "red", "green", "blue"), output_layer="out1")
    assert report.labels == ["red", "green", "blue"] and card.softmax
    (red,) = classified(tmp_path / "p", *paint(tmp_path, "red"), capsys=capsys)
    assert red["label"] == "red" and red["score"] > 0.99


def test_a_classifier_is_picked_out_of_a_detector(tmp_path: Path) -> None:
    def finish(y: Any) -> list[Any]:
        return [op.reshape(op.concat([y] * 40, 1), np.array([1, 30, 4]), False), softmax(y)]

    card, _ = card_of(save_ir(tmp_path / "m.xml", network(finish)), tmp_path / "o")
    assert card.output == "out1"
    with pytest.raises(PicamError, match="detection"):
        convert(tmp_path / "m.xml", tmp_path / "p", Options(output_layer="out0"))


def test_the_index_of_the_best_class_is_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def index(y: Any) -> Any:
        return op.topk(softmax(y), op.constant(np.int64(1)), 1, "max", "value").output(1)

    convert(save_ir(tmp_path / "m.xml", network(index)), tmp_path / "o", Options(labels=labels(tmp_path, *"rgb")))
    assert [one["label"] for one in classified(tmp_path / "o", *paint(tmp_path, "green"), capsys=capsys)] == ["g"]


# -- inputs ----------------------------------------------------------------------


def test_what_no_camera_can_feed_is_refused(tmp_path: Path) -> None:
    last, arrays = dense(np.ones((4, 2)), activation="softmax")
    rgba = keras(tmp_path / "a.h5", [layer("GlobalAveragePooling2D", "g"), last], arrays, (None, 32, 32, 4))
    last, arrays = dense(np.ones((63, 2)), activation="softmax")
    vector = keras(tmp_path / "b.h5", [last], arrays, (None, 63))
    last, arrays = dense(np.ones((8 * 16 * 16 * 3, 2)), activation="softmax")
    clip = keras(tmp_path / "c.h5", [layer("Flatten", "f"), last], arrays, (None, 8, 16, 16, 3))
    for source, said in ((rgba, "transparency"), (vector, "63 numbers"), (clip, "clip")):
        with pytest.raises(PicamError, match=said) as caught:
            convert(source, tmp_path / "o")
        assert caught.value.hint and not (tmp_path / "o").exists()


def test_two_inputs_at_once_are_refused_unless_one_will_do(tmp_path: Path) -> None:
    nodes = [
        ("GlobalAveragePool", ["x"], ["g"], {}),
        ("Flatten", ["g"], ["f"], {}),
        ("Softmax", ["f"], ["y"], {}),
        ("Add", ["f", "z"], ["both"], {}),
    ]
    import onnx
    from onnx import TensorProto, helper

    source = onnx_file(tmp_path / "m.onnx", nodes, {}, {"both": (1, 3), "y": (1, 3)})
    model = onnx.load(source)
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3]))
    onnx.save(model, source)
    with pytest.raises(PicamError, match=r"2 inputs at once \(x 3×32×32, z 3\)"):
        convert(source, tmp_path / "o", Options(output_layer="both"))
    assert card_of(source, tmp_path / "o")[0].output == "y"


OWN = {
    "rescaling": (lambda p: colour_keras(p / "m.h5", before=[layer("Rescaling", "r", scale=1 / 255)]), 1.0, 0.0),
    "rescaling to -1…1": (
        lambda p: colour_keras(p / "m.h5", before=[layer("Rescaling", "r", scale=1 / 127.5, offset=-1.0)]), 1.0, 0.0),
    "normalization of pixels": (lambda p: normalised(p, 118.0, 4000.0), 1.0, 0.0),
    "normalization of 0…1": (lambda p: normalised(p, 0.46, 0.06), 1 / 255, 0.0),
    "onnx, divided": (lambda p: front(p, [("Div", ["x", "s"], ["b"], {})], s=255.0), 1.0, 0.0),
    "onnx, to 0…2": (lambda p: front(p, [("Div", ["x", "s"], ["b"], {})], s=127.5), 1.0, 0.0),
    "onnx, in half precision": (lambda p: other_type(p, "FLOAT16"), 1.0, 0.0),
    "onnx, in double precision": (lambda p: other_type(p, "DOUBLE"), 1.0, 0.0),
    "onnx, as a batch normalisation": (
        lambda p: colour_onnx(p / "m.onnx", front=[
            ("BatchNormalization", ["x", "ones", "zeros", "mean", "variance"], ["b"], {})],
            constants={"ones": np.ones(3, np.float32), "zeros": np.zeros(3, np.float32),
                       "mean": np.full(3, 118, np.float32), "variance": np.full(3, 4000, np.float32)}), 1.0, 0.0),
    "onnx, as a depthwise convolution": (
        lambda p: colour_onnx(p / "m.onnx", front=[("Conv", ["x", "d", "e"], ["b"], {"group": 3})], constants={
            "d": np.full((3, 1, 1, 1), 1 / 127.5, np.float32), "e": np.full(3, -1, np.float32)}), 1.0, 0.0),
    "onnx, as a convolution": (
        lambda p: colour_onnx(p / "m.onnx", front=[("Conv", ["x", "d"], ["b"], {})], constants={
            "d": (np.eye(3) / 255).astype(np.float32).reshape(3, 3, 1, 1)}), 1.0, 0.0),
    "onnx, means of 0…1": (
        lambda p: front(p, [("Sub", ["x", "m"], ["a"], {}), ("Div", ["a", "s"], ["b"], {})], m=IMAGENET[0],
                        s=IMAGENET[1]), 1 / 255, 0.0),
    "onnx, means of pixels": (
        lambda p: front(p, [("Sub", ["x", "m"], ["a"], {}), ("Div", ["a", "s"], ["b"], {})],
                        m=255 * np.array(IMAGENET[0]), s=255 * np.array(IMAGENET[1])), 1.0, 0.0),
    "ir, as mobilenet": (
        lambda p: begins(p, lambda x: op.subtract(op.divide(x, constant(127.5)), constant(1))), 1.0, 0.0),
    "ir, from 0…1 to -1…1": (
        lambda p: begins(p, lambda x: op.subtract(op.multiply(x, constant(2)), constant(1))), 1 / 255, 0.0),
    "ir, from -1…1 to 0…255": (
        lambda p: begins(p, lambda x: op.multiply(op.add(x, constant(1)), constant(127.5))), 1 / 127.5, -1.0),
    "ir, its own statistics": (
        lambda p: begins(p, lambda x: op.subtract(x, op.reduce_mean(x, np.array([1, 2, 3]), True))), 1.0, 0.0),
    "ir, quantised for -1…1": (
        lambda p: begins(p, lambda x: op.fake_quantize(x, *map(constant, (-1, 1, -1, 1)), 256)), 1 / 127.5, -1.0),
    "tflite, uint8": (lambda p: tflite(p / "m.tflite", quantised=True), 1.0, 0.0),
    "tflite, uint8 of -1…1": (lambda p: tflite(p / "m.tflite", quantised=True, scale=1 / 127.5, zero=127), 1.0, 0.0),
    "tflite, metadata": (
        lambda p: tflite(p / "m.tflite", metadata=tflite_metadata([127.5], [127.5])), 1 / 127.5, -1.0),
}  # fmt: skip


def normalised(folder: Path, mean: float, variance: float) -> Path:
    arrays = {"n": {"mean": [mean] * 3, "variance": [variance] * 3, "count": np.array(1.0)}}
    return colour_keras(folder / "m.h5", before=[layer("Normalization", "n", axis=-1)], arrays=arrays)


def front(folder: Path, nodes: Any, **values: Any) -> Path:
    held = {key: np.asarray(value, np.float32).reshape((1, -1, 1, 1)) for key, value in values.items()}
    return colour_onnx(folder / "m.onnx", front=nodes, constants=held)


def other_type(folder: Path, name: str) -> Path:
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed (extra `test`)")
    nodes = [("Cast", ["x"], ["a"], {"to": onnx.TensorProto.FLOAT}), ("Div", ["a", "s"], ["b"], {})]
    kind = getattr(onnx.TensorProto, name)
    return colour_onnx(folder / "m.onnx", front=nodes, constants={"s": np.float32(255)}, kind=kind)


def begins(folder: Path, begin: Callable[[Any], Any]) -> Path:
    return save_ir(folder / "m.xml", network(softmax, begin))


@pytest.mark.parametrize("kind", OWN)
def test_scaling_inside_a_network_is_not_done_again(kind: str, tmp_path: Path) -> None:
    make, scale, offset = OWN[kind]
    card, report = card_of(make(tmp_path), tmp_path / "o")
    assert isinstance(card.preprocess, Photo)
    assert card.preprocess.scale == pytest.approx(scale) and card.preprocess.offset == pytest.approx(offset)
    assert not any("assumption" in note for note in report.notes)


@pytest.mark.parametrize(("order", "colour"), [(0, "rgb"), (1, "bgr"), (2, "rgb")])
def test_the_order_of_colours_is_seen_from_the_means(order: int, colour: str, tmp_path: Path) -> None:
    bgr = constant([103.939, 116.779, 123.68])

    def begin(x: Any) -> Any:
        if order == 0:  # turned round inside
            return op.subtract(op.gather(x, np.array([2, 1, 0]), np.int64(3)), bgr)
        if order == 1:
            return op.subtract(x, bgr)
        parts = op.split(x, np.int64(3), 3)
        means = ((2, 103.939), (1, 116.779), (0, 123.68))
        return op.concat([op.subtract(parts.output(at), constant(mean)) for at, mean in means], 3)

    card, _ = card_of(begins(tmp_path, begin), tmp_path / "o")
    assert isinstance(card.preprocess, Photo)
    assert (card.preprocess.colour, card.preprocess.scale, card.preprocess.offset) == (colour, 1.0, 0.0)


def test_what_the_file_does_not_say_is_assumed_and_reported(tmp_path: Path) -> None:
    for make in (
        lambda p: colour_keras(p / "m.h5"),
        lambda p: colour_onnx(p / "m.onnx"),
        lambda p: tflite(p / "m.tflite"),
    ):
        card, _ = card_of(make(tmp_path), tmp_path / "o")
        assert card.preprocess.scale == 1 / 255 and any(
            "assumption" in note and "--scale" in note for note in card.notes
        )


def test_a_large_network_of_pytorch_gets_imagenets_statistics(tmp_path: Path) -> None:
    card, _ = card_of(colour_onnx(tmp_path / "m.onnx", shape=(1, 3, 224, 224)), tmp_path / "o")
    assert isinstance(card.preprocess, Photo) and isinstance(card.preprocess.scale, tuple)
    for at in range(3):
        white = 255 * card.preprocess.scale[at] + card.preprocess.offset[at]  # type: ignore[index]
        assert white == pytest.approx((1 - IMAGENET[0][at]) / IMAGENET[1][at], abs=1e-4)
    card, _ = card_of(colour_onnx(tmp_path / "m.onnx", shape=(1, 3, 224, 224), maker="tf2onnx"), tmp_path / "o")
    assert card.preprocess.scale == 1 / 255


def test_onnx_files_say_more_in_their_metadata(tmp_path: Path) -> None:
    notes = {
        "names": "{0: 'red', 1: 'green', 2: 'blue'}",
        "Image.BitmapPixelFormat": "Bgr8",
        "Image.NominalPixelRange": "NominalRange_0_255",
    }
    card, report = card_of(colour_onnx(tmp_path / "m.onnx", notes=notes), tmp_path / "o")
    assert report.labels == ["red", "green", "blue"]
    assert card.preprocess == Photo(colour="bgr", scale=1.0, offset=0.0)


def test_tflite_metadata_has_labels_and_scaling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = tflite_metadata([0.0], [255.0], "names.txt")
    source = tflite(
        tmp_path / "m.tflite", metadata=about, files={"other.txt": "x\n", "names.txt": "red\ngreen\nblue\n"}
    )
    _, report = card_of(source, tmp_path / "o")
    assert report.labels == ["red", "green", "blue"]
    assert [one["label"] for one in classified(tmp_path / "o", *paint(tmp_path, "blue"), capsys=capsys)] == ["blue"]
    (tmp_path / "labels.txt").write_text("rot\ngrün\nblau\n")
    assert card_of(source, tmp_path / "o")[1].labels == ["rot", "grün", "blau"]


def test_a_quantised_tflite_answers_probabilities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(tflite(tmp_path / "m.tflite", quantised=True), tmp_path / "o", Options(labels=labels(tmp_path, *"rgb")))
    (red,) = classified(tmp_path / "o", *paint(tmp_path, "red"), capsys=capsys)
    assert red["label"] == "r" and 0.95 < red["score"] <= 1.0


@pytest.mark.parametrize(
    ("options", "chain"),
    [
        ({"scale": "-1..1"}, Photo(fit="squash")),
        ({"mean": "127.5", "std": "127.5"}, Photo(fit="squash")),
        ({"mean": "0.5", "std": "0.5"}, Photo(fit="squash")),
        ({"mean": "0,0,0", "std": "1", "scale": "0..255"}, Photo(scale=1.0, offset=0.0, fit="squash")),
        ({"colour": "bgr", "fit": "pad", "scale": "0..1"}, Photo(colour="bgr", scale=1 / 255, offset=0.0, fit="pad")),
        ({"fit": "crop", "scale": "0..1"}, Photo(scale=1 / 255, offset=0.0)),
        ({"chain": "edges"}, Edges()),
        ({"chain": "edges", "scale": "-1..1"}, Edges(scale=1 / 127.5, offset=-1.0)),
    ],
)
def test_the_user_says_what_the_files_do_not(options: dict[str, Any], chain: Any, tmp_path: Path) -> None:
    card, _ = card_of(colour_keras(tmp_path / "m.h5"), tmp_path / "o", **options)
    assert type(card.preprocess) is type(chain)
    for name in chain.__struct_fields__:
        assert getattr(card.preprocess, name) == pytest.approx(getattr(chain, name)) or getattr(
            card.preprocess, name
        ) == getattr(chain, name)


def test_a_network_of_three_channels_may_be_fed_grey_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_ir(tmp_path / "m.xml", network(lambda y: y, kernel=np.eye(3)))
    card_of(source, tmp_path / "o", precision="f32", colour="grey", task="regression", scale="0..1")
    (red,) = classified(tmp_path / "o", *paint(tmp_path, "red"), capsys=capsys)
    assert [one["score"] for one in red["top"]] == pytest.approx([0.299] * 3, abs=0.01), "its brightness, three times"


@pytest.mark.parametrize(("options", "channels", "said"), [
    ({"chain": "edges", "colour": "bgr"}, 3, "--colour would have no effect: --chain edges feeds outlines"),
    ({"chain": "edges", "colour": "grey", "fit": "pad"}, 3, "--colour and --fit would have no effect"),
    ({"colour": "bgr"}, 1, "--colour bgr would have no effect: the network takes grey pictures"),
])  # fmt: skip
def test_options_without_effect_are_usage_errors(
    options: dict[str, Any], channels: int, said: str, tmp_path: Path
) -> None:
    last, arrays = dense(np.eye(channels, 2))
    source = keras(tmp_path / "m.h5", [layer("GlobalAveragePooling2D", "g"), last], arrays, (None, 32, 32, channels))
    with pytest.raises(UsageError, match=said):
        convert(source, tmp_path / "o", Options(**options))


def test_means_and_deviations_of_each_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save_ir(tmp_path / "m.xml", network(lambda y: y, kernel=np.eye(3)))
    options = {"mean": "0.485, 0.456, 0.406", "std": "0.229,0.224,0.225", "task": "regression"}
    card, _ = card_of(source, tmp_path / "o", precision="f32", **options)
    assert bundle.load(tmp_path / "o").card == card
    white, black = classified(tmp_path / "o", *paint(tmp_path, "white", "black"), capsys=capsys)
    means, deviations = map(np.array, IMAGENET)
    assert [one["score"] for one in white["top"]] == pytest.approx((1 - means) / deviations, abs=0.02)
    assert [one["score"] for one in black["top"]] == pytest.approx(-means / deviations, abs=0.02)


@pytest.mark.parametrize(("options", "said"), [
    ({"mean": "a"}, "--mean"), ({"mean": "1,2"}, "--mean"), ({"std": "0"}, "--std"), ({"std": "1,0,1"}, "--std"),
    ({"mean": "nan"}, "--mean"), ({"scale": "1..0"}, "--scale"),
])  # fmt: skip
def test_numbers_that_are_none_are_usage_errors(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        convert(colour_keras(tmp_path / "m.h5"), tmp_path / "o", Options(**options))


def test_weights_for_a_file_that_holds_its_own_are_a_usage_error(tmp_path: Path) -> None:
    source = save_ir(tmp_path / "m.xml", network(softmax))
    with pytest.raises(UsageError, match=r"--weights is for files of Keras .* m\.xml is OpenVINO IR"):
        convert(source, tmp_path / "o", Options(weights=colour_keras(tmp_path / "m.h5")))


# -- which part of the picture ---------------------------------------------------


def left_edge(folder: Path, shape: Sequence[int | None] = (None, 32, 32, 3)) -> Path:
    """A network that says which colour the left edge is: blue or red."""
    crop = layer("Cropping2D", "c", cropping=[[0, 0], [0, int(shape[2] or 0) - 2]], data_format="channels_last")
    last, arrays = dense([[0.0, 20], [0, 0], [20, 0]], activation="softmax")
    return keras(folder / "m.h5", [crop, layer("GlobalAveragePooling2D", "g"), last], arrays, shape)


@pytest.mark.parametrize(("fit", "label", "box"), [
    ("squash", "red", (0, 0, 640, 320)), ("crop", "blue", (160, 0, 320, 320)), ("pad", "red", (0, 0, 640, 320)),
])  # fmt: skip
def test_the_fit_is_on_the_card_and_the_box_says_it(
    fit: str, label: str, box: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from picam_infer.inference import preprocess

    picture = np.full((320, 640, 3), COLOURS["blue"], np.uint8)
    picture[:, :120] = COLOURS["red"]
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    names = labels(tmp_path, "blue", "red")
    card, _ = card_of(left_edge(tmp_path), tmp_path / "o", fit=fit, labels=names)
    assert [one["label"] for one in classified(tmp_path / "o", tmp_path / "p.png", capsys=capsys)] == [label]
    assert preprocess.box(card.preprocess, card.input, 640, 320) == box
    assert (b"fit:" in (tmp_path / "o" / "model.yaml").read_bytes()) == (fit != "crop")
    if fit == "squash":  # as Keras loads pictures, and said
        card, _ = card_of(left_edge(tmp_path), tmp_path / "p", labels=names)
        assert card.preprocess.fit == "squash" and any("--fit crop" in note for note in card.notes)  # type: ignore[union-attr]


def test_an_input_that_is_no_square_sees_a_part_of_its_own_proportions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last, arrays = dense(np.ones((3, 2)), activation="softmax")
    source = keras(tmp_path / "m.h5", [layer("GlobalAveragePooling2D", "g"), last], arrays, (None, 66, 200, 3))
    _, report = card_of(source, tmp_path / "o")
    assert any("200×66" in note and "--fit squash" in note for note in report.notes)
    picture = np.full((480, 640, 3), 255, np.uint8)
    cv2.circle(picture, (320, 240), 90, (0, 0, 0), -1)
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    for fit, proportions in (("", 1.0), ("squash", 200 / 66 * 480 / 640), ("pad", 1.0)):
        if fit:
            convert(source, tmp_path / "o", Options(fit=fit))  # type: ignore[arg-type]
        words = [
            "classify",
            "-m",
            str(tmp_path / "o"),
            "--save-input",
            str(tmp_path / "seen.png"),
            str(tmp_path / "p.png"),
        ]
        assert main(words) == 0
        seen = cv2.imread(str(tmp_path / "seen.png"), cv2.IMREAD_GRAYSCALE)
        assert seen is not None and seen.shape == (66, 200)
        middle = seen if fit != "pad" else seen[:, 56:144]  # black is added left and right
        ys, xs = np.nonzero(middle < 128)
        assert np.ptp(xs) / np.ptp(ys) == pytest.approx(proportions, rel=0.1)
    assert "°" not in capsys.readouterr().out


def table(rows: int, columns: int, *, as_picture: bool) -> Any:
    """Return a network for (rows, columns): a convolution along the rows, or one over a picture of that size."""
    source = op.parameter([1, rows, columns], np.float32, name="in")
    if as_picture:
        kernel, spread = np.ones((2, 1, 3, 3), np.float32), ([1, 1], [0, 0], [0, 0], [1, 1])
        x = op.convolution(op.unsqueeze(source, np.array([1])), kernel, *spread)
        means = op.reduce_mean(x, np.array([2, 3]), keep_dims=False)
    else:
        x = op.convolution(source, np.ones((2, rows, 3), np.float32), [1], [0], [0], [1])
        means = op.reduce_mean(x, np.array([2]), keep_dims=False)
    result = op.result(op.softmax(means, 1))
    return ov.Model([result], [source], "table")


def test_nobody_is_told_to_run_what_no_camera_can_feed(tmp_path: Path) -> None:
    _, report = card_of(save_ir(tmp_path / "series.xml", table(40, 41, as_picture=False)), tmp_path / "o")
    assert "its input is 40×41, a series or table of numbers: a camera cannot feed it" in report.notes
    assert "run it" not in report.lines()[-1] and "no camera can feed it" in report.lines()[-1]


def test_a_grey_picture_without_an_axis_for_its_channel_need_not_be_square(tmp_path: Path) -> None:
    card, report = card_of(save_ir(tmp_path / "grey.xml", table(40, 50, as_picture=True)), tmp_path / "o")
    assert (card.input.height, card.input.width) == (40, 50)
    assert "run it" in report.lines()[-1] and not [note for note in report.notes if "cannot feed" in note]


# -- outlines --------------------------------------------------------------------


def grey(folder: Path, outputs: int) -> Path:
    kernel = np.zeros((1, outputs))
    kernel[0, :2] = (-20, 20)
    last, arrays = dense(kernel, np.array([10.0, -10] + [-30] * (outputs - 2)), "softmax")
    return keras(folder / "m.h5", [layer("GlobalAveragePooling2D", "g"), last], arrays, (None, 28, 28, 1))


@pytest.mark.parametrize(("outputs", "asked", "chain"), [
    (2, None, Photo), (9, None, Photo), (10, None, Edges), (11, None, Edges), (26, None, Photo), (47, None, Photo),
    (10, "photo", Photo), (2, "edges", Edges),
])  # fmt: skip
def test_only_models_of_digits_get_outlines(
    outputs: int, asked: Any, chain: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card, report = card_of(grey(tmp_path, outputs), tmp_path / "o", chain=asked)
    assert isinstance(card.preprocess, chain)
    if asked is None:
        assert any("--chain" in note for note in report.notes)
    if chain is Photo and outputs == 2:
        light, dark = classified(tmp_path / "o", *paint(tmp_path, "white", "black"), capsys=capsys)
        assert light["label"] == "class 1" and dark["label"] == "class 0"


@pytest.mark.parametrize(("outputs", "chain", "names"), [
    (10, None, [*"0123456789"]), (11, None, [*"0123456789", "none"]), (10, "photo", [f"class {n}" for n in range(10)]),
    (9, None, [f"class {n}" for n in range(9)]),
])  # fmt: skip
def test_the_classes_of_a_model_of_digits_are_called_by_their_digits(
    outputs: int, chain: Any, names: list[str], tmp_path: Path
) -> None:
    _, report = card_of(grey(tmp_path, outputs), tmp_path / "o", chain=chain)
    assert report.labels == names and bundle.load(tmp_path / "o").labels == tuple(names)
    (note,) = [note for note in report.notes if "no labels found" in note]
    assert f"are called {names[0]} … {names[-1]}; to name them, give --labels FILE" in note


# -- trying ----------------------------------------------------------------------


def between(folder: Path, **more: Any) -> Path:
    """A network of pixels -1…1 that says of a grey level whether it is dark, middle or light."""
    kernel = np.array([[-20.0, 0, 20]] * 3) / 3
    return colour_keras(folder / "m.h5", kernel, np.array([-6.0, 0, -6.0]), **more)


def greys(folder: Path, *levels: tuple[str, int]) -> None:
    for name, level in levels:
        (folder / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name / f"{level}.png"), np.full((40, 60, 3), level, np.uint8))


def test_what_is_not_known_is_chosen_by_pictures(tmp_path: Path) -> None:
    greys(
        tmp_path / "shown", ("Dark", 10), ("Dark", 40), ("middle", 120), ("middle", 140), ("LIGHT", 220), ("LIGHT", 250)
    )
    names = labels(tmp_path, "dark", "middle", "light")
    card, report = card_of(between(tmp_path), tmp_path / "o", labels=names, try_=tmp_path / "shown")
    assert card.preprocess.scale == 1 / 127.5 and card.preprocess.offset == -1
    chosen = [one for one in report.tried if one["chosen"]]
    assert len(chosen) == 1 and (chosen[0]["right"], chosen[0]["of"]) == (6, 6)
    assert min(one["right"] for one in report.tried) < 6 and len(report.tried) > 5
    assert any("6 of 6 right" in line and "-1…1" in line for line in report.lines())
    assert any("6 of 6 pictures in shown" in note for note in card.notes)
    given, _ = card_of(between(tmp_path), tmp_path / "o", labels=names, try_=tmp_path / "shown", scale="0..1")
    assert given.preprocess.scale == 1 / 255


def test_pictures_beside_the_model_are_used_unasked(tmp_path: Path) -> None:
    model = tmp_path / "model"
    greys(model / "dataset", ("dark", 10), ("middle", 128), ("light", 250))
    (model / "labels.txt").write_text("dark\nmiddle\nlight\n")
    between(model)
    for given in (model, model / "m.h5"):
        card, report = card_of(given, tmp_path / "o")
        assert card.preprocess.scale == 1 / 127.5 and report.tried
    before = (tmp_path / "o" / "model.yaml").read_bytes()
    convert(model / "m.h5", tmp_path / "o")
    assert (tmp_path / "o" / "model.yaml").read_bytes() == before


def test_what_the_graph_says_is_not_tried(tmp_path: Path) -> None:
    greys(tmp_path / "shown", ("dark", 10), ("middle", 128), ("light", 250))
    source = between(tmp_path, before=[layer("Rescaling", "r", scale=1 / 127.5, offset=-1.0)])
    names = labels(tmp_path, "dark", "middle", "light")
    card, report = card_of(source, tmp_path / "o", labels=names, try_=tmp_path / "shown")
    assert card.preprocess.scale == 1.0 and all(one["way"].startswith("0…255") for one in report.tried)


def test_pictures_of_other_classes_are_an_error(tmp_path: Path) -> None:
    greys(tmp_path / "shown", ("cats", 10))
    for folder, said in ((tmp_path / "shown", "its folders are cats"), (tmp_path / "none", "no folder")):
        with pytest.raises(PicamError, match=said):
            convert(between(tmp_path), tmp_path / "o", Options(try_=folder))


# -- storing weights in half precision --------------------------------------------


def test_the_self_check_finds_what_half_precision_moves(tmp_path: Path) -> None:
    # Two large numbers whose difference decides: in half precision they are the same.
    kernel = np.array([[2100.9, 2099.1], [0, 0], [0, 0]])
    report = convert(colour_keras(tmp_path / "m.h5", kernel, np.array([-0.9, 0])), tmp_path / "o")
    assert max(report.difference, report.close_call) > 0.1
    assert any("--precision f32" in note for note in report.notes)
    exact = convert(tmp_path / "m.h5", tmp_path / "p", Options(precision="f32"))
    assert exact.difference == exact.close_call == 0


# -- Teachable Machine -------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_a_teachable_machine_network_is_known_whatever_its_file_is_called(named: bool, tmp_path: Path) -> None:

    convert(shared("models", "RenoirTan__bbc2021", "converted_keras.zip"), tmp_path / "tm", Options(precision="f32"))
    model = ov.Core().read_model(tmp_path / "tm" / "model.xml")
    if not named:
        for at, node in enumerate(model.get_ordered_ops()):
            node.set_friendly_name(f"n{at}")
    card, report = card_of(save_ir(tmp_path / "birds.xml", model), tmp_path / "o")
    assert card.preprocess == Photo() and not any("assumption" in note or "family" in note for note in report.notes)


# -- SavedModel --------------------------------------------------------------------


def test_a_saved_model_that_scales_by_itself_gets_pixels(tmp_path: Path) -> None:
    from saved_models import FLOAT, field, head, node, save_pb, save_saved_model
    from saved_models import constant as tf_constant

    kind = field(6, FLOAT)
    placeholder = node(
        "Placeholder", "image", dtype=kind, shape=field(7, b"".join(field(2, field(1, side)) for side in (-1, 8, 8, 3)))
    )
    scaled = (
        tf_constant("by", 127.5)
        + node("RealDiv", "divided", "image", "by", T=kind)
        + tf_constant("one", 1.0)
        + node("Sub", "scaled", "divided", "one", T=kind)
    )
    plain, inside = placeholder + head("image", "Softmax"), placeholder + scaled + head("scaled", "Softmax")
    for source in (save_saved_model(tmp_path / "m", inside), save_pb(tmp_path / "m.pb", inside)):
        card, report = card_of(source, tmp_path / "o")
        assert card.preprocess == Photo(scale=1.0, offset=0.0, fit="squash")
        assert not any("assumption" in note for note in report.notes)
    assert card_of(save_pb(tmp_path / "p.pb", plain), tmp_path / "o")[0].preprocess.scale == 1 / 255
    for last, task in (("Softmax", "classification"), ("Sigmoid", "multi-label"), ("Tanh", "regression")):
        assert card_of(save_pb(tmp_path / "q.pb", placeholder + head("image", last)), tmp_path / "o")[0].task == task


@pytest.mark.parametrize("options", [
    {"std": "1e-320"}, {"std": "1e-39"}, {"mean": "1e300"}, {"mean": "1e30"}, {"std": "1e300"},
    {"scale": f"0..{'9' * 400}"},
])  # fmt: skip
def test_numbers_that_leave_nothing_of_the_picture_are_usage_errors(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing of the picture") as error:
        convert(colour_keras(tmp_path / "m.h5"), tmp_path / "o", Options(**options))
    assert f"--{next(iter(options))}" in error.value.message and not (tmp_path / "o").exists()


@pytest.mark.parametrize(("mean", "std"), [(np.nan, 1.0), (0.0, np.inf), (0.0, 1e-45), (1e38, 1.0)])
def test_metadata_that_leaves_nothing_of_the_picture_is_not_followed(mean: float, std: float, tmp_path: Path) -> None:
    card, _ = card_of(tflite(tmp_path / "m.tflite", metadata=tflite_metadata([mean], [std])), tmp_path / "o")
    assert card.preprocess.normalisation.limits() == (0.0, 1.0)
