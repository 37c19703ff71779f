"""The OpenVINO engine, on real networks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import openvino as ov
import pytest
from makers import make_bundle
from openvino import opset13 as ops

from picam_infer.config import EngineSettings
from picam_infer.core import Unavailable
from picam_infer.inference.engines.openvino import OpenVino, devices
from picam_infer.inference.engines.probe import probe
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, BundleError, Edges, Photo

F32 = EngineSettings(kind="openvino", precision="f32")


def answer(engine: OpenVino, input_image: np.ndarray) -> np.ndarray:
    engine.submit(input_image)
    return engine.collect()


def patch(value: int, shape: tuple[int, int, int] = (8, 8, 3)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def test_scores_are_probabilities_of_what_was_submitted(tiny: Bundle) -> None:
    engine = OpenVino(tiny, F32)
    for value, label in ((0, 0), (255, 1), (20, 0), (230, 1)):
        scores = answer(engine, patch(value))
        assert scores.shape == (2,)
        assert scores.sum() == pytest.approx(1, abs=1e-5)
        assert scores.argmax() == label


def test_a_reused_buffer_is_read_afresh_and_old_answers_stay(tiny: Bundle) -> None:
    engine, buffer = OpenVino(tiny, F32), patch(0)
    dark = answer(engine, buffer)
    buffer[:] = 255
    assert answer(engine, buffer).argmax() == 1
    assert dark.argmax() == 0


@pytest.mark.parametrize(
    "chain",
    [Photo(scale=1 / 127.5, offset=-1.0), Photo(scale=1 / 255, offset=0.0), Edges(), Photo(scale=1.0, offset=0.0)],
)
def test_scale_and_offset_of_the_card_are_inside_the_graph(tmp_path: Path, chain: object) -> None:
    model = make_bundle(tmp_path / "m", labels=("a", "b", "c"), chain=chain)  # type: ignore[arg-type]
    for value in (0, 77, 255):
        mean = value * chain.scale + chain.offset  # type: ignore[attr-defined]
        logits = -40 * (mean - np.linspace(0, 1, 3)) ** 2
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert answer(OpenVino(model, F32), patch(value)) == pytest.approx(expected, abs=1e-4)


def test_logits_get_a_softmax(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "p")
    logits = make_bundle(tmp_path / "l", probabilities=False)
    assert answer(OpenVino(logits, F32), patch(140)) == pytest.approx(
        answer(OpenVino(plain, F32), patch(140)), abs=1e-5
    )


def corner(folder: Path, layout: str, chain: Photo | None = None) -> Bundle:
    """A network whose two scores are the first and the last number that it gets of the pixel in row 1, column 2."""
    import openvino as ov
    from openvino import opset13 as ops

    shape = {"NHWC": (1, 4, 6, 3), "NCHW": (1, 3, 4, 6)}[layout]
    first = make_bundle(folder, chain=chain, shape=shape)
    source = ops.parameter(list(shape), np.float32, name="input")
    start, stop = ([0, 1, 2, 0], [1, 2, 3, 3]) if layout == "NHWC" else ([0, 0, 1, 2], [1, 3, 2, 3])
    pixel = ops.slice(source, np.array(start), np.array(stop), np.ones(4, np.int64), np.arange(4))
    scores = ops.gather(ops.reshape(pixel, np.array([1, 3]), False), np.array([0, 2]), np.int64(1))
    build = folder.parent / f"{layout}.xml"
    ov.save_model(ov.Model([ops.result(scores)], [source], "corner"), build, compress_to_fp16=False)
    card = msgspec.structs.replace(first.card, input=msgspec.structs.replace(first.card.input, layout=layout))
    files = {f"model.{end}": build.with_suffix(f".{end}").read_bytes() for end in ("xml", "bin")}
    return bundles.save(first.folder, card, first.labels, files)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_patches_are_the_same_whatever_axes_the_network_has(tmp_path: Path, layout: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    scores = answer(OpenVino(corner(tmp_path / "m", layout), F32), picture)
    assert scores == pytest.approx(picture[1, 2, [0, 2]] / 255, abs=1e-6)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_each_channel_gets_its_own_scale_and_offset(tmp_path: Path, layout: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    model = corner(tmp_path / "m", layout, Photo(scale=(0.5, 9.0, 2.0), offset=(1.0, 9.0, -3.0)))
    expected = picture[1, 2, 0] * 0.5 + 1, picture[1, 2, 2] * 2.0 - 3
    assert answer(OpenVino(model, F32), picture) == pytest.approx(expected, rel=1e-5)


def test_labels_must_match_the_outputs(tiny: Bundle) -> None:
    (tiny.folder / "labels.txt").write_text("dark\nbright\nextra\n")
    with pytest.raises(BundleError, match="2 outputs but 3 labels"):
        OpenVino(bundles.load(tiny.folder), F32)


def test_the_card_must_match_the_network(tmp_path: Path) -> None:
    model = make_bundle(tmp_path / "m")
    text = (model.folder / "model.yaml").read_text().replace("- 8", "- 9", 1)
    (model.folder / "model.yaml").write_text(text)
    with pytest.raises(BundleError, match="its card says"):
        OpenVino(bundles.load(model.folder), F32)


def test_a_damaged_network_is_one_line(tiny: Bundle) -> None:
    (tiny.folder / "model.xml").write_text("<net")
    with pytest.raises(BundleError) as caught:
        OpenVino(tiny, F32)
    assert "\n" not in str(caught.value)
    with pytest.raises(Unavailable):
        probe(tiny, F32)


@pytest.mark.parametrize("length", [0, 10, 40, 500])
def test_a_network_that_was_cut_short_is_told_without_lines_of_a_library(
    tiny: Bundle, length: int, capfd: pytest.CaptureFixture[str]
) -> None:
    os.truncate(tiny.network, length)
    with pytest.raises(BundleError, match=r"model\.xml is not a network that OpenVINO can read"):
        OpenVino(tiny, EngineSettings())
    assert capfd.readouterr().err == ""


def test_two_threads_that_look_at_the_first_weights_at_once_do_not_wait_for_each_other() -> None:
    """As when the settings are read again while the model is loaded. Without care nine of ten such programs hung."""
    program = """
