"""Objects and textures that fill the view instead of paper, as grey float32 pictures of (width, height)."""

from __future__ import annotations

import cv2
import numpy as np

from picam_infer.training.noise import noise_image


def clouds(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return foliage, cloth or carpet, by the noise's slope."""
    grey = 128 + rng.uniform(20, 70) * noise_image(size, rng, rng.uniform(0.2, 1.5))
    return np.clip(grey, 0, 255).astype(np.float32)


def boxes(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return furniture: overlapping rectangles, discs and bars of different greys, some shaded."""
    grey = 128 + rng.uniform(5, 40) * noise_image(size, rng, 1.5)
    w, h = size
    for _ in range(int(rng.integers(2, 14))):
        tone, x, y = float(rng.uniform(10, 245)), int(rng.integers(0, w)), int(rng.integers(0, h))
        a, b = (int(v) for v in np.exp(rng.uniform(-3, -0.3, 2)) * h)
        if rng.random() < 0.3:
            cv2.ellipse(grey, (x, y), (a + 1, b + 1), float(rng.uniform(0, 180)), 0, 360, tone, -1, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints(((x, y), (2.0 * a + 2, 2.0 * b + 2), float(rng.normal(0, 20))))
            cv2.fillPoly(grey, [np.round(corners).astype(np.int32)], tone, cv2.LINE_AA)
    return np.clip(grey, 0, 255).astype(np.float32)


def keyboard(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return rows of keys, tiles, bricks or windows."""
    w, h = size
    pitch = max(int(h * rng.uniform(0.12, 0.4)), 8)
    gap = max(int(pitch * rng.uniform(0.05, 0.25)), 1)
    low, high = np.sort(rng.uniform(10, 245, 2))
    ground, key = (low, high) if rng.random() < 0.5 else (high, low)
    grey = np.full((h * 2, w * 2), ground, np.uint8)
    for row, y in enumerate(range(0, 2 * h, pitch)):
        for x in range((row * pitch // 3) % pitch - pitch, 2 * w, pitch):
            cv2.rectangle(grey, (x + gap, y + gap), (x + pitch - gap, y + pitch - gap), float(key), -1)
            if rng.random() < 0.5:
                mark = str(rng.choice(list("AEFHKMRTWXY+#?")))
                cv2.putText(
                    grey, mark, (x + 2 * gap, y + pitch - 2 * gap), 0, pitch / 60, float(ground), max(1, pitch // 30)
                )
    turn = cv2.getRotationMatrix2D((w, h), float(rng.normal(0, 12)), 1)
    turn[:, 2] -= (w / 2 + rng.uniform(-pitch, pitch), h / 2 + rng.uniform(-pitch, pitch))
    return np.asarray(
        cv2.warpAffine(grey, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.float32)
    )


def face(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a face or a hand-sized thing: a shaded oval with darker parts before a room."""
    w, h = size
    grey = boxes(size, rng) if rng.random() < 0.6 else clouds(size, rng)
    cx, cy, r = w / 2 + rng.normal(0, 0.12) * h, h / 2 + rng.normal(0, 0.12) * h, h * rng.uniform(0.2, 0.6)
    skin = rng.uniform(70, 220)

    def oval(dx: float, dy: float, a: float, b: float, tone: float) -> None:
        axes = (max(int(a * r), 1), max(int(b * r), 1))
        cv2.ellipse(
            grey, (int(cx + dx * r), int(cy + dy * r)), axes, float(rng.normal(0, 6)), 0, 360, tone, -1, cv2.LINE_AA
        )

    oval(0, -0.25, 0.85, 0.95, skin * rng.uniform(0.1, 0.8))
    oval(0, 0, 0.72, 1, skin)
    for side in (-1, 1):
        oval(side * 0.3, -0.2, 0.15, 0.07, skin * 0.4)
        oval(side * 0.3, -0.36, 0.2, 0.04, skin * 0.5)
    oval(0, 0.12, 0.1, 0.16, skin * 0.85)
    oval(0, 0.5, 0.28, rng.uniform(0.04, 0.12), skin * 0.55)
    return np.asarray(np.clip(cv2.GaussianBlur(grey, (0, 0), max(r * 0.02, 0.5)), 0, 255))


def cables(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return long curved bands and stripes that cross the picture."""
    w, h = size
    grey = (rng.uniform(40, 220) + rng.uniform(2, 20) * noise_image(size, rng, 1.5)).astype(np.float32)
    t = np.linspace(-0.2, 1.2, 40)
    for _ in range(int(rng.integers(1, 7))):
        a, bend = rng.uniform(0, np.pi), rng.normal(0, 0.3, 3)
        line = np.stack(
            [(t - 0.5) * 1.6, rng.normal(0, 0.25) + bend[0] * np.sin(3 * t + bend[1] * 9) + bend[2] * (t - 0.5)], 1
        )
        line = line @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * h + (w / 2, h / 2)
        thick = max(int(h * np.exp(rng.uniform(-4.5, -1.5))), 1)
        cv2.polylines(grey, [np.round(line).astype(np.int32)], False, float(rng.uniform(10, 245)), thick, cv2.LINE_AA)
    return np.clip(grey, 0, 255)


def wood(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a table's grain."""
    w, h = size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / h
    bent = y * rng.uniform(6, 25) + 1.5 * noise_image(size, rng, 1.6) + x * rng.normal(0, 2)
    return np.asarray((rng.uniform(70, 170) + rng.uniform(8, 40) * np.sin(bent * 2)).astype(np.float32))


def checks(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a checked cloth or a calibration board."""
    w, h = size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / h
    a, pitch = rng.normal(0, 0.3), rng.uniform(4, 14)
    u, v = (x * np.cos(a) - y * np.sin(a)) * pitch, (x * np.sin(a) + y * np.cos(a)) * pitch
    low, high = np.sort(rng.uniform(20, 240, 2))
    return np.asarray(np.where((np.floor(u) + np.floor(v)) % 2 == 0, low, high).astype(np.float32))


def coins(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return coins, cups or bottle caps seen from above: shaded discs with a rim."""
    w, h = size
    grey = (rng.uniform(60, 220) + rng.uniform(2, 15) * noise_image(size, rng, 1.5)).astype(np.float32)
    for _ in range(int(rng.integers(1, 5))):
        centre = (round(w / 2 + rng.normal(0, 0.3) * h), round(h / 2 + rng.normal(0, 0.3) * h))
        radius, tone = h * rng.uniform(0.12, 0.45), rng.uniform(30, 235)
        for share, light in ((1.0, 0.7), (0.93, 1.1), (0.8, 0.95), (0.4, 1.05)):
            cv2.circle(grey, centre, max(int(radius * share), 1), float(tone * light), -1, cv2.LINE_AA)
    return np.clip(grey, 0, 255)
