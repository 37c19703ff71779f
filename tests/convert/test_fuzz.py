"""A short run of the fuzzing tool, on files made here."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np

from picam_infer.convert.conversion import convert
from picam_infer.core import PicamError

sys.path.insert(0, str(Path(__file__).parent))
import fuzz
from test_refusals import dense, flat, good, good_arrays, sequential


def sources(folder: Path) -> list[Path]:
    whole = good(folder / "m.h5")
    with zipfile.ZipFile(folder / "converted_keras.zip", "w") as file:
        file.write(whole, "keras_model.h5")
        file.writestr("labels.txt", "0 a\n1 b\n")
    arrays = good_arrays()["d"]
    weights = [{"name": f"d/{name}", "shape": list(a.shape), "dtype": "float32"} for name, a in arrays.items()]
    manifest = {
        "modelTopology": sequential(flat(), dense()),
        "weightsManifest": [{"paths": ["weights.bin"], "weights": weights}],
    }
    tfjs = folder / "tfjs"
    tfjs.mkdir()
    (tfjs / "model.json").write_text(json.dumps(manifest))
    (tfjs / "weights.bin").write_bytes(b"".join(a.tobytes() for a in arrays.values()))
    with h5py.File(folder / "w.h5", "w") as file:
        for at, name in enumerate(("kernel", "bias")):
            file[f"layers/dense/vars/{at}"] = arrays[name]
    with zipfile.ZipFile(folder / "m.keras", "w") as file:
        file.writestr("config.json", json.dumps(sequential(flat(), dense())))
        file.writestr("metadata.json", json.dumps({"keras_version": "3.1.1"}))
        file.write(folder / "w.h5", "model.weights.h5")
    return [whole, folder / "converted_keras.zip", tfjs / "model.json", folder / "m.keras"]


def test_the_sources_themselves_convert(tmp_path: Path) -> None:
    answers = set()
    for at, source in enumerate(sources(tmp_path)):
        report = convert(source, tmp_path / f"out{at}")
        answers.add((report.parameters, len(report.labels)))
    assert answers == {(192 * 2 + 2, 2)}


def test_damaged_files_are_refused_or_converted(tmp_path: Path) -> None:
    # In this process, because a child each would take minutes; scripts/fuzz-convert runs the real thing.
    def here(given: Path, output: Path) -> float:
        convert(given, output)
        return 0.0

    files = [source for source in sources(tmp_path) if source.suffix in (".json", ".zip")]
    (tmp_path / "tfjs" / "weights.bin").stat()
    outcomes = fuzz.run(files, 120, 5, here)
    assert outcomes["refused"] > 20 and outcomes["converted"] > 5


def test_a_mutation_changes_something_and_repeats_itself() -> None:
    import random

    data = bytes(range(256)) * 40
    assert fuzz.mutate(data, random.Random(1)) == fuzz.mutate(data, random.Random(1)) != data
    assert np.array(PicamError.exit_code) == 1
