"""Lines of text in any script drawn into pictures: a font for each glyph, shaped, ordered, and kept once drawn."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from picam_infer.core import Pixels
from picam_infer.outputs import bidi

Colour = tuple[int, int, int]
Weights = npt.NDArray[np.uint16]

_BASELINE, _HEIGHT = 1.05, 1.4
"""Where letters stand and how high a line is, in sizes."""
_WEIGHT = 500
"""Of OpenCV's letters: between regular and bold."""
_EMOJI_PX = (109, 136, 128, 160)
"""The sizes that emoji fonts of pixels come in; others are scaled."""
_MARKS = "\u200e\u200f\u061c"
"""Characters that say which way to write, and are not written themselves."""
_VS_TEXT, _VS_EMOJI, _ZWJ = "\ufe0e", "\ufe0f", "\u200d"


class Piece(msgspec.Struct, frozen=True, eq=False):
    """Something drawn: its coverage (H, W) uint8, and with it its own colours BGR (H, W, 3) if it has any."""

    alpha: Pixels
    left: int
    """From the pen to the picture's left edge, pixels."""
    top: int
    """From the baseline to its upper edge, pixels; less than 0 is above."""
    advance: float
    colours: Pixels | None = None


class Font(msgspec.Struct, frozen=True):
    """A font file of the system and what it has."""

    path: str
    index: int
    coloured: bool
    ranges: tuple[tuple[int, int], ...]

    def has(self, text: str) -> bool:
        """Whether it has a glyph for every character that needs one."""
        return all(any(low <= ord(c) <= high for low, high in self.ranges) for c in text if not _bare(c))


def write(image: Pixels, text: str, at: tuple[int, int], size: int, colour: Colour) -> None:
    """Write one line whose letters are `size` pixels high, its top left corner at x, y; cut at the picture's edge."""
    if not text:
        return
    paper, ink = _stamp(text, size, colour)
    x, y = at
    part = image[y : y + ink.shape[0], x : x + ink.shape[1]]
    if part.size:
        rows, columns = part.shape[:2]
        part[:] = (part * paper[:rows, :columns] + ink[:rows, :columns]) // 255


def coverage(text: str, size: int) -> Pixels:
    """Return how much of each pixel `write` covers, (H, W) uint8; not to be changed."""
    return _line(text, size).alpha


def measure(text: str, size: int) -> tuple[int, int]:
    """Return width, height in pixels that `write` needs."""
    line = _line(text, size)
    return line.alpha.shape[1], line.alpha.shape[0]


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
    """Return text, cut between two characters with an ellipsis when it is wider than `room_px`."""
    if measure(text, size)[0] <= room_px:
        return text
    parts = list(clusters(text))
    for length in range(len(parts) - 1, 0, -1):
        cut = "".join(parts[:length]) + "…"
        if measure(cut, size)[0] <= room_px:
            return cut
    return "…"


def clusters(text: str) -> Iterator[str]:
    """Yield what a reader takes for one character: a letter with its marks, an emoji of several parts, a flag."""
    now = ""
    for character in text:
        if now and _goes_on(now, character):
            now += character
            continue
        if now:
            yield now
        now = character
    if now:
        yield now


def _goes_on(now: str, character: str) -> bool:
    code = ord(character)
    if unicodedata.category(character) in ("Mn", "Mc", "Me") or character in (_ZWJ, "\u200c", _VS_TEXT, _VS_EMOJI):
        return True
    if now[-1] == _ZWJ and _emoji(now[0]):
        return True
    flag = 0x1F1E6 <= code <= 0x1F1FF
    return 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F or (flag and len(now) == 1 and _flag(now))


def _flag(character: str) -> bool:
    return 0x1F1E6 <= ord(character) <= 0x1F1FF


def _emoji(character: str) -> bool:
    return ord(character) >= 0x1F000 or unicodedata.category(character) == "So"


def _bare(character: str) -> bool:
    """Whether a font may do without a glyph of its own for it: joiners, variation selectors, tags."""
    return character in (_ZWJ, "\u200c", _VS_TEXT, _VS_EMOJI) or 0xE0020 <= ord(character) <= 0xE007F


# -- lines ----------------------------------------------------------------


