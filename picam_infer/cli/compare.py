"""A bundle against its original, on pictures and on noise: what `bench --against` and `convert --verify` print."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from picam_infer.config import Capture
from picam_infer.convert import container, keras_library
from picam_infer.core import Frame, NoInput, PicamError
from picam_infer.imaging import picture_files, pictures
from picam_infer.inference import preprocess, references
from picam_infer.inference.engines import openvino
from picam_infer.inference.references import Comparison, Reference, Tensor
from picam_infer.models.bundle import Bundle
from picam_infer.platform import scratch
from picam_infer.sources import open_source

MAX_PICTURES = 40
_DRAWN = 6
"""How many frames of the demo scene are used when no pictures are given."""


class Original:
    """A model's original, unpacked if it is in a zip or a folder, and opened with its own library."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Find and open it. Raises `NoInput`, `Unavailable` or `PicamError`."""
        self._scratch = contextlib.ExitStack()
        try:
            self.reference: Reference = references.open_reference(self._file(path), threads)
        except BaseException:
            self.close()
            raise

    def _file(self, path: Path) -> Path:
        place = self._scratch.enter_context(scratch.folder())
        found = container.find(path, place)
        if found.format == "keras" and found.path.is_dir():
            if path.is_file() and path.suffix.lower() == ".keras":
                return path
            return keras_library.pack(found.path, place / "packed.keras")
        if found.format not in ("hdf5", "keras", "tflite", "onnx"):
            raise PicamError(f"{found.path.name} cannot be compared: no library here can run it",
                             "give the model as .h5, .keras, .tflite or .onnx")  # fmt: skip
        return found.path

    def close(self) -> None:
        """Remove what was unpacked."""
        self._scratch.close()

    def __enter__(self) -> Original:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compared(model: Bundle, reference: Reference, given: Sequence[Path], beside: Path | None = None) -> Comparison:
    """Compare a bundle with its original on the given pictures, else those next to it, else drawn ones; and on noise.

    Raises `NoInput` or `PicamError`.
    """
    chain, size = model.card.preprocess, model.card.input
    prepare = preprocess.build(chain, size)

    def inputs() -> Iterator[tuple[str, Tensor]]:
        for name, frame in _frames(given, beside):
            yield name, preprocess.tensor(prepare(frame), chain, size)

    return references.compare(reference, openvino.bare_network(model), inputs(), *chain.normalisation.limits())


def _frames(given: Sequence[Path], beside: Path | None) -> Iterator[tuple[str, Frame]]:
    files = [file for path in given for file in _inside(path)]
    if not given and beside is not None:
        files = _beside(beside)
    step = -(-len(files) // MAX_PICTURES) if files else 1
    for at, file in enumerate(files[::step]):
        yield file.name, pictures.as_frame(pictures.read_picture(file), at, str(file))
    if not files:
        yield from _drawn()


def _inside(path: Path) -> Sequence[Path]:
    return picture_files.find(path).pictures if picture_files.is_folder(path) else [path]


def _beside(folder: Path) -> list[Path]:
    """Return the pictures in a model's folder; those that cannot be read are skipped."""
    try:
        return [path for path in picture_files.find(folder).pictures if path.parent == folder]
    except NoInput:
        return []


def _drawn() -> Iterator[tuple[str, Frame]]:
    source = open_source("demo", Capture())
    try:
        for at in range(_DRAWN):
            frame = source.read()
            if frame is not None:
                yield f"drawn picture {at + 1}", frame
    finally:
        source.close()
