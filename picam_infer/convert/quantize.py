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
from picam_infer.core import NoInput, PicamError, Pixels, Preprocessor, Unavailable
from picam_infer.imaging import picture_files
from picam_infer.imaging.pictures import as_frame, read_picture
from picam_infer.inference import preprocess
from picam_infer.models.bundle import Card

MAX_PICTURES = 300


def quantized(model: Any, card: Card, folder: Path) -> tuple[dict[str, bytes], dict[str, float]]:
    """Return the quantised IR and how it compares with f16 on the pictures of `folder`.

    Raises `Unavailable` (no NNCF), `NoInput` (no pictures), `PicamError`.
    """
    nncf = _nncf()
    feeds = [feed.reshape(tuple(model.input(0).shape)) for feed in _pictures(folder, card)]
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


def _pictures(folder: Path, card: Card) -> list[Array]:
    """Return the folder's pictures as the network's input, (1, H, W, C) or (1, C, H, W)."""
    if not folder.is_dir():
        raise NoInput(f"there is no folder {folder}", "--calibrate needs a folder of pictures")
    files = picture_files.find(folder).pictures
    step = -(-len(files) // MAX_PICTURES)
    if card.input.channels not in (1, 3):
        raise PicamError("the network's input is not a picture, it cannot be calibrated with pictures", "use f16")
    prepare = preprocess.build(card.preprocess, card.input)
    return [_feed(read_picture(path), prepare, card) for path in files[::step]]


def _feed(picture: Pixels, prepare: Preprocessor, card: Card) -> Array:
    return preprocess.tensor(prepare(as_frame(picture)), card.preprocess, card.input)
