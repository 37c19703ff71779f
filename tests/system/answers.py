"""The same pictures through the same models on two machines: makes them, answers, and compares (scripts/test-arm64)."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 0.01
"""Of a probability: f32 sums in another order, and a resized pixel rounds differently."""


def make(folder: Path) -> None:
    """Write pictures of digits, a photo bundle (a real one where there is one) and its pictures."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    exports = sorted((ROOT.parent / "shared/models").glob("*/converted_keras.zip"))
    if exports:
        from picam_infer.convert.conversion import convert

        convert(exports[0], folder / "photo")
    else:
        from conftest import make_bundle

        from picam_infer.models.bundle import Photo

        make_bundle(folder / "photo", ("dark", "dim", "bright"), Photo(scale=1 / 255, offset=0.0), (1, 24, 24, 3))
    lines = {"7": [(575, 290), (700, 290), (640, 430)], "1": [(640, 290), (640, 430)],
             "4": [(660, 430), (660, 285), (580, 385), (705, 385)]}  # fmt: skip
    for name, points in lines.items():
        page = np.full((720, 1280, 3), 225, np.uint8)
        cv2.polylines(page, [np.array(points)], False, (40, 40, 40), 14, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"digit-{name}.png"), page)
    chance = np.random.default_rng(1)
    for name, top in (("dark", 60), ("dim", 256), ("bright", 256)):
        low = 0 if name != "bright" else 180
        coarse = chance.integers(low, top, (9, 16, 3), np.uint8)
        cv2.imwrite(str(folder / f"photo-{name}.png"), cv2.resize(coarse, (640, 360)))


def say(folder: Path) -> None:
    """Print, as JSON, the probabilities of every picture in f32."""
    sys.path[:0] = [str(ROOT)]
    from picam_infer.config import EngineSettings
    from picam_infer.core import Frame
    from picam_infer.inference import preprocess
    from picam_infer.inference.engines import open_engine
    from picam_infer.models import bundle

    told = {}
    for kind, name in (("digit", "digits"), ("photo", str(folder / "photo"))):
        model = bundle.load(name)
        engine = open_engine(EngineSettings(kind="openvino", precision="f32"), model, None)
        look = preprocess.build(model.card.preprocess, model.card.input)
        for file in sorted(folder.glob(f"{kind}-*.png")):
            image = cv2.imread(str(file))
            height, width = image.shape[:2]
            patch = look(Frame(image, "bgr", width, height, 0.0, 0.0, 0))
            engine.submit(patch)
            told[file.stem] = {"labels": list(model.labels), "scores": [float(s) for s in engine.collect()],
                               "seen": zlib.crc32(patch.tobytes())}  # fmt: skip
        engine.close()
    print(json.dumps(told))


def compare(here: Path, there: Path) -> None:
    """Compare two machines' answers; ends with 1 when they differ."""
    ours, theirs = json.loads(here.read_text()), json.loads(there.read_text().splitlines()[-1])
    worst, twins = 0.0, 0
    for name, answer in ours.items():
        other = theirs[name]["scores"]
        best = answer["labels"][int(np.argmax(answer["scores"]))]
        same = answer["labels"][int(np.argmax(other))] == best
        apart = float(np.abs(np.subtract(answer["scores"], other)).max())
        worst, twins = max(worst, apart), twins + (theirs[name]["seen"] == answer["seen"])
        if not same or apart > TOLERANCE:
            sys.exit(f"{name}: {best} here; there {'too' if same else 'not'}, probabilities differ by {apart:.1e}")
    print(f"{len(ours)} answers equal, probabilities differ by at most {worst:.1e}; the network saw the very same "
          f"pixels in {twins}")  # fmt: skip


if __name__ == "__main__":
    {"make": make, "say": say, "compare": compare}[sys.argv[1]](*map(Path, sys.argv[2:]))
