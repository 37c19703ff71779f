"""compile-ncs: what it writes is TensorFlow 1.9's, answers as the bundle does, and goes through NCSDK's compiler."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import small_models
import tensorflow_stand_in
from makers import shared

from picam_infer.cli.compile_ncs import add_arguments, main
from picam_infer.convert import conversion
from picam_infer.convert.keras_config import read_graph
from picam_infer.core import PicamError, Unavailable, UsageError
from picam_infer.models import bundle as bundles
from picam_infer.training.compile_ncs import tf1, toolkit
from picam_infer.training.compile_ncs.tf1 import Written
from picam_infer.training.teach.picture_set import PictureSet
from picam_infer.training.teach.teacher import Teacher

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow (pip install '.[train]')"
)
# Of TensorFlow 1.9, as far as an image classifier may need them.
OPS = {
    "Placeholder", "Const", "Identity", "VariableV2", "Assign", "SaveV2", "RestoreV2", "NoOp", "Conv2D", "BiasAdd",
    "Relu", "Relu6", "Elu", "Sigmoid", "Tanh", "Softmax", "Maximum", "Mul", "Add", "MaxPool", "AvgPool", "Reshape",
    "MatMul", "Pad", "DepthwiseConv2dNative", "ConcatV2",
}  # fmt: skip
STANDIN = """#!/usr/bin/env python3
import os, sys
open(os.environ["CALLS"], "a").write(os.path.basename(sys.argv[0]) + " " + " ".join(sys.argv[1:]) + "\\n")
assert os.path.exists(sys.argv[1]) and os.path.exists(sys.argv[1][:-5] + ".index")
if "-o" in sys.argv and os.environ.get("WRITES", "yes") == "yes":
    open(sys.argv[sys.argv.index("-o") + 1], "wb").write(b"graph")
sys.exit(int(os.environ.get("CODE", "0")))
"""


def layer(kind: str, name: str, **config: object) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


LAYERS = [
    layer("Conv2D", "conv2d_1", filters=4, kernel_size=[3, 3], padding="same", activation="relu",
          batch_input_shape=[None, 12, 12, 1]),
    layer("BatchNormalization", "bn"),
    layer("MaxPooling2D", "pool", pool_size=[2, 2]),
    layer("ZeroPadding2D", "pad", padding=[[0, 1], [0, 1]]),
    layer("DepthwiseConv2D", "depth", kernel_size=[3, 3], strides=[2, 2], padding="valid"),
    layer("ReLU", "relu", max_value=6.0),
    layer("Dropout", "dropout", rate=0.5),
    layer("Flatten", "flatten"),
    layer("Dense", "dense_2", units=5, activation="softmax"),
]  # fmt: skip
SHAPES = {
    "conv2d_1": {"kernel": (3, 3, 1, 4), "bias": (4,)},
    "bn": {"gamma": (4,), "beta": (4,), "moving_mean": (4,), "moving_variance": (4,)},
    "depth": {"depthwise_kernel": (3, 3, 4, 1), "bias": (4,)},
    "dense_2": {"kernel": (36, 5), "bias": (5,)},
}


@pytest.fixture
def keras(tmp_path: Path) -> Path:
    """A small classifier as Keras 2 saves it."""
    random, path = np.random.default_rng(0), tmp_path / "small.h5"
    with h5py.File(path, "w") as file:
        config = {"class_name": "Sequential", "config": {"name": "sequential", "layers": LAYERS}}
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config).encode(), b"2.4.0"
        file.attrs["backend"] = b"tensorflow"
        groups = file.create_group("model_weights")
        groups.attrs["layer_names"] = [item["config"]["name"].encode() for item in LAYERS]
        for item in LAYERS:
            name = item["config"]["name"]
            group, arrays = groups.create_group(name), SHAPES.get(name, {})
            group.attrs["weight_names"] = [f"{name}/{weight}:0".encode() for weight in arrays]
            for weight, shape in arrays.items():
                values = random.uniform(0.1, 1, shape) if weight == "moving_variance" else random.normal(0, 1, shape)
                group.create_dataset(f"{name}/{weight}:0", data=values.astype(np.float32))
    return path


@pytest.fixture
def toolkit_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """NCSDK's programs, played by a script; returns the calls."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    for name in ("mvNCCompile", "mvNCProfile", "mvNCCheck"):
        (folder / name).write_text(STANDIN)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("CALLS", str(calls))
    return lambda: calls.read_text().splitlines()


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return main(parser.parse_args(list(map(str, words))))