import sys, threading
from picam_infer.bootstrap import bootstrap
bootstrap()
from picam_infer.inference.engines.openvino import read_network
from picam_infer.models import bundle

networks = [read_network(bundle.load("digits")) for _ in range(2)]
weights = [[node for node in each.get_ops() if node.get_type_name() == "Constant"] for each in networks]
together = threading.Barrier(2)

def look(nodes):
    together.wait()
    for node in nodes:
        node.get_data()

threads = [threading.Thread(target=look, args=(nodes,), daemon=True) for nodes in weights]
sys.setswitchinterval(1e-7)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(30)
print("all done", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "all done\n", done.stderr


def test_an_unknown_device_names_those_there_are(tiny: Bundle) -> None:
    with pytest.raises(Unavailable, match="devices here: CPU"):
        OpenVino(tiny, EngineSettings(device="MYRIAD"))


def test_an_int8_network_that_the_processor_cannot_run_is_to_be_converted_again(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenVINO 2026.4 answers on a Cortex-A72, which computes nothing in int8."""
    network = tiny.folder / "model.xml"
    model = ov.Core().read_model(network)
    mean = next(node for node in model.get_ops() if node.get_type_name() == "ReduceMean")
    lowest, highest = (ops.constant(np.float32(value)) for value in (-1, 1))
    rounded = ops.fake_quantize(mean.input_value(0), lowest, highest, lowest, highest, 256)
    mean.input(0).replace_source_output(rounded.output(0))
    ov.save_model(model, tiny.folder / "int8.xml")
    for suffix in (".xml", ".bin"):
        (tiny.folder / f"int8{suffix}").replace(network.with_suffix(suffix))

    def refuse(*args: object) -> None:
        raise RuntimeError("Exception from src/inference/src/dev/plugin.cpp:54:\nobject is not initialized\n")

    monkeypatch.setattr(ov.Core, "compile_model", refuse)
    with pytest.raises(Unavailable, match="--precision f16"):
        OpenVino(tiny, EngineSettings())


def test_devices_and_auto(tiny: Bundle) -> None:
    assert "CPU" in dict(devices())
    engine = OpenVino(tiny, EngineSettings(device="AUTO", precision="f32"))
    assert engine.name == "openvino:AUTO"
    assert answer(engine, patch(255)).argmax() == 1


def test_threads_and_cache(tiny: Bundle, tmp_path: Path) -> None:
    cache = tmp_path / "compiled"
    OpenVino(tiny, EngineSettings(threads=1), cache)
    assert any(cache.iterdir())
    assert answer(OpenVino(tiny, EngineSettings(threads=1), cache), patch(255)).argmax() == 1


def test_the_cache_has_a_limit_and_the_newest_network_stays(tiny: Bundle, tmp_path: Path) -> None:
    for day in range(5):
        old = tmp_path / f"{day}.blob"
        with old.open("wb") as file:
            file.truncate(40_000_000)  # sparse: it takes no room
        os.utime(old, (day * 86400.0, day * 86400.0))
    answer(OpenVino(tiny, F32, tmp_path), patch(0))
    left = {path.name for path in tmp_path.glob("*.blob")}
    assert {"3.blob", "4.blob"} < left and len(left) == 3, "those used last, and the one that was just made"


def test_a_cache_that_cannot_be_written_is_done_without(tiny: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert answer(OpenVino(tiny, F32, tmp_path / "file"), patch(255)).argmax() == 1


def test_the_probe_runs_in_a_process_of_its_own(tiny: Bundle) -> None:
    assert 0 < probe(tiny, F32) < 1000


def test_a_quick_network_is_left_to_one_thread(tiny: Bundle) -> None:
    assert OpenVino(tiny, EngineSettings(kind="openvino")).threads == 1


def test_a_slow_network_gets_what_the_runtime_likes(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picam_infer.inference.engines.openvino.QUICK_S", 0.0)
    engine = OpenVino(tiny, EngineSettings(kind="openvino"))
    assert engine.threads > 1
    assert answer(engine, patch(255)).argmax() == 1


def test_the_calling_thread_stays_on_the_core_where_it_is(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[ov.CompiledModel] = []
    compile_model = ov.Core.compile_model
    monkeypatch.setattr(ov.Core, "compile_model", lambda *given: compiled.append(compile_model(*given)) or compiled[-1])
    OpenVino(tiny, EngineSettings(kind="openvino"))
    assert not any(model.get_property("ENABLE_CPU_PINNING") for model in compiled)


def test_waiting_for_a_busy_machine_does_not_make_a_network_slow(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    infer = ov.InferRequest.infer

    def late(request: ov.InferRequest, *given: object, **named: object) -> object:
        time.sleep(0.03)
        return infer(request, *given, **named)

    monkeypatch.setattr(ov.InferRequest, "infer", late)
    assert OpenVino(tiny, EngineSettings(kind="openvino")).threads == 1
