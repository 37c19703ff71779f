"""What a camera shows when nobody holds up a digit: letters, signs, scribbles, blobs, fingers, pictures."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from picam_infer.training.glyphs import CANVAS_PX, FAR, GLYPH_PX, Polyline, glyph, strokes_field, text_field

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX_SMALL,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
# Letters nobody reads as a digit, and those that come close. O, o, I, l and | are digits to any eye: in neither.
_PLAIN_LETTERS = "ACDEFHKMNPRTUVWXYadefhkmnprtuvwxy"
_CLOSE_LETTERS = "BGJLQSZbcgijqsz"
_SIGNS = '+*=%?#@&$<>{}[]~^:;"-'

_LETTERS = {
    "A": "0,100 50,0 50,0 100,100/20,62 80,62",
    "B": "15,0 15,100/15,2 60,0 78,20 60,44 15,48 15,48 70,50 88,74 66,98 15,100",
    "C": "88,14 55,0 18,22 10,60 35,95 70,98 90,84",
    "D": "15,0 15,100/15,2 60,6 90,45 66,92 15,100",
    "E": "85,2 18,0 18,0 16,100 16,100 86,98/18,48 70,46",
    "F": "85,2 18,0 18,0 16,100/18,48 66,46",
    "G": "86,16 52,0 16,26 12,66 40,98 78,92 86,58 86,58 54,58",
    "H": "15,0 12,100/86,0 88,100/14,50 86,48",
    "K": "16,0 16,100/84,2 18,56/36,42 88,100",
    "M": "8,100 14,0 14,0 50,66 50,66 86,0 86,0 94,100",
    "N": "14,100 14,0 14,0 86,100 86,100 86,0",
    "P": "16,100 16,0/16,2 64,0 84,24 62,50 16,54",
    "R": "16,100 16,0/16,2 64,0 82,22 60,46 16,50/40,50 88,100",
    "T": "4,2 96,0/50,2 48,100",
    "U": "12,0 14,66 44,100 78,84 86,0/86,0 88,100",
    "V": "6,0 48,100 48,100 94,0",
    "W": "2,0 24,100 24,100 50,30 50,30 76,100 76,100 98,0",
    "X": "8,0 92,100/90,0 10,100",
    "Y": "8,0 50,46/92,0 50,46 50,46 48,100",
    "a": "80,20 40,6 12,40 20,82 50,92 78,50 80,8 80,8 84,92 98,98",
    "e": "14,50 84,46 84,46 60,8 22,20 12,62 40,98 86,84",
    "h": "18,0 18,100/18,66 46,40 74,52 78,100",
    "k": "20,0 20,100/72,38 22,70 22,70 80,100",
    "m": "6,30 8,100/8,50 28,30 46,50 46,100/46,50 68,30 88,48 90,100",
    "n": "14,20 16,100/16,50 50,22 82,44 84,100",
    "w": "4,20 20,90 36,94 50,40 50,40 62,92 80,90 96,20",
    "a2": "74,24 44,14 14,44 20,84 50,94 74,60 74,18 74,18 74,84 94,96",
    "y": "10,0 44,54/88,0 44,54 20,100",
    "y2": "14,0 18,36 42,46 68,34 74,0/74,0 72,68 50,98 18,90",
    "y3": "22,4 12,10 36,22 26,44 34,50 68,20/80,2 56,100",
    "y4": "24,10 16,36 26,46 66,20/96,0 40,100",
    "y5": "10,12 26,6 30,40 46,50 66,36 74,4/74,4 66,60 52,100",
    "a3": "76,16 46,6 16,30 8,70 26,96 52,88 72,56 80,10 80,10 74,70 84,92 100,86",
    "a4": "20,16 52,4 76,20 78,96/78,48 40,48 14,70 30,96 58,92 78,70",
    "c2": "84,16 52,4 20,30 14,66 36,92 70,96 100,90",
    "c3": "80,10 44,2 14,36 18,80 50,98 96,84",
    "d2": "70,40 40,34 16,62 26,94 56,92 72,60 76,0 76,0 78,96",
    "v2": "6,10 30,0 44,90 44,90 90,4",
    "x2": "8,10 26,4 70,96 92,90/88,2 12,98",
    "r2": "20,10 22,100/22,40 46,14 80,14",
    "alpha": "96,4 64,64 30,90 6,62 14,28 42,18 66,54 96,96",
    "alpha2": "94,14 56,70 26,84 8,60 20,34 46,36 66,66 90,92",
    "alpha3": "92,4 74,44 40,88 10,84 14,60 40,54 66,74 74,96 74,96 98,88",
    "alpha4": "70,0 56,40 30,70 10,66 16,48 36,50 58,70 68,96 68,96 82,86",
    "beta": "16,100 20,20 44,0 70,10 68,34 40,44 76,54 80,80 54,96 20,84",
    "gamma": "4,10 22,2 44,50 46,96 38,100 36,86 50,50 92,0",
    "gamma2": "8,6 30,14 48,60/90,2 48,60 40,100",
    "lambda": "16,2 34,6 88,100/50,42 10,100",
    "mu": "16,100 20,10/20,40 26,66 50,70 70,40 72,8/72,8 74,66 92,66",
    "pi2": "2,16 22,6 98,4/36,8 24,100/68,8 66,86 84,98",
    "sigma": "96,14 46,14 14,46 22,88 54,98 76,66 62,30 40,14",
    "Sigma": "86,10 86,0 86,0 12,0 12,0 56,50 56,50 12,100 12,100 90,100 90,100 90,88",
    "psi": "10,6 18,46 50,62 82,46 90,4/50,0 48,100",
    "omega": "22,8 4,50 22,94 48,70 48,40 48,70 74,94 96,50 76,8",
    "Omega": "8,100 34,100 34,100 16,60 20,16 50,0 80,16 84,60 66,100 66,100 92,100",
    "Delta": "50,0 6,98 6,98 94,98 94,98 50,0",
    "xi": "80,4 34,6 28,26 62,34 30,44 20,66 50,80 78,84 68,100",
    "tau": "6,18 30,4 94,6/54,8 46,84 66,98",
    "plus": "50,4 50,96/4,50 96,50",
    "times": "10,10 90,90/88,12 12,90",
    "divide": "4,50 96,50/50,12 52,16/50,84 52,88",
    "equals": "6,34 94,32/8,66 94,68",
    "sum": "88,14 86,2 14,0 14,0 54,48 54,48 12,98 12,98 90,98",
    "integral": "80,8 62,0 50,16 46,84 34,100 16,92",
    "root2": "0,58 18,52 18,52 36,98 36,98 52,4 52,4 100,2",
    "percent": "84,4 16,98/28,8 10,20 26,34 42,20 28,8/74,66 58,80 74,94 90,80 74,66",
    "ä": "80,40 40,26 12,56 20,92 50,96 78,66 80,28 80,28 84,96 98,100/34,0 36,4/64,0 66,4",
}
_CLAIMED = ("a", "a2", "a3", "a4", "alpha", "alpha2", "alpha3", "alpha4", "y", "y2", "y3", "y4", "y5", "C", "c2", "c3")
"""What is taken for a digit more easily than others: drawn more often."""
_SHAPES = {
    "triangle": "50,0 100,90 100,90 0,90 0,90 50,0",
    "square": "0,0 100,0 100,0 100,100 100,100 0,100 0,100 0,0",
    "diamond": "50,0 90,50 90,50 50,100 50,100 10,50 10,50 50,0",
    "star": "50,0 80,100 80,100 0,36 0,36 100,36 100,36 20,100 20,100 50,0",
    "arrow": "0,50 100,50/70,20 100,50 100,50 70,80",
    "arrow up": "50,100 50,0/20,34 50,0 50,0 80,34",
    "house": "10,100 10,40 10,40 50,0 50,0 90,40 90,40 90,100 90,100 10,100/40,100 40,66 40,66 60,66 60,66 60,100",
    "heart": "50,100 4,40 14,6 42,8 50,30 50,30 58,8 86,6 96,40 50,100",
    "cross": "50,0 50,100/0,50 100,50",
    "tick": "0,60 36,100 36,100 100,0",
    "flash": "60,0 20,56 20,56 60,48 60,48 30,100",
    "zigzag": "0,60 20,30 20,30 40,70 40,70 60,30 60,30 80,70 80,70 100,40",
    "wave": "0,50 18,30 38,62 58,34 78,66 100,42",
    "root": "0,60 16,54 16,54 34,100 34,100 50,0 50,0 100,0",
    "sum": "90,10 90,0 90,0 10,0 10,0 56,50 56,50 10,100 10,100 92,100 92,100 92,88",
    "pi": "4,10 96,4/30,8 26,100/70,6 74,92 90,98",
    "infinity": "50,50 24,30 4,50 24,70 50,50 76,30 96,50 76,70 50,50",
    "flower": "50,40 38,10 62,10 50,40 82,30 84,56 50,40 70,76 46,80 50,40 20,66 14,38 50,40/50,42 48,100",
    "fish": "0,50 40,26 76,50 100,28 100,28 100,72 100,72 76,50 40,74 0,50",
}


def letter(rng: np.random.Generator) -> np.ndarray:
    """The field of one letter or sign (Latin, Greek, arithmetic), drawn by hand or printed."""
    if rng.random() < 0.6:
        name = str(rng.choice(_CLAIMED if rng.random() < 0.3 else list(_LETTERS)))
        strokes = glyph(_LETTERS[name], rng, 0.035)
        return strokes_field([s * np.array([rng.uniform(0.6, 1), 1], np.float32) for s in strokes])
    letters = _CLOSE_LETTERS if rng.random() < 0.15 else _PLAIN_LETTERS
    return _printed(str(rng.choice(list(letters))), rng)


def _printed(text: str, rng: np.random.Generator) -> np.ndarray:
    font = int(rng.choice(_FONTS)) | (cv2.FONT_ITALIC if rng.random() < 0.2 else 0)
    return text_field(text, font, int(rng.integers(1, 10)))


def plain_letter(rng: np.random.Generator) -> np.ndarray:
    """A printed letter that nobody reads as a digit."""
    return _printed(str(rng.choice(list(_PLAIN_LETTERS))), rng)


def sign(rng: np.random.Generator) -> np.ndarray:
    """A punctuation mark or a sign of arithmetic."""
    return _printed(str(rng.choice(list(_SIGNS))), rng)


def shape(rng: np.random.Generator) -> np.ndarray:
    """A small drawing: a house, an arrow, a star."""
    strokes = glyph(_SHAPES[str(rng.choice(list(_SHAPES)))], rng, 0.03)
    turn = rng.normal(0, 0.25)
    warp = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * rng.uniform(0.7, 1, (1, 2))
    return strokes_field([(s @ warp).astype(np.float32) for s in strokes])


def words(rng: np.random.Generator) -> np.ndarray:
    """Several characters in a row or in two rows: a word, a number, a page."""
    alphabet = list(_PLAIN_LETTERS + _CLOSE_LETTERS + "0123456789")
    text = "".join(rng.choice(alphabet, rng.integers(2, 7)))
    field = _printed(text, rng)
    if rng.random() < 0.4:
        step = int(CANVAS_PX * rng.uniform(0.2, 0.4))
        other = _printed("".join(rng.choice(alphabet, rng.integers(2, 8))), rng)
        field = np.minimum(np.roll(field, -step // 2, 0), np.roll(other, step - step // 2, 0))
    return field


def scribble(rng: np.random.Generator) -> np.ndarray:
    """Loops, tangles, hatching or a few stray lines."""
    kind = rng.integers(0, 4)
    strokes: list[Polyline]
    if kind == 0:
        steps = rng.normal(0, 1, (int(rng.integers(40, 160)), 2))
        smooth = cv2.GaussianBlur(steps.astype(np.float32), (1, 0x1F), float(rng.uniform(2, 6)))
        strokes = [np.cumsum(smooth - smooth.mean(0) * rng.random(), 0).astype(np.float32)]
    elif kind == 1:
        t = np.linspace(0, rng.uniform(3, 9) * 2 * np.pi, 200)
        loop = np.stack(
            [np.cos(t) * rng.uniform(0.2, 0.6) + t * rng.uniform(0.02, 0.12), np.sin(t * rng.uniform(0.95, 1.05))], 1
        )
        strokes = [(loop + rng.normal(0, 0.03, loop.shape)).astype(np.float32)]
    elif kind == 2:
        n = int(rng.integers(6, 16))
        ends = np.stack([np.arange(n) / n, np.where(np.arange(n) % 2, 1.0, 0.0) * rng.uniform(0.3, 1)], 1)
        strokes = [(ends + rng.normal(0, 0.05, ends.shape)).astype(np.float32)]
    else:
        strokes = [rng.random((2, 2)).astype(np.float32) for _ in range(int(rng.integers(3, 8)))]
    return strokes_field(strokes)


def tangle(rng: np.random.Generator) -> np.ndarray:
    """A scribble with too much of a line in it for any digit; a random short one often is a 1, 4 or 7."""
    kind = rng.integers(0, 4)
    if kind == 0:
        steps = cv2.GaussianBlur(rng.normal(0, 1, (int(rng.integers(160, 260)), 2)).astype(np.float32), (1, 0x1F), 3.0)
        home = steps - steps.mean(0)  # it comes back, and so crosses itself
        return strokes_field([np.cumsum(home, 0).astype(np.float32)])
    if kind == 1:
        t = np.linspace(0, rng.uniform(4, 9) * 2 * np.pi, 240)
        loop = np.stack([np.cos(t) * rng.uniform(0.3, 0.6) + t * rng.uniform(0.04, 0.12), np.sin(t)], 1)
        return strokes_field([(loop + rng.normal(0, 0.03, loop.shape)).astype(np.float32)])
    if kind == 2:
        n = int(rng.integers(9, 18))
        ends = np.stack([np.arange(n) / n, np.where(np.arange(n) % 2, 1.0, 0.0) * rng.uniform(0.4, 1)], 1)
        return strokes_field([(ends + rng.normal(0, 0.05, ends.shape)).astype(np.float32)])
    return strokes_field([rng.random((2, 2)).astype(np.float32) for _ in range(int(rng.integers(6, 11)))])


def blobs(rng: np.random.Generator) -> np.ndarray:
    """Filled, more or less round stains: negative inside, as an outline's field is."""
    mask = np.full((CANVAS_PX, CANVAS_PX), 255, np.uint8)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 6]))):
        t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        radius = np.ones_like(t) * GLYPH_PX * rng.uniform(0.08, 0.5)
        for k in range(1, 5):
            radius *= 1 + rng.uniform(0, 0.35 * rng.random()) / k * np.cos(k * t + rng.uniform(0, 7))
        squash = rng.uniform(0.5, 1, 2)
        centre = CANVAS_PX / 2 + rng.normal(0, 0.12 * GLYPH_PX, 2)
        points = np.stack([np.cos(t), np.sin(t)], 1) * radius[:, None] * squash + centre
        cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 0, cv2.LINE_8, 4)
    outside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 5)
    return np.asarray(cv2.GaussianBlur(outside - inside, (0, 0), 1.0) / GLYPH_PX)