@lru_cache(maxsize=128)
def _line(text: str, size: int) -> Piece:
    """Return a line, drawn; the same one is shown many times, so it is kept."""
    pieces = [_piece(*part, size) for run in bidi.runs(_clean(text)) for part in _parts(run)]
    baseline, height = round(_BASELINE * size), round(_HEIGHT * size)
    width = max(2, round(sum(piece.advance for piece in pieces)) + 3)
    alpha = np.zeros((height, width), np.uint8)
    colours = np.zeros((height, width, 4), np.uint8) if any(p.colours is not None for p in pieces) else None
    pen = 1.0
    for piece in pieces:
        _put(piece, round(pen) + piece.left, baseline + piece.top, alpha, colours)
        pen += piece.advance
    return Piece(alpha, 0, -baseline, width, colours)


@lru_cache(maxsize=16)
def _stamp(text: str, size: int, colour: Colour) -> tuple[Weights, Weights]:
    """Return what a line leaves of the picture, (H, W, 1), and what it adds, (H, W, 3), both times 255."""
    line = _line(text, size)
    alpha = line.alpha[:, :, None].astype(np.uint16)
    ink = np.array(colour, np.uint8)
    if line.colours is not None:
        ink = np.where(line.colours[:, :, 3:] > 0, line.colours[:, :, :3], ink)
    return 255 - alpha, ink * alpha


def _put(piece: Piece, x: int, y: int, alpha: Pixels, colours: Pixels | None) -> None:
    """Lay a piece into a line; what does not fit is cut off."""
    from_x, from_y = max(0, -x), max(0, -y)
    part = alpha[max(0, y) : y + piece.alpha.shape[0], max(0, x) : x + piece.alpha.shape[1]]
    if not part.size:
        return
    cut = np.s_[from_y : from_y + part.shape[0], from_x : from_x + part.shape[1]]
    np.maximum(part, piece.alpha[cut], out=part)
    if colours is not None and piece.colours is not None:
        target = colours[max(0, y) : y + piece.alpha.shape[0], max(0, x) : x + piece.alpha.shape[1]]
        target[:, :, :3], target[:, :, 3] = piece.colours[cut], 255


def _clean(text: str) -> str:
    """Return text without control characters, and with plain spaces for line ends and the like."""
    return "".join(
        " " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cs")
    )


def _parts(run: bidi.Run) -> list[tuple[str, bool, Font | None]]:
    """Return a run's stretches of one font from left to right; no font: OpenCV's own."""
    found: list[tuple[str, bool, Font | None]] = []
    for cluster in clusters("".join(c for c in run.text if c not in _MARKS)):
        text, font = _chosen(cluster, found[-1][2] if found else None)
        words = font is None and text != cluster  # in its place: those are read from the left
        way = run.right_to_left and not words
        if found and found[-1][1:] == (way, font) and not words:
            found[-1] = (found[-1][0] + text, way, font)
        else:
            found.append((text, way, font))
    return found[::-1] if run.right_to_left else found


def _chosen(cluster: str, before: Font | None) -> tuple[str, Font | None]:
    """Return what to draw for a cluster, and the font: never one that has only a box for it."""
    spacing = unicodedata.category(cluster[0])[0] in "ZP"
    if spacing and before is not None and not before.coloured and before.has(cluster):
        return cluster, before
    plain = not (_VS_EMOJI in cluster or any(map(_needs_shaping, cluster)))
    if plain or not cluster.strip():
        return cluster, None
    if before is not None and before.has(cluster) and before.coloured == _coloured(cluster):
        return cluster, before
    font = _system_font(cluster, _coloured(cluster))
    if font is not None:
        return cluster, font
    base = cluster.replace(_VS_EMOJI, "").replace(_VS_TEXT, "")
    if base != cluster and base and not any(map(_needs_shaping, base)):
        return base, None
    return _substitute(base or cluster), None


def _coloured(cluster: str) -> bool:
    return (_VS_TEXT not in cluster and _emoji(cluster[0])) or _VS_EMOJI in cluster


