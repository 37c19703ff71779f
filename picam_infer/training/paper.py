"""What is written on, unlit: sheets, napkins, cardboard and boards, with what is printed on them, creases and edges."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from picam_infer.training.noise import grain, noise_image


def _turned_lines(
    mask: np.ndarray, places: np.ndarray, slope: float, upright: bool, thick: int, gap: float, bend: float
) -> None:
    """Draw lines across the whole mask, nearly level or (`upright`) nearly plumb; `gap` > 0: dotted, pitch in px."""
    height, width = mask.shape
    long = height if upright else width
    along = np.arange(0, long, gap) if gap else np.linspace(-4, long + 4, 9)
    bow = bend * np.sin(np.pi * along / long)
    for at in places:
        across = at + slope * (along - long / 2) + bow
        points = np.stack([across, along] if upright else [along, across], 1)
        if gap:
            for x, y in np.round(points * 16).astype(int):
                cv2.circle(mask, (int(x), int(y)), 8 * thick, 255, -1, cv2.LINE_AA, 4)
        else:
            cv2.polylines(mask, [np.round(points * 16).astype(np.int32)], False, 255, thick, cv2.LINE_AA, 4)


def rule(grey: np.ndarray, side: float, rng: np.random.Generator) -> None:
    """Print lines, squares, dots or a margin on float32 paper, in place; `side` is the centre square's, in px.

    Real rules leave 0.44 to 0.96 of the paper's brightness and lie up to a whole square apart: some above and below
    the digit, some through it; some end before the border.
    """
    height, width = grey.shape
    mask = np.zeros((height, width), np.uint8)
    pitch, thick = max(rng.uniform(0.07, 1.0) * side, 6.0), max(round(side * rng.uniform(0.003, 0.02)), 1)
    slope, bend = float(rng.normal(0, 0.05)), float(rng.normal(0, 0.01)) * side
    reach = max(grey.shape)
    gap = side * rng.uniform(0.02, 0.06) if rng.random() < 0.1 else 0.0
    squares = rng.random() < 0.3
    first = bool(rng.random() < 0.2)
    for upright in (False, True) if squares or gap else (first,):
        places = np.arange(rng.uniform(-0.2 * reach, pitch - 0.2 * reach), 1.2 * reach, pitch)
        _turned_lines(mask, places, -slope if upright else slope, upright, thick, gap, bend)
    if rng.random() < 0.15:
        middle = (height if first else width) / 2 + rng.choice([-1, 1]) * rng.uniform(0.3, 0.55) * side
        places = middle + np.array([0, rng.uniform(0, 0.06) * side])
        _turned_lines(mask, places, slope, not first, thick, 0.0, bend)
    if rng.random() < 0.35:
        _stop(mask, pitch, rng)
    darker = rng.uniform(0.25, 0.58) if rng.random() < 0.85 else rng.uniform(0.04, 0.3)
    fade = noise_image((16, 16), rng, 1.0)
    wear = np.clip(1 - 0.3 * np.abs(cv2.resize(fade, (width, height))), 0.2, 1)
    grey *= 1 - np.float32(darker) * wear * (mask.astype(np.float32) / 255)


def _stop(mask: np.ndarray, pitch: float, rng: np.random.Generator) -> None:
    """End lines somewhere, all at one margin or each band of paper at its own, often beside the digit."""
    height, width = mask.shape
    together = rng.random() < 0.5
    bands = [0, height] if together else [*np.arange(rng.uniform(0, pitch), height, pitch).astype(int), height]
    for top, bottom in zip([0, *bands[:-1]], bands, strict=True):
        left, right = rng.random(2) < 0.5
        if left or together:
            mask[top:bottom, : int(rng.uniform(0.02, 0.5) * width)] = 0
        if right:
            mask[top:bottom, int(rng.uniform(0.5, 0.98) * width) :] = 0


def plain(shape: tuple[int, int], side: float, shade: float, rng: np.random.Generator) -> np.ndarray:
    """Return paper without a grain that a camera would see."""
    return _even(shape, shade, rng.uniform(0, 0.03), rng)


def sheet(shape: tuple[int, int], side: float, shade: float, rng: np.random.Generator) -> np.ndarray:
    """Return writing paper: almost even, sometimes with a visible grain."""
    grey = _even(shape, shade, rng.uniform(0, 0.03), rng)
    if rng.random() < 0.4:
        grey += grain(shape, side, rng.uniform(0.004, 0.016), rng) * np.float32(rng.uniform(0.5, 6))
    return grey


def _even(shape: tuple[int, int], shade: float, clouds: float, rng: np.random.Generator) -> np.ndarray:
    coarse = 1 + clouds * noise_image((32, 32), rng, 1.0)
    return np.asarray(cv2.resize((coarse * shade).astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR))


def napkin(shape: tuple[int, int], side: float, shade: float, rng: np.random.Generator) -> np.ndarray:
    """Return a napkin or kitchen roll: an embossed pattern in slanting light, and soft fibres."""
    bumps = grain(shape, side, rng.uniform(0.02, 0.06), rng) + 0.5 * grain(shape, side, rng.uniform(0.006, 0.02), rng)
    if rng.random() < 0.4:
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        pitch = side * rng.uniform(0.03, 0.12) / (2 * np.pi)
        bumps += 2 * np.sin((x + 0.2 * y) / pitch) * np.sin((y - 0.2 * x) / pitch)
    light = cv2.filter2D(bumps, -1, np.array([[-1, 0, 0], [0, 0, 0], [0, 0, 1]], np.float32))
    light /= max(float(light.std()), 1e-3)
    return np.asarray(_even(shape, shade, 0.04, rng) * (1 + np.float32(rng.uniform(0.01, 0.05)) * light))


def cardboard(shape: tuple[int, int], side: float, shade: float, rng: np.random.Generator) -> np.ndarray:
    """Return brown cardboard: darker, flecked, with the corrugation's stripes showing faintly."""
    grey = _even(shape, min(shade, rng.uniform(95, 190)), 0.05, rng)
    grey += grain(shape, side, rng.uniform(0.005, 0.02), rng) * np.float32(rng.uniform(2, 7))
    if rng.random() < 0.5:
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        a = rng.normal(0, 0.1) + (np.pi / 2) * (rng.random() < 0.5)
        phase = (x * np.cos(a) + y * np.sin(a)) * (2 * np.pi / (side * rng.uniform(0.05, 0.12)))
        grey *= 1 + np.float32(rng.uniform(0.01, 0.06)) * np.sin(phase)
    return grey


