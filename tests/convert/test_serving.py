"""What `export` writes: a network that takes pixels in batches, and configurations that their readers accept."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import stick_lab
import yaml
from manifest_schema import wrong

from picam_infer import cli
from picam_infer.config import EngineSettings
from picam_infer.convert import ir, serving
from picam_infer.core import PicamError
from picam_infer.inference import engines
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Card, Edges, Input, Photo, save


def answers(xml: Path, pictures: Any) -> Any:
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.asarray(ov.Core().compile_model(xml, "CPU", options)([pictures])[0])


def locally(bundle: Bundle, picture: Any) -> Any:
    engine = engines.open_engine(EngineSettings(kind="openvino", precision="f32"), bundle)
    engine.submit(picture)
    return engine.collect()


def test_the_network_takes_pixels_in_any_batch(tmp_path: Path) -> None:
    digits = bundles.load("digits")
    assert cli.main(["export", "digits", "--to", "triton", "-o", str(tmp_path / "out")]) == 0
    xml = tmp_path / "out/digits/1/model.xml"
    pictures = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8)
    together = answers(xml, pictures)
    assert together.shape == (5, 11) and together.dtype == np.float32
    for picture, scores in zip(pictures, together, strict=True):
        np.testing.assert_allclose(scores, locally(digits, picture), atol=1e-5)
    entry = ov.Core().read_model(xml).input(0)
    assert entry.get_element_type() == ov.Type.u8 and entry.get_any_name() == "pixels"
    assert (tmp_path / "out/digits/labels.txt").read_text().splitlines() == list(digits.labels)


def conv_bundle(folder: Path, *, logits: bool = True) -> Bundle:
    """Make a network in NCHW with a scale for each channel, a fixed batch in its reshape, and logits."""
    from openvino import opset13 as ops

    random = np.random.default_rng(5)
    source = ops.parameter([1, 3, 16, 16], np.float32, name="input")
    kernel = random.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    x = ops.relu(ops.convolution(source, kernel, [2, 2], [0, 0], [0, 0], [1, 1]))
    x = ops.reshape(x, ops.constant(np.array([1, 196], np.int64)), False)
    output = ops.matmul(x, random.normal(0, 0.2, (196, 3)).astype(np.float32), False, False)
    work = folder / "work"
    work.mkdir(parents=True)
    ov.save_model(ov.Model([ops.result(output)], [source], "conv"), work / "model.xml", compress_to_fp16=False)
    files = {name: (work / name).read_bytes() for name in ("model.xml", "model.bin")}
    chain = Photo(scale=(0.01, 0.02, 0.03), offset=(-1.0, 0.0, 0.5))
    card = Card("conv", Input((1, 3, 16, 16), "NCHW"), chain, probabilities=not logits)
    return save(folder / "conv", card, ("a", "b", "c"), files)


def test_scale_layout_and_softmax_are_inside(tmp_path: Path) -> None:
    bundle = conv_bundle(tmp_path)
    for name, content in serving.repository([serving.served(bundle)], "ovms").items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    pictures = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8)
    together = answers(tmp_path / "out/conv/1/model.xml", pictures)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    for picture, scores in zip(pictures, together, strict=True):
        np.testing.assert_allclose(scores, locally(bundle, picture), atol=1e-5)


def test_a_network_that_mixes_its_batch_keeps_a_batch_of_one(tmp_path: Path) -> None:
    """Its answer subtracts a mean over everything in the batch: two pictures at once would change each other."""
    from openvino import opset13 as ops

    source = ops.parameter([1, 4, 4, 1], np.float32, name="input")
    flat = ops.reshape(source, ops.constant(np.array([1, 16], np.int64)), False)
    x = ops.subtract(flat, ops.reduce_mean(flat, np.array([0, 1]), True))
    output = ops.matmul(x, np.random.default_rng(2).normal(0, 1, (16, 2)).astype(np.float32), False, False)
    work = tmp_path / "work"
    work.mkdir()
    ov.save_model(ov.Model([ops.result(output)], [source], "mixed"), work / "model.xml", compress_to_fp16=False)
    files = {name: (work / name).read_bytes() for name in ("model.xml", "model.bin")}
    bundle = save(tmp_path / "mixed", Card("mixed", Input((1, 4, 4, 1)), Edges()), ("a", "b"), files)
    served = serving.served(bundle)
    assert not served.batches and "max_batch_size: 0" in serving.triton_config(served)
    assert list(ir.load(served.files).input(0).shape) == [1, 4, 4, 1]


def test_triton_reads_its_configuration(tmp_path: Path) -> None:
    """By the schema that Triton itself is built with, as its clients carry it."""
    messages = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]")
    from google.protobuf import text_format

    plain = stick_lab.twin(tmp_path / "lab")
    for name in ("lab", 'odd "näme"\\'):
        served = replace(serving.served(plain), name=name)
        config = text_format.Parse(serving.triton_config(served), messages.ModelConfig())
        assert config.name == name and config.backend == "openvino" and config.max_batch_size == 32
        assert config.HasField("dynamic_batching") and config.default_model_filename == "model.xml"
        (given,), (answer,) = config.input, config.output
        assert (given.name, given.data_type, list(given.dims)) == ("pixels", messages.TYPE_UINT8, [28, 28, 1])
        assert (answer.name, answer.data_type, list(answer.dims)) == ("scores", messages.TYPE_FP32, [10])
        assert answer.label_filename == "labels.txt"


def test_ovms_and_kserve(tmp_path: Path) -> None:
    lab = serving.served(stick_lab.twin(tmp_path / "lab"))
    listed = json.loads(serving.repository([lab], "ovms")["config.json"])["model_config_list"]
    assert listed == [{"config": {"name": "lab", "base_path": "/models/lab"}}]
    files = serving.repository([lab], "kserve")
    manifest = yaml.safe_load(files["inferenceservice.yaml"])
    assert (manifest["apiVersion"], manifest["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    predictor = manifest["spec"]["predictor"]
    assert predictor["minReplicas"] <= predictor["maxReplicas"] and predictor["scaleTarget"]
    served = predictor["model"]
    assert served["modelFormat"] == {"name": "triton"} and served["protocolVersion"] == "v2" and served["storageUri"]
    assert served["resources"]["requests"] and served["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert "lab/config.pbtxt" in files and "lab/1/model.xml" in files


RECORDED = Path(__file__).parents[1] / "remote_servers/kserve_schema.json"


def test_the_manifest_is_what_kserve_takes(tmp_path: Path) -> None:
    """By the schema of KServe's own SDK, as recorded by `scripts/test-remote kserve schema`, which compares the two."""
    schema = json.loads(RECORDED.read_text())
    lab = serving.served(stick_lab.twin(tmp_path / "lab"))
    manifest = yaml.safe_load(serving.repository([lab], "kserve")["inferenceservice.yaml"])

    def faults() -> list[str]:
        return list(wrong(manifest, "V1beta1InferenceService", "it", schema))

    assert faults() == []
    predictor = manifest["spec"]["predictor"]
    predictor["model"]["readinessProbe"]["periodSeconds"] = "5"
    predictor["maxReplica"] = 4
    predictor["model"]["resources"]["limits"]["cpu"] = 2
    assert len(faults()) == 3  # and each fault of these would be found


