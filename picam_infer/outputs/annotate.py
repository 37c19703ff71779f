"""What is drawn over the picture, and the placards in its place: pure functions on images."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from picam_infer.core import Pixels, Result

Colour = tuple[int, int, int]

INK: Colour = (250, 250, 250)
DIM: Colour = (190, 190, 190)
KNOWN: Colour = (96, 220, 90)
UNKNOWN: Colour = (60, 180, 250)
LOST: Colour = (70, 90, 250)
_PANEL: Colour = (24, 20, 18)


@dataclass(frozen=True, slots=True)
class Look:
    """What to draw besides the label."""

    box: tuple[int, int, int, int] | None = None
    """x, y, width, height in pixels: what the network sees of the picture."""
    stats: str = ""
    """The line at the bottom left; empty: none."""
    notice: str = ""
    """Why something is not as usual, or what a key just did."""
    inset: bool = True


def draw(image: Pixels, result: Result | None, look: Look) -> Pixels:
    """Draw on BGR (H, W, 3) in place and return it; result None: nothing is known yet."""
    unit = _unit(image)
    colour = KNOWN if result is not None and result.label is not None else UNKNOWN
    if look.box is not None:
        _frame(image, look.box, colour, unit)
    if result is not None:
        _headline(image, result, colour, unit)
        if look.inset and result.patch is not None:
            _inset(image, result.patch, colour, unit)
    if look.stats:
        height = _text_height(unit)
        panel(image, look.stats, (unit, image.shape[0] - unit - height - unit // 2 * 2), height, INK)
    if look.notice:
        height = _text_height(unit)
        room = image.shape[1] - 4 * unit
        lines = wrap(look.notice, room, height)[:3]
        for i, line in enumerate(lines):
            top = unit * 2 + _headline_height(unit) + unit + i * (height + unit)
            panel(image, line, (unit, top), height, UNKNOWN)
    return image


def placard(
    width: int, height: int, title: str, reason: str = "", hint: str = "", foot: str = "", *, colour: Colour = LOST
) -> Pixels:
    """Return BGR (height, width, 3) that says what is missing, why, and what to do; `colour` is the reason's."""
    image = np.full((height, width, 3), _PANEL, np.uint8)
    unit = _unit(image)
    margin = 4 * unit
    room = width - 2 * margin
    y = height // 5
    image[y - unit : y - unit // 2, margin : margin + room // 8] = colour
    blocks = ((title, _headline_height(unit), INK), (reason, 2 * unit + 8, colour), (hint, 2 * unit + 8, INK),
              (foot, _text_height(unit), DIM))  # fmt: skip
    for text, size, colour in blocks:
        for line in wrap(text, room, size):
            if y + 2 * size > height:
                return image
            write(image, line, (margin, y), size, colour)
            y += size + size // 2
        y += unit * 2 if text else 0
    return image


def _unit(image: Pixels) -> int:
    """Return the pixel measure that everything scales with: 7 at 480 lines, 10 at 720, 15 at 1080."""
    return max(3, round(float(min(image.shape[0], image.shape[1] * 3 / 4)) / 72))


def _text_height(unit: int) -> int:
    return max(13, unit + unit // 2 + 3)


def _headline_height(unit: int) -> int:
    return max(20, 5 * unit)


def _frame(image: Pixels, box: tuple[int, int, int, int], colour: Colour, unit: int) -> None:
    x, y, width, height = box
    thick = max(1, unit // 4)
    corners = ((x, y), (x + width - 1, y + height - 1))
    # Dark outside and inside of the coloured line: it stands out on any background.
    cv2.rectangle(image, *corners, (0, 0, 0), thick + 2)
    cv2.rectangle(image, *corners, colour, thick)


def _headline(image: Pixels, result: Result, colour: Colour, unit: int) -> None:
    size = _headline_height(unit)
    name = result.label if result.label is not None else "?"
    percent = f"{math.floor(result.score * 100)} %" if result.label is not None else ""
    while size > 2 * unit and measure(f"{name}  {percent}", size)[0] > image.shape[1] - 6 * unit:
        size -= unit
    room = image.shape[1] - 6 * unit - (measure(f"  {percent}", size)[0] if percent else 0)
    name = shorten(name, room, size)
    panel(image, f"{name}  {percent}".strip(), (unit, unit), size, colour)


def _inset(image: Pixels, patch: Pixels, colour: Colour, unit: int) -> None:
    side = min(image.shape[:2]) * 22 // 100
    height, width = patch.shape[:2]
    scale = side / max(height, width)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    seen = cv2.resize(patch, target, interpolation=cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA)
    seen = cv2.cvtColor(seen, cv2.COLOR_GRAY2BGR if patch.shape[2] == 1 else cv2.COLOR_RGB2BGR)
    y, x = image.shape[0] - target[1] - 2 * unit, image.shape[1] - target[0] - 2 * unit
    image[y : y + target[1], x : x + target[0]] = seen
    _frame(image, (x - 1, y - 1, target[0] + 2, target[1] + 2), colour, unit)


def panel(image: Pixels, text: str, at: tuple[int, int], size: int, colour: Colour) -> None:
    """Write one line (`size` pixels high) on a dark plate whose top left corner is at x, y."""
    pad = max(2, size // 3)
    width, _ = measure(text, size)
    x, y = at
    plate = image[max(0, y) : y + size + pad, max(0, x) : x + width + 2 * pad]
    if plate.size:
        # A quarter of the picture shines through.
        cv2.addWeighted(plate, 0.25, np.full_like(plate, _PANEL), 0.75, 0, dst=plate)
    write(image, text, (x + pad, y + pad // 2), size, colour)


def write(image: Pixels, text: str, at: tuple[int, int], size: int, colour: Colour) -> None:
    """Write one line whose letters are `size` pixels high, its top left corner at x, y; cut at the picture's edge."""
    if not text:
        return
    stencil = _stencil(text, size)
    x, y = at
    part = image[y : y + stencil.shape[0], x : x + stencil.shape[1]]
    if part.size:
        alpha = stencil[: part.shape[0], : part.shape[1], None].astype(np.uint16)
        part[:] = (part * (255 - alpha) + np.array(colour, np.uint16) * alpha) // 255


def measure(text: str, size: int) -> tuple[int, int]:
    """Return width, height in pixels that `write` needs."""
    stencil = _stencil(text, size)
    return stencil.shape[1], stencil.shape[0]


def wrap(text: str, room_px: int, size: int) -> Sequence[str]:
    """Break text into lines no wider than `room_px`, between words where it can."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure(longer, size)[0] <= room_px:
            lines[-1] = longer
        else:
            lines.append(shorten(word, room_px, size))
    return lines


def shorten(text: str, room_px: int, size: int) -> str:
    """Return text, cut with an ellipsis when it is wider than `room_px`."""
    if measure(text, size)[0] <= room_px:
        return text
    for length in range(len(text) - 1, 0, -1):
        if measure(text[:length] + "…", size)[0] <= room_px:
            return text[:length] + "…"
    return "…"


@lru_cache(maxsize=64)
def _stencil(text: str, size: int) -> Pixels:
    """Return the text's coverage, (H, W) uint8 0…255; the same line is drawn many times, so it is kept."""
    drawn = _drawn_by_system_font(text, size) if any(map(_needs_shaping, text)) else None
    return _drawn_by_opencv(text, size) if drawn is None else drawn


def _drawn_by_opencv(text: str, size: int) -> Pixels:
    points = max(6, size)
    if not hasattr(cv2, "FontFace"):  # before 5.0 there are only stroke fonts, without accents
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or "?"
        scale, thick = size / 26, max(1, size // 12)
        (width, height), base = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        image = np.zeros((height + base + 2, width + 2), np.uint8)
        cv2.putText(image, plain, (1, height + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick, cv2.LINE_AA)
        return image
    face = _face()
    (x, _, width, _) = cv2.getTextSize((8192, 512), text, (0, 256), face, points, 500)
    canvas = np.zeros((points * 2, max(1, width + x + 2)), np.uint8)
    cv2.putText(canvas, text, (1, round(points * 1.05)), 255, face, points, 500)
    return np.ascontiguousarray(canvas[: round(points * 1.4)])


@lru_cache(maxsize=1)
def _face() -> Any:
    return cv2.FontFace("sans")


def _needs_shaping(character: str) -> bool:
    """Whether OpenCV's own fonts lack the character or cannot join it to its neighbours (Arabic, Indic, Thai…)."""
    code = ord(character)
    if 0x0590 <= code < 0x1100 or 0x1200 <= code < 0x1E00 or 0xA800 <= code < 0xAC00 or code >= 0x1F000:
        return True
    return code >= 0x0250 and _missing(character)


@lru_cache(maxsize=4096)
def _missing(character: str) -> bool:
    """Whether OpenCV draws a box for it: its arm64 wheel comes without the font for the world's letters."""
    drawn, box = (_drawn_by_opencv(one, 20) for one in (character, "\ue123"))
    return drawn.shape == box.shape and bool(np.array_equal(drawn, box))


def _drawn_by_system_font(text: str, size: int) -> Pixels | None:
    """Draw with a font of the system through Pillow, which shapes such scripts; None: not possible here."""
    try:
        from PIL import ImageFont

        path = _system_font("".join(sorted(set(filter(_needs_shaping, text)))))
        if path is None:
            return None
        font = ImageFont.truetype(path, max(6, round(size * 0.9)))
        mask, (_, top) = font.getmask2(text, "L")
        drawn = np.frombuffer(bytes(mask), np.uint8).reshape(mask.size[1], mask.size[0])
        image = np.zeros((max(round(size * 1.4), drawn.shape[0] + top), drawn.shape[1] + 2), np.uint8)
        image[top : top + drawn.shape[0], 1 : 1 + drawn.shape[1]] = drawn
        return image
    except (ImportError, OSError, ValueError):
        return None


@lru_cache(maxsize=64)
def _system_font(characters: str) -> str | None:
    import subprocess

    wanted = " ".join(f"{ord(c):x}" for c in characters)
    try:
        found = subprocess.run(["fc-list", "-f", "%{file}\n", f":charset={wanted}"], capture_output=True, text=True,
                               timeout=5, check=False).stdout.splitlines()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    regular = [path for path in found if "Regular" in path and path.endswith((".ttf", ".otf", ".ttc"))]
    return next(iter(sorted(regular) or sorted(found)), None)
