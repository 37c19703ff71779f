"""Post-training quantisation to int8 with NNCF (extra `quantize`)."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from picam_infer.convert import ir
from picam_infer.convert.tensor import Array
from picam_infer.core import NoInput, PicamError, Pixels, Preprocessor, Unavailable, counted
from picam_infer.imaging import picture_files
from picam_infer.imaging.pictures import as_frame, read_picture
from picam_infer.inference import preprocess
from picam_infer.models.bundle import Card

MAX_PICTURES = 300
ENOUGH = 20
"""With fewer pictures than this the calibration is a guess, and so is how well int8 agrees with f16."""


def quantized(model: Any, card: Card, folder: Path, notes: list[str]) -> tuple[dict[str, bytes], dict[str, float]]:
    """Return the quantised IR and how it compares with f16 on the pictures of `folder`.

    What was left out of the folder, and whether too little is in it, goes into `notes`. Raises `Unavailable` (no
    NNCF), `NoInput` (no pictures), `PicamError`.
    """
    nncf = _nncf()
    feeds = [feed.reshape(tuple(model.input(0).shape)) for feed in _pictures(folder, card, notes)]
    if len(feeds) < ENOUGH:
        notes.append(
            f"int8 was calibrated and compared with only {counted(len(feeds), 'picture')}, which tells little about "
            f"others: give at least {ENOUGH} of what the camera will see"
        )
    plain = ir.serialise(model, half=True)
    with contextlib.redirect_stdout(io.StringIO()):
        small = nncf.quantize(ir.load(ir.serialise(model, half=False)), nncf.Dataset(feeds), subset_size=len(feeds))
    files = ir.serialise(small, half=True)
    runs = [ir.compiled(ir.load(each)) for each in (plain, files)]
    answers = [np.stack([run([feed])[0].ravel() for feed in feeds]) for run in runs]
    agreement = float((answers[0].argmax(1) == answers[1].argmax(1)).mean())
    times = [_best_ms(run, feeds[0]) for run in runs]
    return files, {"pictures": len(feeds), "agreement": agreement, "f16_ms": times[0], "int8_ms": times[1]}


def require() -> None:
    """Raise `Unavailable` at once if NNCF is not installed; loading it takes seconds."""
    if importlib.util.find_spec("nncf") is None:
        raise Unavailable("int8 needs NNCF, which is not installed", "pip install 'picam-infer[quantize]'")


def _nncf() -> Any:
    try:
        import nncf
    except ImportError as error:
        raise Unavailable(f"NNCF cannot be loaded ({error})", "pip install 'picam-infer[quantize]'") from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _best_ms(run: Callable[[Any], Any], feed: Array) -> float:
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        run([feed])
        best = min(best, time.perf_counter() - start)
    return best * 1000


def _pictures(folder: Path, card: Card, notes: list[str]) -> list[Array]:
    """Return the folder's pictures as the network's input, (1, H, W, C) or (1, C, H, W)."""
    if not folder.is_dir():
        missing = f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}"
        raise NoInput(missing, "--calibrate needs a folder of pictures")
    found = picture_files.find(folder)
    if remark := found.remark(folder):
        notes.append(remark)
    files = found.pictures
    step = -(-len(files) // MAX_PICTURES)
    if card.input.channels not in (1, 3):
        raise PicamError("the network's input is not a picture, it cannot be calibrated with pictures", "use f16")
    prepare = preprocess.build(card.preprocess, card.input)
    feeds, damaged = [], []
    for path in files[::step]:
        try:
            feeds.append(_feed(read_picture(path), prepare, card))
        except PicamError as error:
            damaged.append(error)
    if not feeds:
        raise NoInput(f"no picture in {folder} can be read: {damaged[0].message}", damaged[0].hint)
    if damaged:
        more = f", and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        notes.append("left out of the calibration: " + ", ".join(error.message for error in damaged[:3]) + more)
    return feeds


def _feed(picture: Pixels, prepare: Preprocessor, card: Card) -> Array:
    return preprocess.tensor(prepare(as_frame(picture)), card.preprocess, card.input)
