"""Hands and fingers held before the camera."""

from __future__ import annotations

import cv2
import numpy as np

from picam_infer.training.noise import noise_image


def hand(grey: np.ndarray, roi_px: int, rng: np.random.Generator) -> np.ndarray:
    """Lay an open hand over a grey float32 picture, in place; `roi_px` is the side of the centre square."""
    h, w = grey.shape
    size, turn, spread = rng.uniform(0.3, 0.75) * roi_px, rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.2)
    palm = np.array([w / 2, h / 2]) + rng.normal(0, 0.25, 2) * roi_px
    mask = np.zeros((h, w), np.uint8)
    cv2.circle(mask, (int(palm[0]), int(palm[1])), max(int(0.45 * size), 1), 255, -1)
    for place, length in zip((-1.5, -0.55, -0.18, 0.18, 0.55), (0.85, 1.2, 1.3, 1.2, 0.95), strict=True):
        a = turn + spread * place + rng.normal(0, 0.06)
        along = np.array([np.cos(a), np.sin(a)])
        ends = np.stack([palm + 0.3 * size * along, palm + length * rng.uniform(0.9, 1.1) * size * along])
        cv2.polylines(mask, [np.round(ends).astype(np.int32)], False, 255, max(int(0.19 * size), 2))
    wrist = palm - 2 * size * np.array([np.cos(turn), np.sin(turn)])
    cv2.polylines(mask, [np.round(np.stack([palm, wrist])).astype(np.int32)], False, 255, max(int(0.7 * size), 2))
    return _skin(grey, mask, 0.19 * size, rng.uniform(50, 225), rng)


def _skin(
    grey: np.ndarray,
    mask: np.ndarray,
    thick: float,
    tone: float,
    rng: np.random.Generator,
    nails: np.ndarray | None = None,
) -> np.ndarray:
    """Put skin where the mask is 255, in place, darker towards its sides; `thick` is a finger's width in px."""
    soft = cv2.GaussianBlur(mask, (0, 0), max(thick * 0.15, 0.8)).astype(np.float32) / 255
    shade = tone * (0.55 + 0.45 * soft) * (1 + 0.06 * noise_image((grey.shape[1], grey.shape[0]), rng, 1.0))
    if nails is not None:
        shade += nails.astype(np.float32) * np.float32(rng.uniform(0.03, 0.15))
    edge = cv2.GaussianBlur(mask, (0, 0), 0.7).astype(np.float32) / 255
    grey *= 1 - edge
    grey += edge * shade
    return grey


def fingers(grey: np.ndarray, roi_px: int, rng: np.random.Generator) -> np.ndarray:
    """Lay one to four fingers over a grey float32 picture, in place; `roi_px` is the side of the centre square."""
    h, w = grey.shape
    mask = np.zeros((h, w), np.uint8)
    nails = np.zeros((h, w), np.uint8)
    skin, angle = rng.uniform(50, 215), rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    thick = rng.uniform(0.1, 0.32) * roi_px
    tip = np.array([w / 2, h / 2]) + rng.normal(0, 0.2, 2) * roi_px
    for i in range(int(rng.choice([1, 1, 1, 2, 2, 3, 4]))):
        end = tip + across * i * thick * rng.uniform(1.0, 1.3) - along * rng.uniform(0, 0.3) * roi_px * (i > 0)
        knuckle = end - (along + across * rng.normal(0, 0.12)) * roi_px * 0.4
        root = knuckle - (along + across * rng.normal(0, 0.12)) * roi_px * 2
        line = np.round(np.stack([end, knuckle, root])).astype(np.int32)
        cv2.polylines(mask, [line], False, 255, max(int(thick), 2))
        if rng.random() < 0.5:
            at = end + along * thick * 0.1
            axes = (max(int(thick * 0.33), 1), max(int(thick * 0.25), 1))
            cv2.ellipse(nails, (int(at[0]), int(at[1])), axes, float(np.degrees(angle)), 0, 360, 255, -1, cv2.LINE_AA)
    return _skin(grey, mask, thick, skin, rng, nails)