def answers_of_meta(meta: Path, output: str, picture: np.ndarray) -> tuple[np.ndarray, Any]:
    """Restore as mvNCCompile does; return the answer and the graph."""
    tf = tf1.tensorflow()
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        saver = tf.compat.v1.train.import_meta_graph(str(meta), clear_devices=True)
        saver.restore(session, str(meta)[: -len(".meta")])
        (feed,) = (op for op in graph.get_operations() if op.type == "Placeholder")
        return session.run(f"{output}:0", {feed.outputs[0]: picture}), graph


def answers_of_network(path: Path, picture: np.ndarray) -> np.ndarray:
    import openvino as ov

    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled(picture.reshape(list(compiled.input(0).shape)))[0])


@needs_tensorflow
def test_what_is_written(keras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    out = tmp_path / "out"
    assert run(keras, "-o", out) == 0
    said = capsys.readouterr().out
    assert "mvNCCompile TF_Model/tf_model.meta -s 12 -in conv2d_1_input -on dense_2/Softmax -o graph" in said
    assert {path.name for path in (out / "TF_Model").iterdir()} == {
        "checkpoint",
        "tf_model.meta",
        "tf_model.index",
        "tf_model.data-00000-of-00001",
    }
    picture = np.random.default_rng(1).uniform(0, 1, (1, 12, 12, 1)).astype(np.float32)
    answer, graph = answers_of_meta(out / "TF_Model" / "tf_model.meta", "dense_2/Softmax", picture)
    wanted = answers_of_network(bundles.load(out).network, picture)
    np.testing.assert_allclose(answer, wanted, atol=1e-5)
    np.testing.assert_allclose(answers_of_network(out / "tf_model.pb", picture), wanted, atol=1e-5)
    np.testing.assert_allclose(answers_of_network(out / "TF_Model" / "tf_model.meta", picture), wanted, atol=1e-5)
    types = [op.type for op in graph.get_operations()]
    assert set(types) <= OPS and types.count("Placeholder") == 1 and "Pad" not in types
    assert run(keras, "-o", out) == 0  # again, into the bundle that is there


@needs_tensorflow
def test_nothing_that_tensorflow_1_9_does_not_know(keras: Path, tmp_path: Path) -> None:
    assert run(keras, "-o", tmp_path / "out") == 0
    tf = tf1.tensorflow()
    meta = tf.compat.v1.MetaGraphDef.FromString((tmp_path / "out/TF_Model/tf_model.meta").read_bytes())
    frozen = tf.compat.v1.GraphDef.FromString((tmp_path / "out/tf_model.pb").read_bytes())
    for graph in (meta.graph_def, frozen):
        assert graph.versions.producer == 26 and not graph.library.function
        assert {node.op for node in graph.node} <= OPS
        attributes = {key for node in graph.node for key in node.attr}
        late = {"explicit_paddings", "grad_a", "grad_b", "exponential_avg_factor", "debug_name", "allowed_devices"}
        assert not attributes & late and not any(key.startswith("_") for key in attributes)
    assert not {node.op for node in frozen.node} & {"VariableV2", "Assign", "RestoreV2"}
    assert meta.saver_def.restore_op_name == "save/restore_all"


@needs_tensorflow
def test_it_is_compiled(
    keras: Path, tmp_path: Path, toolkit_on_path: Callable[[], list[str]], monkeypatch: Any
) -> None:
    out = tmp_path / "out"
    assert run(keras, "-o", out, "--profile", "--check") == 0
    model = bundles.load(out)
    assert model.graph and model.graph.read_bytes() == b"graph"
    network = "TF_Model/tf_model.meta -s 12 -in conv2d_1_input -on dense_2/Softmax"
    assert toolkit_on_path() == [
        f"mvNCCompile {network} -o graph.new",
        f"mvNCProfile {network}",
        f"mvNCCheck {network}",
    ]
    monkeypatch.setenv("CODE", "3")
    with pytest.raises(PicamError, match="mvNCCompile failed with code 3"):
        run(keras, "-o", out)
    assert model.graph.read_bytes() == b"graph"


@needs_tensorflow
def test_an_intermediate_layer(
    keras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert run(keras, "-o", tmp_path / "out", "--output-layer", "flatten", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert about["output"] == "flatten/Reshape" and about["graph"] is None
    assert len(bundles.load(tmp_path / "out").labels) == 36


@needs_tensorflow
def test_a_taught_bundles_graph_ends_with_the_features(
    keras: Path, tmp_path: Path, toolkit_on_path: Callable[[], list[str]]
) -> None:
    conversion.convert(keras, tmp_path / "base", conversion.Options(precision="f32"))
    with Teacher(bundles.load(tmp_path / "base"), PictureSet(tmp_path / "taught.pictures")) as teacher:
        for label, value in (("dark", 30), ("bright", 220)):
            for seed in range(3):
                noisy = np.random.default_rng(seed).integers(value - 20, value + 20, (12, 12, 1), np.uint8)
                teacher.add(label, bytes(cv2.imencode(".png", noisy)[1]))
        taught = teacher.save(tmp_path / "taught")[0].folder
    assert run(keras, "-o", taught) == 0
    assert toolkit_on_path()[0].endswith("-in conv2d_1_input -on flatten/Reshape -o graph.new")
    assert bundles.load(taught).graph
    with pytest.raises(PicamError, match="the graph"):
        run(keras, "-o", taught, "--output-layer", "pool")


@needs_tensorflow
@pytest.mark.parametrize("name", [
    "Moonflower2022__MNIST-models/mnist_model.keras", "RenoirTan__bbc2021/converted_keras.zip",
    "Kotlin__kotlindl/toyresnet/modelConfig.json", "oarriaga__face_classification/gender_mini_XCEPTION.21-0.95.hdf5",
])  # fmt: skip
def test_models_of_the_field(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert run(shared("models", *name.split("/")), "-o", tmp_path / "out", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert about["difference"] < 1e-5
    shape = bundles.load(tmp_path / "out").card.input.shape
    picture = np.random.default_rng(1).uniform(0, 1, shape).astype(np.float32)
    answer, graph = answers_of_meta(Path(about["meta"]), about["output"], picture)
    np.testing.assert_allclose(answer, answers_of_network(tmp_path / "out/model.xml", picture), atol=1e-5, rtol=1e-5)
    assert {op.type for op in graph.get_operations()} <= OPS


@needs_tensorflow
def test_layers_that_the_stick_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(PicamError, match=r"lstm_3 \(LSTM\), lstm_4 \(LSTM\)"):
        run(shared("models", "Kotlin__kotlindl", "lstm", "model.json"), "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- without TensorFlow --------------------------------------------------


def test_layers_are_refused_by_name() -> None:
    config = {"name": "m", "layers": [*LAYERS[:1], layer("LSTM", "memory", units=3), layer("GRU", "gate", units=3)]}
    with pytest.raises(PicamError, match=r"memory \(LSTM\), gate \(GRU\)"):
        tf1.refuse(read_graph({"class_name": "Sequential", "config": config, "keras_version": "2.4.0"}))
    tf1.refuse(read_graph({"class_name": "Sequential", "config": {"name": "m", "layers": LAYERS}}))


def test_no_tensorflow(monkeypatch: pytest.MonkeyPatch, keras: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    with pytest.raises(Unavailable, match=r"pip install '\.\[train\]'"):
        run(keras, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tools_that_are_missing(keras: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mvNCProfile and mvNCCheck not found"):
        run(keras, "--profile", "--check")


def test_compiling(tmp_path: Path, toolkit_on_path: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "my model"
    (model / "TF_Model").mkdir(parents=True)
    for name in ("tf_model.meta", "tf_model.index"):
        (model / "TF_Model" / name).touch()
    written = Written(model / "TF_Model" / "tf_model.meta", model / "tf_model.pb", "in", "out/Softmax")
    assert toolkit.installed()
    assert toolkit.compile_graph(written, model).read_bytes() == b"graph"
    assert toolkit_on_path() == ["mvNCCompile TF_Model/tf_model.meta -s 12 -in in -on out/Softmax -o graph.new"]
    monkeypatch.setenv("WRITES", "no")
    with pytest.raises(PicamError, match="wrote no graph"):
        toolkit.compile_graph(written, model)
    assert (model / "graph").read_bytes() == b"graph"
    lines = toolkit.instructions(written, model)
    assert shlex.split(lines[3])[:2] == ["cd", "my model"]


# -- with a stand-in for TensorFlow, whose graphs OpenVINO reads ----------


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorFlow's graph building, and no compiler."""
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow_stand_in)
    monkeypatch.setenv("PATH", "/nowhere")
    return tensorflow_stand_in


def written_for(source: Path, out: Path, capsys: pytest.CaptureFixture[str], *more: object) -> dict[str, Any]:
    """Run compile-ncs, which compares the graph's answers with the bundle's, and return what it says."""
    assert run(source, "-o", out, "--json", *more) == 0
    about: dict[str, Any] = json.loads(capsys.readouterr().out)
    return about


def test_the_graph_answers_as_the_bundle_does(
    keras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stand_in: Any
) -> None:
    about = written_for(keras, tmp_path / "out", capsys)
    assert about["difference"] < 1e-5 and about["graph"] is None
    assert (about["input"], about["output"]) == ("conv2d_1_input", "dense_2/Softmax")
    frozen = (tmp_path / "out" / "tf_model.pb").read_bytes()
    assert b"VariableV2" not in frozen and b"Pad" not in frozen
    meta = (tmp_path / "out" / "TF_Model" / "tf_model.meta").read_bytes()
    assert b"VariableV2" in meta and b"save/restore_all" in meta


def arrays(**shapes: dict[str, tuple[int, ...]]) -> dict[str, dict[str, np.ndarray]]:
    """Return random weights, by layer and name."""
    rng = np.random.default_rng(4)
    return {name: {key: rng.normal(0, 0.5, shape) for key, shape in one.items()} for name, one in shapes.items()}


def test_every_kind_of_layer_that_follows_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stand_in: Any
) -> None:
    layers = [
        layer("Rescaling", "scale", scale=2.0, offset=-1.0),
        layer("Conv2D", "conv", filters=4, kernel_size=[3, 3], padding="same", activation="elu"),
        layer("Activation", "tanh", activation="tanh"),
        layer("LeakyReLU", "leaky", alpha=0.1),
        layer("ReLU", "sloped", negative_slope=0.5),
        layer("ELU", "elu"),
        layer("ZeroPadding2D", "around", padding=2),
        layer("SeparableConv2D", "apart", filters=6, kernel_size=[3, 3], depth_multiplier=2, activation="leaky_relu"),
        layer("AveragePooling2D", "mean", pool_size=[2, 2], padding="same"),
        layer("Activation", "sigmoid", activation={"class_name": "function", "config": "sigmoid"}),
        layer("Reshape", "turned", target_shape=[-1, 5, 6]),
        layer("SpatialDropout2D", "dropped", rate=0.2),
        layer("GlobalMaxPooling2D", "most"),
        layer("Dense", "last", units=3, use_bias=False),
        layer("Softmax", "scores"),
    ]
    weights = arrays(
        conv={"kernel": (3, 3, 3, 4), "bias": (4,)},
        apart={"depthwise_kernel": (3, 3, 4, 2), "pointwise_kernel": (1, 1, 8, 6), "bias": (6,)},
        last={"kernel": (6, 3)},
    )
    source = small_models.keras(tmp_path / "chain.h5", layers, weights, (None, 8, 8, 3))
    about = written_for(source, tmp_path / "out", capsys)
    assert about["difference"] < 1e-5 and about["output"] == "scores/Softmax"
    assert b"apart/Pad" in (tmp_path / "out" / "tf_model.pb").read_bytes(), "zeros that SAME would not add"


def functional(path: Path) -> Path:
    """Write a network with branches: the same convolution twice, then every way to join two."""

    def fed(one: dict[str, Any], *calls: Sequence[str]) -> dict[str, Any]:
        sources = [[source.partition(":") for source in call] for call in calls]
        inbound = [[[name, int(at or 0), 0, {}] for name, _, at in call] for call in sources]
        return {**one, "name": one["config"]["name"], "inbound_nodes": inbound}

    layers = [
        fed(layer("InputLayer", "picture", batch_input_shape=[None, 8, 8, 3])),
        fed(layer("Activation", "turned", activation="tanh"), ["picture"]),
        fed(layer("Conv2D", "conv", filters=3, kernel_size=[1, 1]), ["picture"], ["turned"]),
        fed(layer("Add", "sum"), ["conv:0", "conv:1", "picture"]),
        fed(layer("Multiply", "product"), ["sum", "turned"]),
        fed(layer("Maximum", "larger"), ["product", "conv:0"]),
        fed(layer("Concatenate", "joined", axis=-1), ["larger", "sum"]),
        fed(layer("GlobalAveragePooling2D", "mean"), ["joined"]),
        fed(layer("Dense", "scores", units=2, activation="softmax"), ["mean"]),
    ]
    config = {
        "name": "branches",
        "layers": layers,
        "input_layers": [["picture", 0, 0]],
        "output_layers": [["scores", 0, 0]],
    }
    weights = arrays(conv={"kernel": (1, 1, 3, 3), "bias": (3,)}, scores={"kernel": (6, 2), "bias": (2,)})
    small_models.keras(path, [], weights)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Functional", "config": config, "keras_version": "2.4.0"}
        )
    return path


def test_branches_and_a_layer_that_is_used_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stand_in: Any
) -> None:
    about = written_for(functional(tmp_path / "branches.h5"), tmp_path / "out", capsys)
    assert about["difference"] < 1e-5 and about["input"] == "picture"
    about = written_for(tmp_path / "branches.h5", tmp_path / "part", capsys, "--output-layer", "sum")
    assert about["output"] == "sum/add_1"
    with pytest.raises(PicamError, match="no layer 'nowhere' on the way"):
        run(tmp_path / "branches.h5", "-o", tmp_path / "none", "--output-layer", "nowhere")
    assert not (tmp_path / "none").exists()


def test_a_folder_of_another_model_is_not_taken_for_its_own(
    keras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stand_in: Any
) -> None:
    written_for(keras, tmp_path / "out", capsys)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert tmp_path / "out" / "TF_Model" / "tf_model.meta" in before
    with pytest.raises(PicamError, match="the graph takes pictures of 8×8×3"):
        run(functional(tmp_path / "branches.h5"), "-o", tmp_path / "out")
    with pytest.raises(PicamError, match="answers 36 values, the bundle 5"):
        run(keras, "-o", tmp_path / "out", "--output-layer", "flatten")
    with h5py.File(keras, "a") as file:
        file["model_weights/dense_2/dense_2/kernel:0"][...] *= -1
    with pytest.raises(PicamError, match="answers differ"):
        run(keras, "-o", tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (layer("Conv2D", "c", filters=4, kernel_size=[1, 1], groups=3), "no grouped convolutions"),
        (layer("Conv2D", "c", filters=4, kernel_size=[1, 1], dilation_rate=[2, 2]), "no dilated convolutions"),
        (layer("Conv2D", "c", filters=4, kernel_size=[1, 1], activation="gelu"), "no activation 'gelu'"),
        (layer("Conv2D", "c", filters=4, kernel_size=[1, 1], data_format="channels_first"), "channels_first"),
        (layer("ReLU", "c", max_value=3.0), "ReLU and ReLU6"),
        (layer("ELU", "c", alpha=2.0), "alpha of 1"),
        (layer("Softmax", "c", axis=1), "along the last axis"),
        (layer("Dense", "c", units=2), "flat input"),
        (layer("BatchNormalization", "c", axis=1), "over the last axis"),
    ],
)
def test_what_the_stick_cannot_run_is_said(one: dict[str, Any], said: str, tmp_path: Path, stand_in: Any) -> None:
    channels = ("gamma", "beta", "moving_mean", "moving_variance")
    weights = arrays(c={"kernel": (1, 1, 3, 4), "bias": (4,), **dict.fromkeys(channels, (3,))})
    source = small_models.keras(tmp_path / "one.h5", [one, layer("Flatten", "flat")], weights, (None, 4, 4, 3))
    with pytest.raises(PicamError, match=said):
        run(source, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_to_run_elsewhere_is_told(
    keras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stand_in: Any
) -> None:
    assert run(keras, "-o", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "input conv2d_1_input, output dense_2/Softmax" in said
    assert "cd out && mvNCCompile TF_Model/tf_model.meta -s 12 -in conv2d_1_input -on dense_2/Softmax -o graph" in said