def dots(rng: np.random.Generator) -> np.ndarray:
    """Crumbs and specks."""
    mask = np.full((CANVAS_PX, CANVAS_PX), 255, np.uint8)
    for x, y in rng.integers(8, CANVAS_PX - 8, (int(rng.integers(1, 14)), 2)):
        cv2.circle(mask, (int(x), int(y)), int(rng.integers(0, 4)), 0, -1)
    return mask_or_far(mask)


def mask_or_far(mask: np.ndarray) -> np.ndarray:
    """The field of a mask's zero pixels, FAR everywhere when it has none."""
    if mask.all():
        return np.full(mask.shape, FAR, np.float32)
    return np.asarray(cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), 1.0) / GLYPH_PX)


def smiley(rng: np.random.Generator) -> np.ndarray:
    """A drawn face."""
    face = "50,0 14,14 0,50 14,86 50,100 86,86 100,50 86,14 50,0/32,30 32,40/66,30 66,40/26,62 50,80 74,62"
    return strokes_field(glyph(face, rng, 0.02))


def spiral(rng: np.random.Generator) -> np.ndarray:
    """A spiral of two turns or more."""
    t = np.linspace(0, rng.uniform(2.2, 4) * 2 * np.pi, 160)
    return strokes_field([np.stack([t * np.cos(t), t * np.sin(t) * rng.uniform(0.8, 1)], 1).astype(np.float32)])