def whiteboard(shape: tuple[int, int], side: float, shade: float, rng: np.random.Generator) -> np.ndarray:
    """Return a whiteboard: smooth, with wiped-off writing and the reflection of a lamp."""
    grey = _even(shape, max(shade, 150.0), 0.03, rng)
    if rng.random() < 0.5:
        wiped = cv2.GaussianBlur(np.abs(noise_image((64, 64), rng, 0.6)), (0, 0), 1.5)
        grey *= 1 - np.float32(rng.uniform(0, 0.12)) * np.clip(cv2.resize(wiped, shape[::-1]), 0, 1)
    if rng.random() < 0.4:
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / side
        cy, cx = rng.uniform(0, shape[0]) / side, rng.uniform(0, shape[1]) / side
        glow = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * rng.uniform(0.05, 0.4) ** 2))
        grey += np.float32(rng.uniform(10, 60)) * glow
    return grey


def blackboard(shape: tuple[int, int], side: float, shade: float, rng: np.random.Generator) -> np.ndarray:
    """Return a blackboard with smeared chalk; written on in light."""
    grey = _even(shape, rng.uniform(20, 95), 0.05, rng)
    if rng.random() < 0.6:
        smears = np.abs(cv2.resize(noise_image((48, 24), rng, 0.8), shape[::-1]))
        grey += np.float32(rng.uniform(2, 25)) * smears
    grey += grain(shape, side, rng.uniform(0.004, 0.012), rng) * np.float32(rng.uniform(0, 4))
    return grey


GROUNDS: dict[str, Callable[[tuple[int, int], float, float, np.random.Generator], np.ndarray]] = {
    "plain": plain,
    "sheet": sheet,
    "napkin": napkin,
    "cardboard": cardboard,
    "whiteboard": whiteboard,
    "blackboard": blackboard,
}
"""What is written on: functions of (height, width) px, the centre square's side in px, and grey of the paper."""


def fold(grey: np.ndarray, side: float, rng: np.random.Generator) -> None:
    """Crease float32 paper, in place: each side gets its own light, and the ridge a bright or dark line."""
    height, width = grey.shape
    a = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.2)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    far = ((x - width / 2) * np.cos(a) + (y - height / 2) * np.sin(a)) / side - rng.uniform(-0.5, 0.5)
    far += 0.01 * cv2.resize(noise_image((16, 16), rng, 1.0), (width, height))
    soft = np.float32(np.exp(rng.uniform(-5.5, -3)))
    step = np.float32(rng.uniform(-0.22, 0.22)) * (np.tanh(far / soft) * np.exp(-np.abs(far) / rng.uniform(0.2, 2)))
    ridge = np.float32(rng.uniform(-0.2, 0.15)) * np.exp(-((far / (1.5 * soft)) ** 2))
    grey *= 1 + step + ridge
