"""The files that a training writes: Keras's own, and the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import msgspec

from picam_infer.models.bundle import Bundle, Edges, load, save
from picam_infer.training.digits import LABELS, REJECT
from picam_infer.training.samples import CANNY


def save_keras(network: Any, output: Path) -> None:
    """Write `model.json`, `weights.h5` and `model.h5` as Keras 1 and 2 named and laid them out."""
    (output / "model.json").write_text(network.to_json())
    network.save(output / "model.h5", include_optimizer=False)
    # Keras 3 no longer writes this layout by itself, but the whole-model file holds it as a group.
    with h5py.File(output / "model.h5") as whole, h5py.File(output / "weights.h5", "w") as weights:
        group = whole["model_weights"]
        for key, value in group.attrs.items():
            weights.attrs[key] = value
        for name in group:
            group.copy(name, weights)


def save_bundle(output: Path, notes: tuple[str, ...]) -> Bundle:
    """Convert `model.h5` like any other Keras file, and note on its card which label means “none of these”."""
    from picam_infer.convert.conversion import Options, convert

    labels = output / "labels.txt"
    labels.write_text("".join(f"{label}\n" for label in LABELS))
    convert(output / "model.h5", output / "digits", Options(labels=labels))
    made = load(output / "digits")
    chain = Edges(canny=CANNY)
    card = msgspec.structs.replace(made.card, name="digits", preprocess=chain, reject=LABELS[REJECT], notes=notes)
    files = {name: (made.folder / name).read_bytes() for name in ("model.xml", "model.bin")}
    return save(made.folder, card, LABELS, files)
