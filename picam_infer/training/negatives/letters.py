"""Letters, signs and small line drawings, none of them a digit, as fields (CANVAS_PX square, float32)."""

from __future__ import annotations

import cv2
import numpy as np

from picam_infer.training.glyphs import CANVAS_PX, glyph, strokes_field, text_field

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
# Letters that nobody reads as a digit, and those that come close. O, o, I, l and | look like digits: in neither.
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
"""Letters that are easily taken for a digit: drawn more often."""
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
    """Return the field of one letter or sign (Latin, Greek, arithmetic), drawn by hand or printed."""
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
    """Return a printed letter that nobody reads as a digit."""
    return _printed(str(rng.choice(list(_PLAIN_LETTERS))), rng)


def sign(rng: np.random.Generator) -> np.ndarray:
    """Return a punctuation mark or a sign of arithmetic."""
    return _printed(str(rng.choice(list(_SIGNS))), rng)


def shape(rng: np.random.Generator) -> np.ndarray:
    """Return a small drawing: a house, an arrow, a star."""
    strokes = glyph(_SHAPES[str(rng.choice(list(_SHAPES)))], rng, 0.03)
    turn = rng.normal(0, 0.25)
    warp = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * rng.uniform(0.7, 1, (1, 2))
    return strokes_field([(s @ warp).astype(np.float32) for s in strokes])


def words(rng: np.random.Generator) -> np.ndarray:
    """Return several characters in one or two rows: a word, a number, a page."""
    alphabet = list(_PLAIN_LETTERS + _CLOSE_LETTERS + "0123456789")
    text = "".join(rng.choice(alphabet, rng.integers(2, 7)))
    field = _printed(text, rng)
    if rng.random() < 0.4:
        step = int(CANVAS_PX * rng.uniform(0.2, 0.4))
        other = _printed("".join(rng.choice(alphabet, rng.integers(2, 8))), rng)
        field = np.minimum(np.roll(field, -step // 2, 0), np.roll(other, step - step // 2, 0))
    return field
