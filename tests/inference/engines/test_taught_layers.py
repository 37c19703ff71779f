"""Taught bundles on the stick: it makes the features, the CPU runs the layers that were taught."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
import stick_lab
from openvino import opset13 as ops
from stick_lab import StickLab

from picam_infer.config import EngineSettings
from picam_infer.core import Disconnected, Pixels
from picam_infer.inference.engines.ncs.engine import Ncs
from picam_infer.inference.engines.openvino import OpenVino
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Card, Input, Photo, save
from picam_infer.training.teach.picture_set import PictureSet
from picam_infer.training.teach.teacher import Teacher

needs_stick = pytest.mark.skipif(not stick_lab.COMPILER, reason="needs a C compiler for the stand-in libmvnc")


def noise(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (28, 28, 1), np.uint8)


@contextlib.contextmanager
def opened(model: Bundle, lab: StickLab) -> Iterator[Ncs]:
    engine = Ncs(model, usb=lab.usb)
    try:
        yield engine
    finally:
        engine.close()


def refusal(model: Bundle, lab: StickLab) -> str:
    with pytest.raises(Disconnected) as caught, opened(model, lab):
        pass
    return f"{caught.value}; {caught.value.hint}"


def taught(folder: Path) -> Bundle:
    """Return a bundle that was taught three patterns on relu(W x + b) of 28 × 28 grey pixels, without a graph."""
    weights = np.frombuffer(stick_lab.graph(classes=40, features=True), "<f4", offset=26)[:-40].reshape(40, -1)
    source = ops.parameter([1, 28, 28, 1], np.float32, name="input")
    flat = ops.reshape(source, ops.constant(np.int64([1, -1])), False)
    features = ops.relu(ops.matmul(flat, ops.constant(np.ascontiguousarray(weights)), False, True))
    output = ops.softmax(ops.matmul(features, ops.constant(np.eye(40, 5, dtype=np.float32)), False, False), 1)
    (folder / "base").mkdir(parents=True)
    ov.save_model(ov.Model([ops.result(output)], [source], "base"), folder / "base/model.xml", compress_to_fp16=False)
    files = {name: (folder / "base" / name).read_bytes() for name in ("model.xml", "model.bin")}
    shutil.rmtree(folder / "base")
    card = Card("base", Input((1, 28, 28, 1)), Photo(colour="grey", scale=1 / 255, offset=0.0))
    base = save(folder / "base", card, "abcde", files)
    with Teacher(base, PictureSet(folder / "taught.pictures")) as teacher:
        for label, seed in (("one", 1), ("two", 2), ("three", 3)):
            for number in range(6):
                teacher.add(label, bytes(cv2.imencode(".png", pattern(seed, number))[1]))
        return teacher.save(folder / "taught")[0]


def pattern(seed: int, number: int) -> Pixels:
    """Return one of a kind of picture, 28 × 28 grey."""
    jitter = np.random.default_rng(1000 * seed + number).integers(-20, 20, (28, 28, 1))
    return np.clip(noise(seed).astype(int) + jitter, 0, 255).astype(np.uint8)


@needs_stick
def test_a_taught_bundle_runs_on_the_stick_up_to_its_features(tmp_path: Path, sticks: StickLab) -> None:
    model = taught(tmp_path)
    sticks.plug()
    assert "make one of its features" in refusal(model, sticks)
    (model.folder / "graph").write_bytes(stick_lab.graph(classes=40, features=True))
    cpu = OpenVino(model, EngineSettings(kind="openvino", precision="f32", threads=1))
    with opened(model, sticks) as engine:
        for seed in (1, 2, 3, 9):
            for number in range(10, 14):
                cpu.submit(pattern(seed, number))
                engine.submit(pattern(seed, number))
                scores = engine.collect()
                np.testing.assert_allclose(scores, cpu.collect(), atol=1e-2)
                assert model.labels[scores.argmax()] == {1: "one", 2: "two", 3: "three", 9: "unknown"}[seed]


@needs_stick
def test_a_taught_bundle_refuses_a_graph_of_another_network(tmp_path: Path, sticks: StickLab) -> None:
    model = taught(tmp_path)
    (model.folder / "graph").write_bytes(stick_lab.graph(classes=4))
    sticks.plug()
    assert "answers 4 values, model taught has 40 features" in refusal(model, sticks)


def test_a_taught_bundles_graph_outlives_more_teaching(tmp_path: Path) -> None:
    model = taught(tmp_path)
    (model.folder / "graph").write_bytes(b"compiled")
    with Teacher(model, PictureSet(tmp_path / "taught.pictures")) as teacher:
        teacher.add("four", bytes(cv2.imencode(".png", pattern(4, 0))[1]))
        again = teacher.save(tmp_path / "taught")[0]
        assert again.graph and again.graph.read_bytes() == b"compiled" and "four" in again.labels
        teacher.add("five", bytes(cv2.imencode(".png", pattern(5, 0))[1]))
        fresh = teacher.save(tmp_path / ".fresh")[0].folder
    assert (bundles.adopt(fresh, tmp_path / "taught").graph or Path()).read_bytes() == b"compiled"
    # Another network's is no use.
    other = bundles.load(tmp_path / "base")
    shutil.copytree(other.folder, tmp_path / ".other")
    assert bundles.adopt(tmp_path / ".other", tmp_path / "taught").graph is None
