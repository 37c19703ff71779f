"""What a camera shows when nobody holds up a digit: letters, signs, scribbles, stains, objects, hands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from picam_infer.training.negatives import letters, objects, scribbles

INK: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "letter": letters.letter,
    "plain letter": letters.plain_letter,
    "sign": letters.sign,
    "shape": letters.shape,
    "words": letters.words,
    "scribble": scribbles.scribble,
    "tangle": scribbles.tangle,
    "blobs": scribbles.blobs,
    "dots": scribbles.dots,
    "smiley": scribbles.smiley,
    "spiral": scribbles.spiral,
    "leaf": scribbles.leaf,
}
"""Things drawn in ink, as fields (CANVAS_PX square, float32, glyph heights)."""

PICTURES: dict[str, Callable[[tuple[int, int], np.random.Generator], np.ndarray]] = {
    "clouds": objects.clouds,
    "boxes": objects.boxes,
    "keyboard": objects.keyboard,
    "face": objects.face,
    "cables": objects.cables,
    "wood": objects.wood,
    "checks": objects.checks,
    "coins": objects.coins,
}
"""Things that fill the view instead of paper, as grey float32 pictures of (width, height)."""