def leaf(rng: np.random.Generator) -> np.ndarray:
    """A leaf with its veins."""
    outline = "50,100 50,84 20,60 16,30 50,0 50,0 84,30 80,60 50,84"
    veins = "50,84 50,14/50,64 28,46/50,64 72,46/50,42 32,26/50,42 68,26"
    return strokes_field(glyph(f"{outline}/{veins}", rng, 0.03))


INK: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "letter": letter,
    "plain letter": plain_letter,
    "sign": sign,
    "shape": shape,
    "words": words,
    "scribble": scribble,
    "tangle": tangle,
    "blobs": blobs,
    "dots": dots,
    "smiley": smiley,
    "spiral": spiral,
    "leaf": leaf,
}
"""Things drawn in ink, as fields (CANVAS_PX square, float32, glyph heights)."""


def noise_image(size: tuple[int, int], rng: np.random.Generator, slope: float = 1.0) -> np.ndarray:
    """Clouds whose spectrum falls like natural pictures' do; `size` (width, height), float32 about -1..1."""
    out = np.zeros((size[1], size[0]), np.float32)
    cells, weight = 2, 1.0
    while cells < 100:
        coarse = rng.standard_normal((cells, cells + 1)).astype(np.float32)
        out += weight * cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight / 2**slope
    return out / 2