def _substitute(cluster: str) -> str:
    """Return plain words for what no font here has."""
    if _emoji(cluster[0]):
        if all(map(_flag, cluster)):
            return "[" + "".join(chr(ord(c) - 0x1F1E6 + ord("A")) for c in cluster) + "]"
        name = unicodedata.name(cluster[0], "")
        return f"[{name.lower()}]" if name else f"U+{ord(cluster[0]):04X}"
    plain = unicodedata.normalize("NFKD", cluster).encode("ascii", "ignore").decode()
    return plain or f"U+{ord(cluster[0]):04X}"


# -- pieces ---------------------------------------------------------------


@lru_cache(maxsize=512)
def _piece(text: str, right_to_left: bool, font: Font | None, size: int) -> Piece:
    if font is not None:
        try:
            return _drawn_by_pillow(text, right_to_left, font, size)
        except (ImportError, OSError, ValueError):
            text = "".join(map(_substitute, clusters(text)))
    return _drawn_by_opencv(bidi.mirrored(text) if right_to_left else text, size)


def _drawn_by_opencv(text: str, size: int) -> Piece:
    points = max(6, size)
    if not hasattr(cv2, "FontFace"):  # before 5.0 there are only stroke fonts, without accents
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or " "
        scale, thick = size / 26, max(1, size // 12)
        (width, height), below = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        image = np.zeros((height + below + 2, width + 2), np.uint8)
        cv2.putText(image, plain, (1, height + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick, cv2.LINE_AA)
        return Piece(image, -1, -height - 1, width)
    face = _face()
    (x, _, width, _) = cv2.getTextSize((8192, 512), text, (0, 256), face, points, _WEIGHT)
    canvas = np.zeros((points * 2, max(1, width + x + 2)), np.uint8)
    cv2.putText(canvas, text, (1, round(points * _BASELINE)), 255, face, points, _WEIGHT)
    drawn = np.ascontiguousarray(canvas[: round(points * _HEIGHT)])
    return Piece(drawn, -1, -round(points * _BASELINE), max(1, width + x - 1))


@lru_cache(maxsize=1)
def _face() -> Any:
    return cv2.FontFace("sans")


def _drawn_by_pillow(text: str, right_to_left: bool, font: Font, size: int) -> Piece:
    """Draw with a font of the system, shaped where Pillow has raqm. Raises `OSError`, `ValueError`, `ImportError`."""
    from PIL import Image, ImageDraw

    if font.coloured:
        return _drawn_in_colours(text, right_to_left, font, size)
    px, ordered, way = max(6, round(size * 0.9)), _ordered(text, right_to_left), _way(right_to_left)
    for _ in range(2):
        face = _pillow_face(font, px)
        left, top, right, bottom = face.getbbox(ordered, anchor="ls", **way)
        # Some scripts reach far above and below the line.
        px = max(6, int(px * min(1, _BASELINE * size / max(1, -top), (_HEIGHT - _BASELINE) * size / max(1, bottom))))
    picture = Image.new("L", (max(1, int(right - left)), max(1, int(bottom - top))))
    ImageDraw.Draw(picture).text((-left, -top), ordered, fill=255, font=face, anchor="ls", **way)
    return Piece(np.array(picture), int(left), int(top), face.getlength(ordered, **way))


def _drawn_in_colours(text: str, right_to_left: bool, font: Font, size: int) -> Piece:
    from PIL import Image, ImageDraw

    face, px = _emoji_face(font)
    way, ordered = _way(right_to_left), _ordered(text, right_to_left)
    left, top, right, bottom = face.getbbox(ordered, anchor="ls", **way)
    picture = Image.new("RGBA", (max(1, int(right - left)), max(1, int(bottom - top))))
    ImageDraw.Draw(picture).text((-left, -top), ordered, font=face, anchor="ls", embedded_color=True, **way)
    scale = size / px
    wide, high = (max(1, round(length * scale)) for length in picture.size)
    # Scaled with its colours weighed by coverage: otherwise there would be a dark fringe around it.
    drawn = cv2.resize(np.array(picture.convert("RGBa")), (wide, high), interpolation=cv2.INTER_AREA)
    alpha = np.ascontiguousarray(drawn[:, :, 3])
    if not alpha.any():
        raise ValueError(f"{font.path} has its colours in a form that cannot be drawn here")
    weight = np.maximum(alpha, 1)[:, :, None].astype(np.float32)
    colours = np.minimum(drawn[:, :, 2::-1] * 255.0 / weight, 255).astype(np.uint8)
    rise = round((_BASELINE * size - 0.1 * size - high) / 2) - round(_BASELINE * size) + round(0.15 * size)
    return Piece(alpha, round(left * scale), rise, face.getlength(ordered, **way) * scale, colours)


def _emoji_face(font: Font) -> tuple[Any, int]:
    for px in _EMOJI_PX:
        try:
            return _pillow_face(font, px), px
        except OSError:
            continue
    raise OSError(f"{font.path} has no size that can be used")


@lru_cache(maxsize=32)
def _pillow_face(font: Font, px: int) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(font.path, px, index=font.index)


@lru_cache(maxsize=1)
def _shapes() -> bool:
    from PIL import features

    return bool(features.check("raqm"))


def _way(right_to_left: bool) -> dict[str, str]:
    return {"direction": "rtl" if right_to_left else "ltr"} if _shapes() else {}


def _ordered(text: str, right_to_left: bool) -> str:
    return bidi.mirrored(text) if right_to_left and not _shapes() else text


# -- fonts ----------------------------------------------------------------


@lru_cache(maxsize=4096)
def _needs_shaping(character: str) -> bool:
    """Whether OpenCV's own fonts lack the character or cannot join it to its neighbours (Arabic, Indic, Thai…)."""
    code = ord(character)
    if 0x0590 <= code < 0x1100 or 0x1200 <= code < 0x1E00 or 0xA800 <= code < 0xAC00 or code >= 0x1F000:
        return True
    return code >= 0x0250 and _missing(character)


@lru_cache(maxsize=4096)
def _missing(character: str) -> bool:
    """Whether OpenCV draws a box for it: its arm64 wheel comes without the font for the world's letters."""
    drawn, box = (_drawn_by_opencv(one, 20).alpha for one in (character, "\ue123"))
    return drawn.shape == box.shape and bool(np.array_equal(drawn, box))


_fonts: dict[str, Font] = {}
"""Those that were used, by path and index: most labels are written in one script."""


@lru_cache(maxsize=4096)
def _system_font(cluster: str, coloured: bool) -> Font | None:
    """Return the system's best font that has the whole cluster; None: there is none."""
    for font in tuple(_fonts.values()):  # another thread may be adding one
        if font.coloured == coloured and font.has(cluster):
            return font
    found = _listed(cluster)
    best = min(found, key=lambda row: _rank(row, coloured), default=None)
    if best is None:
        return None
    font = _font(best)
    return _fonts.setdefault(f"{font.path} {font.index}", font)


def _listed(cluster: str) -> list[list[str]]:
    """Return path, index, style, whether it has colours and its characters, of every font that has the cluster."""
    import subprocess

    wanted = " ".join(f"{ord(c):x}" for c in cluster if not _bare(c)) or f"{ord(cluster[0]):x}"
    form = "%{file}\t%{index}\t%{style}\t%{color}\t%{charset}\n"
    try:
        run = subprocess.run(
            ["fc-list", "-f", form, f":charset={wanted}"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split("\t") for line in run.stdout.splitlines()]
    return [row for row in rows if len(row) == 5 and row[0].lower().endswith((".ttf", ".otf", ".ttc", ".otc"))]


def _rank(row: Sequence[str], coloured: bool) -> tuple[object, ...]:
    """Return what orders fonts: upright ones without serifs first, the same one every time."""
    path, index, style, colour, _ = row
    name = path.rpartition("/")[2]
    upright = style.split(",")[0] in ("Bold", "SemiBold", "Medium") or colour == "True"  # as OpenCV's letters are
    plain = "Sans" in name and not any(word in name for word in ("Serif", "Mono", "Condensed", "Looped", "UI"))
    return (colour == "True") != coloured, not upright, not plain, "Noto" not in name, len(name), name, index


def _font(row: Sequence[str]) -> Font:
    path, index, _, colour, characters = row
    ends = (part.partition("-") for part in characters.split())
    ranges = tuple((int(low, 16), int(high or low, 16)) for low, _, high in ends)
    return Font(path, int(index) & 0xFFFF, colour == "True", ranges)
