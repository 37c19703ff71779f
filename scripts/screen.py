"""Draws the README's picture of the monitor, docs/screen.jpg: the demo's scene through the whole chain."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from picam_infer import sources
from picam_infer.bootstrap import bootstrap
from picam_infer.config import Capture, EngineSettings
from picam_infer.imaging import decode
from picam_infer.inference import engines, preprocess
from picam_infer.inference.classifier import Classifier
from picam_infer.models import bundle as bundles
from picam_infer.outputs import annotate


def main(target: Path) -> None:
    """Write the picture."""
    bootstrap()
    model = bundles.load("digits")
    source = sources.open_source("demo", Capture(fps=240))
    engine = engines.open_engine(EngineSettings(kind="openvino"), model)
    classifier = Classifier.of(model, engine)
    for _ in range(60):
        frame = source.read()
        assert frame is not None
        result = classifier.classify(frame, keep_input=True)
    image = decode.bgr(frame)
    box = preprocess.box(model.card.preprocess, model.card.input, image.shape[1], image.shape[0])
    stats = f"{result.infer_ms:.1f} ms  ·  {engine.name}  ·  {source.description}"
    annotate.draw(image, result, annotate.Annotation(box, stats))
    cv2.imwrite(str(target), image, [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screen.jpg"))