def clouds(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Foliage, cloth or carpet, by the noise's slope."""
    grey = 128 + rng.uniform(20, 70) * noise_image(size, rng, rng.uniform(0.2, 1.5))
    return np.clip(grey, 0, 255).astype(np.float32)


def boxes(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Furniture: overlapping rectangles, discs and bars of different greys, some shaded."""
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
    """Rows of keys, tiles, bricks or windows."""
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
    """A face or a hand-sized thing: a shaded oval with darker parts before a room."""
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
    """Long curved bands and stripes that cross the picture."""
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
    """A table's grain."""
    w, h = size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / h
    bent = y * rng.uniform(6, 25) + 1.5 * noise_image(size, rng, 1.6) + x * rng.normal(0, 2)
    return np.asarray((rng.uniform(70, 170) + rng.uniform(8, 40) * np.sin(bent * 2)).astype(np.float32))


def checks(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A checked cloth or a calibration board."""
    w, h = size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / h
    a, pitch = rng.normal(0, 0.3), rng.uniform(4, 14)
    u, v = (x * np.cos(a) - y * np.sin(a)) * pitch, (x * np.sin(a) + y * np.cos(a)) * pitch
    low, high = np.sort(rng.uniform(20, 240, 2))
    return np.asarray(np.where((np.floor(u) + np.floor(v)) % 2 == 0, low, high).astype(np.float32))


def coins(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Coins, cups or bottle caps seen from above: shaded discs with a rim."""
    w, h = size
    grey = (rng.uniform(60, 220) + rng.uniform(2, 15) * noise_image(size, rng, 1.5)).astype(np.float32)
    for _ in range(int(rng.integers(1, 5))):
        centre = (round(w / 2 + rng.normal(0, 0.3) * h), round(h / 2 + rng.normal(0, 0.3) * h))
        radius, tone = h * rng.uniform(0.12, 0.45), rng.uniform(30, 235)
        for share, light in ((1.0, 0.7), (0.93, 1.1), (0.8, 0.95), (0.4, 1.05)):
            cv2.circle(grey, centre, max(int(radius * share), 1), float(tone * light), -1, cv2.LINE_AA)
    return np.clip(grey, 0, 255)


PICTURES: dict[str, Callable[[tuple[int, int], np.random.Generator], np.ndarray]] = {
    "clouds": clouds,
    "boxes": boxes,
    "keyboard": keyboard,
    "face": face,
    "cables": cables,
    "wood": wood,
    "checks": checks,
    "coins": coins,
}
"""Things that fill the view instead of paper, as grey float32 pictures of (width, height)."""


def hand(grey: np.ndarray, roi_px: int, rng: np.random.Generator) -> np.ndarray:
    """Lays an open hand over a grey float32 picture, in place; `roi_px` is the side of the centre square."""
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
    """Puts skin where the mask is 255, in place, darker towards its sides; `thick` is a finger's width in px."""
    soft = cv2.GaussianBlur(mask, (0, 0), max(thick * 0.15, 0.8)).astype(np.float32) / 255
    shade = tone * (0.55 + 0.45 * soft) * (1 + 0.06 * noise_image((grey.shape[1], grey.shape[0]), rng, 1.0))
    if nails is not None:
        shade += nails.astype(np.float32) * np.float32(rng.uniform(0.03, 0.15))
    edge = cv2.GaussianBlur(mask, (0, 0), 0.7).astype(np.float32) / 255
    grey *= 1 - edge
    grey += edge * shade
    return grey


def fingers(grey: np.ndarray, roi_px: int, rng: np.random.Generator) -> np.ndarray:
    """Lays one to four fingers over a grey float32 picture, in place; `roi_px` is the side of the centre square."""
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
