"""What may be drawn: ranges and shares for training and for evaluation, and the view that is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

Range = tuple[float, float]
Shares = tuple[tuple[str, int], ...]
"""Names and how often each is drawn, relative to the others."""
# Content without a digit; some of the evaluation's kinds do not occur in training.
TRAIN_SHARES: Shares = (
    ("bare", 10),
    ("edge", 10),
    ("letter", 22),
    ("sign", 6),
    ("shape", 7),
    ("words", 7),
    ("scribble", 11),
    ("blobs", 13),
    ("dots", 3),
    ("fingers", 11),
    ("clouds", 3),
    ("boxes", 7),
    ("keyboard", 4),
    ("face", 5),
    ("cables", 5),
    ("cut", 3),
    ("smiley", 4),
    ("spiral", 3),
)
EVAL_SHARES: Shares = (
    ("bare", 10),
    ("edge", 5),
    ("plain letter", 17),
    ("words", 4),
    ("tangle", 17),
    ("blobs", 17),
    ("fingers", 17),
    ("shape", 3),
    ("clouds", 4),
    ("boxes", 4),
    ("face", 4),
    ("smiley", 1),
    ("spiral", 1),
    ("leaf", 2),
    ("coins", 2),
    ("wood", 2),
    ("checks", 2),
)


@dataclass(frozen=True)
class RenderParams:
    """The ranges a renderer draws from; lengths are shares of the centre square's side."""

    height: Range = (0.34, 0.92)
    pen: Range = (0.011, 0.12)
    outline: float = 0.5
    turn_deg: float = 20.0
    shear: float = 0.12
    aspect: Range = (0.78, 1.2)
    perspective: float = 0.1
    elastic: float = 0.02
    paper: Range = (105.0, 252.0)
    ink: Range = (0.0, 0.53)
    chalk: float = 0.08
    grounds: Shares = (("sheet", 80), ("napkin", 7), ("cardboard", 5), ("whiteboard", 8))
    ruled: float = 0.28
    fold: float = 0.08
    specks: float = 0.05
    edge: float = 0.12
    rough: float = 0.5
    dry: float = 0.1
    retraced: float = 0.15
    hollow: float = 0.05
    light: Range = (0.0, 0.55)
    shadow: float = 0.25
    focus: Range = (0.0, 0.01)
    motion: Range = (0.0, 0.024)
    disc_blur: float = 0.3
    noise: Range = (0.0, 10.0)
    sharpen: float = 0.2
    jpeg: Range = (35.0, 96.0)
    none: Shares = TRAIN_SHARES
    built_in: float = 0.15
    """Share of digits from the built-in strokes rather than from scans."""
    careless: float = 0.3
    """Share of digits that may hang over the square's border and be blotted or broken by their pen."""


TRAIN = RenderParams()
EVAL = RenderParams(
    height=(0.45, 0.85),
    pen=(0.014, 0.09),
    outline=0.4,
    turn_deg=15.0,
    shear=0.05,
    aspect=(0.9, 1.1),
    perspective=0.06,
    elastic=0.0,
    paper=(130.0, 250.0),
    ink=(0.0, 0.5),
    chalk=0.05,
    grounds=(("plain", 1),),
    ruled=0.06,
    fold=0.0,
    specks=0.02,
    edge=0.03,
    rough=0.0,
    dry=0.0,
    retraced=0.0,
    hollow=0.0,
    light=(0.05, 0.5),
    shadow=0.35,
    focus=(0.001, 0.008),
    motion=(0.0, 0.016),
    disc_blur=1.0,
    noise=(1.0, 9.0),
    sharpen=0.0,
    jpeg=(40.0, 92.0),
    none=EVAL_SHARES,
    built_in=0.0,
    careless=0.0,
)
CALM = replace(
    EVAL,
    height=(0.36, 0.9),
    pen=(0.012, 0.1),
    outline=0.45,
    turn_deg=18.0,
    shear=0.09,
    aspect=(0.82, 1.16),
    perspective=0.08,
    elastic=0.012,
    jpeg=TRAIN.jpeg,
    none=TRAIN_SHARES,
    built_in=0.1,
)
"""A tidy desk, for training: without such frames, clear digits would be learnt less well."""
Mix = tuple[tuple[RenderParams, float], ...]
"""Kinds of frames and their shares."""
TRAINING: Mix = ((TRAIN, 0.45), (CALM, 0.55))


def uniform(rng: np.random.Generator, span: Range) -> float:
    """Return a number between the range's ends, all of them equally likely."""
    return float(rng.uniform(*span))


def one_of(mix: Mix, rng: np.random.Generator) -> RenderParams:
    """Return one of the kinds of frames, by its share."""
    return mix[int(rng.choice(len(mix), p=[share for _, share in mix]))][0]


def none_kind(params: RenderParams, rng: np.random.Generator) -> str:
    """Return one of the kinds of content without a digit, by the shares of `params`."""
    kinds, shares = zip(*params.none, strict=True)
    return str(rng.choice(kinds, p=np.array(shares) / sum(shares)))


@dataclass(frozen=True)
class View:
    """What is drawn: `width` x `height` px around the frame's centre, where the centre square is `roi_px` wide."""

    width: int
    height: int
    roi_px: int

    @classmethod
    def crop(cls, roi_px: int) -> View:
        """The centre square alone, as the daemon cuts it out."""
        return cls(roi_px, roi_px, roi_px)

    @classmethod
    def frame(cls, width: int, height: int, roi: float = 0.4) -> View:
        """A whole frame; `roi` is the centre square's share of its height."""
        return cls(width, height, round(height * roi))

    def enlarged(self, coarse: np.ndarray) -> np.ndarray:
        """Return a coarser grey picture, (h, w), at the view's size: (height, width) float32."""
        size = (self.width, self.height)
        return np.asarray(cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))
