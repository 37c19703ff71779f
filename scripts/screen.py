"""Draws the README's picture of the monitor, docs/screen.jpg: the demo's scene through the whole chain."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2

from picam_infer import sources
from picam_infer.bootstrap import bootstrap
from picam_infer.config import Capture, Decide, DisplaySettings, EngineSettings
from picam_infer.inference import engines
from picam_infer.inference.classifier import Classifier
from picam_infer.models import bundle as bundles
from picam_infer.outputs.annotator import Annotator
from picam_infer.runtime.state import State, Tuning

_SECONDS = 3.0
"""Until the rates have settled."""


def main(target: Path) -> None:
    """Write the picture."""
    bootstrap()
    model = bundles.load("digits")
    state = State(Tuning(model.card.preprocess, Decide()))
    state.run_model(model)
    source = sources.open_source("demo", Capture())
    classifier = Classifier.of(model, engines.open_engine(EngineSettings(kind="openvino"), model))
    end_s = time.monotonic() + _SECONDS
    while True:
        frame = source.read()
        assert frame is not None
        result = classifier.classify(frame, keep_input=True)
        state.results.put(result)
        state.stats.inferences.tick()
        state.stats.shown.tick()
        if time.monotonic() > end_s and result.score > 0.95:
            break
    image = Annotator(state, DisplaySettings(), state.stats.shown).draw(frame)
    cv2.imwrite(str(target), image, [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screen.jpg"))
