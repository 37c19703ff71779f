"""What is drawn over the picture, and the status screens instead of it: pure functions on images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import msgspec
import numpy as np

from picam_infer.core import Pixels, Result, isolated
from picam_infer.outputs import strips
from picam_infer.outputs.strips import Layer
from picam_infer.outputs.text import Colour as Colour
from picam_infer.outputs.text import measure, shorten, wrap, write

INK: Colour = (250, 250, 250)
DIM: Colour = (190, 190, 190)
KNOWN: Colour = (96, 220, 90)
UNKNOWN: Colour = (60, 180, 250)
LOST: Colour = (70, 90, 250)


class Annotation(msgspec.Struct, frozen=True):
    """What to draw besides the label."""

    box: tuple[int, int, int, int] | None = None
    """x, y, width, height in pixels: what the network sees of the picture."""
    foot: str = ""
    """What stands at the bottom left, figures or keys: in several lines where one is too wide; empty: nothing."""
    notice: str = ""
    """Something unusual, or what a key just did; of several lines as many as fit are drawn."""
    inset: bool = True


def draw(image: Pixels, result: Result | None, annotation: Annotation) -> Pixels:
    """Draw on BGR (H, W, 3) in place and return it; result None: nothing is known yet."""
    layer(image.shape[0], image.shape[1], result, annotation).draw(image)
    return image


def layer(height: int, width: int, result: Result | None, annotation: Annotation) -> Layer:
    """Return the overlay for pictures of width×height pixels, ready to be laid over any number of them."""
    made = Layer(height, width)
    unit = unit_of(height, width)
    said = result.said() if result is not None else []
    colour = KNOWN if said else UNKNOWN
    if annotation.box is not None:
        x, y, wide, high = annotation.box
        made.add(strips.box(wide, high, max(1, unit // 4), colour), x, y)
    below = unit + _panel_height(_headline_height(unit))
    if result is not None:
        below = _headlines(made, said or [("?", "")], colour, unit)
        if annotation.inset and result.input_image is not None:
            _inset(made, result.input_image, colour, unit)
    if annotation.foot:
        _foot(made, annotation.foot, unit)
    if annotation.notice:
        size = _text_height(unit)
        told = annotation.notice.split("\n")  # if there are several lines, each is short
        wrapped = [line for text in told for line in wrap(text, width - 4 * unit, size)]
        lines = wrapped[: 3 if len(told) == 1 else (height - below) // _panel_height(size) - 2]
        for i, line in enumerate(lines):
            panel(made, line, (unit, below + unit // 2 + i * _panel_height(size)), size, UNKNOWN)
    return made


def status_screen(
    width: int, height: int, title: str, reason: str = "", hint: str = "", foot: str = "", *, colour: Colour = LOST
) -> Pixels:
    """Return BGR (height, width, 3) that says what is missing, why, and what to do; `colour` is the reason's."""
    image = np.full((height, width, 3), strips.PLATE, np.uint8)
    unit = unit_of(height, width)
    margin = 4 * unit
    room = width - 2 * margin
    y = height // 5
    image[y - unit : y - unit // 2, margin : margin + room // 8] = colour
    blocks = (
        (title, _headline_height(unit), INK),
        (reason, 2 * unit + 8, colour),
        (hint, 2 * unit + 8, INK),
        (foot, _text_height(unit), DIM),
    )
    for text, size, colour in blocks:
        for line in wrap(text, room, size):
            if y + 2 * size > height:
                return image
            write(image, line, (margin, y), size, colour)
            y += size + size // 2
        y += unit * 2 if text else 0
    return image


def unit_of(height: int, width: int) -> int:
    """Return the pixel measure that everything scales with: 7 at 480 lines, 10 at 720, 15 at 1080."""
    return max(3, round(min(height, width * 3 / 4) / 72))


def _foot(made: Layer, text: str, unit: int) -> None:
    size, (height, width) = _text_height(unit), made.shape
    room = width - 4 * unit
    lines = [text]
    if measure(text, size)[0] > room:  # beside the inset, if there is one
        beside = room - (made.inset_shape[1] + 2 * unit if made.inset_shape else 0)
        lines = list(wrap(text, beside, size))[:3]
    for i, line in enumerate(lines):
        panel(made, line, (unit, height - unit - (len(lines) - i) * _panel_height(size)), size, INK)


def _panel_height(size: int) -> int:
    """Return how high the plate of a line is, descenders included."""
    return round(1.4 * size) + max(2, size // 3) // 2


def _text_height(unit: int) -> int:
    return max(13, unit + unit // 2 + 3)


def _headline_height(unit: int) -> int:
    return max(20, 5 * unit)


def _headlines(made: Layer, said: Sequence[tuple[str, str]], colour: Colour, unit: int) -> int:
    """Write a line for each name and figure, as many as the upper half holds; return where the next one would be."""
    size = _headline_height(unit) if len(said) == 1 else max(14, 3 * unit)
    step, y = _panel_height(size) + (max(1, unit // 3) if len(said) > 1 else 0), unit
    for at, (name, figure) in enumerate(said):
        if at and y + 2 * step > made.shape[0] // 2 and at + 1 < len(said):
            panel(made, f"and {len(said) - at} more", (unit, y), _text_height(unit), colour)
            return y + step
        _headline(made, name, figure, (y, size), colour, unit)
        y += step
    return y


def _headline(made: Layer, name: str, figure: str, at: tuple[int, int], colour: Colour, unit: int) -> None:
    """Write a name and its figure in one line at y, size pixels; the name is shortened where both are too wide."""
    y, size = at
    gap = " " if name.endswith(":") else "  "
    room, line = made.shape[1] - 6 * unit, f"{isolated(name)}{gap}{figure}".strip()
    while size > 2 * unit and measure(line, size)[0] > room:
        size -= unit
    if measure(line, size)[0] > room:
        name = shorten(name, room - (measure(f"{gap}{figure}", size)[0] if figure else 0), size)
        line = f"{isolated(name)}{gap}{figure}".strip()
    panel(made, line, (unit, y), size, colour)


def with_input(made: Layer, input_image: Pixels) -> Layer | None:
    """Return a layer whose inset shows another input, BGR or grey (H, W, C); None: it has none, or of another size."""
    seen = _seen(made, input_image)
    return made.with_inset(seen) if seen.shape[:2] == made.inset_shape else None


def _inset(made: Layer, input_image: Pixels, colour: Colour, unit: int) -> None:
    seen = _seen(made, input_image)
    high, wide = seen.shape[:2]
    x, y = made.shape[1] - wide - 2 * unit, made.shape[0] - high - 2 * unit
    made.add_inset(seen, x, y)
    made.add(strips.box(wide + 2, high + 2, max(1, unit // 4), colour), x - 1, y - 1)


def _seen(made: Layer, input_image: Pixels) -> Pixels:
    side = min(made.shape) * 22 // 100
    height, width = input_image.shape[:2]
    scale = side / max(height, width)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Averaging would take ten times as long, for a picture that is not much smaller.
    way = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_LINEAR if scale > 0.5 else cv2.INTER_AREA
    seen = cv2.resize(input_image, target, interpolation=way)
    return seen if seen.ndim == 3 else np.repeat(seen[:, :, None], 3, axis=2)


def panel(made: Layer, text: str, at: tuple[int, int], size: int, colour: Colour) -> None:
    """Add one line (`size` pixels high) on a dark plate whose top left corner is at x, y."""
    width = measure(text, size)[0] + 2 * max(2, size // 3)
    made.add(strips.line(text, size, colour, width, _panel_height(size)), *at)
