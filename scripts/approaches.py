"""Simulated approaches: a hand brings a sheet with a digit, holds it, and takes it away; what is shown meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from picam_infer.config import Decide
from picam_infer.core import Frame, Scores
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.training import negatives, paper
from picam_infer.training.digits import LABELS, REJECT, Digits
from picam_infer.training.glyphs import digit_field
from picam_infer.training.render import EVAL, View, jpeg, render_digit

ANSWERS_PER_S = 15
WIDTH, HEIGHT = 640, 480
SHEET_PX = 360
MOVE_S, HOLD_S, AWAY_S = (0.4, 1.2), (1.5, 3.0), (0.5, 1.5)
_ROOM_PX = 1.15
"""Diagonals of the frame between the box and where a sheet comes from."""


@dataclass(frozen=True)
class Approach:
    """One visit: which digit, what the camera sees, and between which answers the sheet is held still."""

    truth: int
    frames: list[Frame]
    held: range


def approach(digits: Digits, rng: np.random.Generator) -> Approach:
    """A sheet on its way in, held, and on its way out, at 15 frames a second, 640 x 480."""
    index = int(rng.integers(len(digits.labels)))
    sheet, table = _sheet(digits, index, rng), _table(rng)
    spans = [round(rng.uniform(*span) * ANSWERS_PER_S) for span in (AWAY_S, MOVE_S, HOLD_S, MOVE_S, AWAY_S)]
    ways = [rng.uniform(0, 2 * np.pi) for _ in range(2)]
    spot, turn = rng.normal(0, 10, 2), rng.normal(0, 5)
    finger = tuple(rng.uniform(0, 1, 2))
    frames = []
    for number, (distance, way) in enumerate(_course(spans, ways)):
        before = distance[0]
        exposed = []
        for share in (0.0, 0.33, 0.67):  # the shutter is open for half of the time
            now = before + (distance[1] - before) * share / 2
            place = spot + now * np.array([np.cos(way), np.sin(way)]) * np.hypot(WIDTH, HEIGHT) * _ROOM_PX
            place = place + rng.normal(0, 0.6, 2)
            exposed.append(_laid(table, sheet, place, turn + 25 * now, finger))
        grey = np.mean(exposed, axis=0) + rng.normal(0, 3, (HEIGHT, WIDTH))
        data = jpeg(np.clip(grey, 0, 255).astype(np.uint8), 85)
        frames.append(Frame(data, "jpeg", WIDTH, HEIGHT, monotonic_s=0, captured=0, seq=number))
    first = spans[0] + spans[1]
    return Approach(int(digits.labels[index]), frames, range(first, first + spans[2]))


def _course(spans: Sequence[int], ways: Sequence[float]) -> Iterator[tuple[tuple[float, float], float]]:
    """For each answer the sheet's distance from its place now and at the next one, and the direction it lies in."""
    away, coming, held, going, gone = spans
    ease = [0.5 + 0.5 * np.cos(np.pi * i / coming) for i in range(coming)]
    leave = [0.5 - 0.5 * np.cos(np.pi * i / going) for i in range(going)]
    distances = [1.0] * away + ease + [0.0] * held + leave + [1.0] * gone
    for number, now in enumerate(distances):
        following = distances[min(number + 1, len(distances) - 1)]
        yield (float(now), float(following)), ways[number >= away + coming + held // 2]


def _sheet(digits: Digits, index: int, rng: np.random.Generator) -> np.ndarray:
    """A sheet larger than the box with the digit in its middle, as the camera would see it at rest."""
    box = round(HEIGHT * 0.4)
    path = digits.paths[index] if digits.thin[index] else None
    params = replace(EVAL, focus=(0.001, 0.004), motion=(0.0, 0.0), noise=(0.0, 1.0), light=(0.05, 0.2))
    view = View(SHEET_PX, SHEET_PX, box)
    return render_digit(digit_field(digits.images[index], path), path is None, view, params, rng).astype(np.float32)


def _table(rng: np.random.Generator) -> np.ndarray:
    """What the camera sees with nobody there: a table, or a room."""
    if rng.random() < 0.5:
        tone = float(rng.uniform(40, 200))
        return paper.sheet((HEIGHT, WIDTH), HEIGHT * 0.4, tone, rng)
    kind = str(rng.choice(list(negatives.PICTURES)))
    return negatives.PICTURES[kind]((WIDTH, HEIGHT), rng)


def _laid(
    table: np.ndarray, sheet: np.ndarray, place: np.ndarray, turn_deg: float, finger: tuple[float, ...]
) -> np.ndarray:
    """The sheet over the table, its middle `place` px beside the frame's, and the thumb that holds it."""
    across = cv2.getRotationMatrix2D((SHEET_PX / 2, SHEET_PX / 2), turn_deg, 1)
    across[:, 2] += np.array([WIDTH, HEIGHT]) / 2 + place - SHEET_PX / 2
    thumbed = sheet.copy()
    at = (round(SHEET_PX * (0.1 + 0.8 * finger[0])), SHEET_PX)
    cv2.ellipse(thumbed, at, (28, 60), 0, 0, 360, 90 + 100 * finger[1], -1, cv2.LINE_AA)
    moved = cv2.warpAffine(thumbed, across, (WIDTH, HEIGHT))
    mask = cv2.warpAffine(np.ones_like(sheet), across, (WIDTH, HEIGHT))
    return np.asarray(table * (1 - mask) + moved * mask)


@dataclass(frozen=True)
class Shown:
    """What people saw during approaches with one setting of `decide`."""

    false_per_min: float
    """Labels that came up and were not the digit on the sheet."""
    delay_s: float
    """Median time from the sheet's rest to the right label; those that had it before count as 0."""
    delay_p90_s: float
    missed: float
    """Share of approaches in which the right label never came."""
    flicker: float
    """Changes of the label while the sheet was held, per approach, after the right one was shown."""


def shown(approaches: Sequence[Approach], scores: Sequence[list[Scores]], settings: Decide) -> Shown:
    """Play the scores of each approach through a fresh `Postprocessor`."""
    false, flicker, delays = 0, 0, []
    for visit, answers in zip(approaches, scores, strict=True):
        postprocessor = Postprocessor(LABELS, LABELS[REJECT])
        labels = [postprocessor(one, settings)[0] for one in answers]
        right = str(visit.truth)
        changes = [now for before, now in zip([None, *labels], labels, strict=False) if now != before]
        false += sum(label not in (None, right) for label in changes)
        first = next((i for i in visit.held if labels[i] == right), None)
        if first is not None:
            delays.append((first - visit.held.start) / ANSWERS_PER_S)
            flicker += sum(labels[i] != labels[i - 1] for i in range(first + 1, visit.held.stop))
    minutes = sum(len(visit.frames) for visit in approaches) / ANSWERS_PER_S / 60
    many = len(approaches)
    return Shown(false / minutes, float(np.median(delays)), float(np.quantile(delays, 0.9)),
                 1 - len(delays) / many, flicker / many)  # fmt: skip