@pytest.mark.parametrize("server", serving.SERVERS)
def test_the_same_bytes_in_every_process(tmp_path: Path, server: str) -> None:
    written = []
    for name in ("one", "two"):
        command = [sys.executable, "-m", "picam_infer", "export", "digits", "--to", server, "-o", str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True)
        folder = tmp_path / name
        written.append({str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert written[0] == written[1] and len(written[0]) >= 4


def test_a_second_export_and_what_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    command = ["export", "digits", "--to", "ovms", "-o"]
    assert cli.main([*command, str(out)]) == 0 and cli.main([*command, str(out)]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert cli.main(["export", "digits", "--to", "triton", "-o", str(out)]) == 0  # its own files may be replaced
    assert not (out / "config.json").exists() and (out / "digits/config.pbtxt").exists()
    (out / "digits/config.pbtxt").write_text("max_batch_size: 8\n")
    other.mkdir()
    (other / "thesis.odt").write_text("precious")
    for folder, words in (
        (out, "was changed since"),
        (other, "holds other files"),
        (other / "thesis.odt", "other files"),
    ):
        assert cli.main([*command, str(folder)]) == 1
        assert words in capsys.readouterr().err
    assert (other / "thesis.odt").read_text() == "precious"
    assert (out / "digits/config.pbtxt").read_text() == "max_batch_size: 8\n"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_two_models_of_one_name(tmp_path: Path) -> None:
    one = serving.served(stick_lab.twin(tmp_path / "a"))
    with pytest.raises(PicamError, match="two models are called lab"):
        serving.repository([one, one], "triton")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "two words"])
def test_a_name_that_is_no_folder(tmp_path: Path, name: str) -> None:
    one = replace(serving.served(stick_lab.twin(tmp_path / "a")), name=name)
    with pytest.raises(PicamError, match="cannot be a folder"):
        serving.repository([one], "triton")
