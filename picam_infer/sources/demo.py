"""A drawn scene instead of a camera: a handwritten digit on paper that changes, moves and sometimes disappears."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from picam_infer.config import Capture
from picam_infer.core import Disconnected, Frame, Pixels
from picam_infer.imaging import region
from picam_infer.imaging.region import Box, Region, Roi
from picam_infer.sources.frames import make_frame
from picam_infer.training.glyphs import digit_strokes

ROI = 0.4
"""The square that the digit stays in, unless another one is asked for: the `edges` chain's default."""
SHOWN_S, BARE_S, DIGITS_IN_A_ROW = 2.5, 1.0, 3
QUALITY = 85
_INK = (70, 45, 40)
_BLOCK_PX = 16  # one coded block of a 4:2:0 JPEG
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
Points = npt.NDArray[np.float32]


class Demo:
    """Plays at the capture's size and rate. What a frame shows depends on its `seq`, the seed and the region alone.

    The digit is written in the middle of the region, `ROI` of the picture's height at most, wherever that is now.
    """

    live = True

    def __init__(
        self,
        capture: Capture,
        seed: int = 1,
        roi: Callable[[], Roi] = lambda: ROI,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capture, self._seed, self._clock = capture, seed, clock
        self._closed = threading.Event()
        self._roi, self._drawn_roi = roi, roi()
        self._square, self._scene = self._laid_out(self._drawn_roi)
        self._seq = 0
        self._hand: tuple[int, _Hand] | None = None
        self._due_s = clock()
        self.description = f"demo {capture.width}×{capture.height} drawn {capture.fps} fps"

    def truth(self, seq: int) -> int | None:
        """Return the digit that frame `seq` shows; None: bare paper."""
        slot = self._slot(seq)
        if slot is None:
            return None
        block, place = divmod(slot, 10)
        return int(np.random.default_rng([self._seed, block]).permutation(10)[place])

    def read(self) -> Frame:
        """Return the next frame when it is due, codec jpeg. Raises `Disconnected` once closed."""
        period_s = 1 / self._capture.fps
        late_s = self._clock() - self._due_s
        if late_s > period_s:  # the reader was away: do not catch up in a burst
            self._due_s += late_s
        if self._closed.wait(max(0.0, self._due_s - self._clock())):
            raise Disconnected("the demo was closed")
        self._due_s += period_s
        seq = self._seq
        self._seq += 1
        data = np.frombuffer(self.draw(seq), np.uint8)
        return make_frame(data, "jpeg", (self._capture.width, self._capture.height), seq, self._capture)

    def draw(self, seq: int) -> bytes:
        """Return the picture of frame `seq` as a JPEG, whenever it is due."""
        if (roi := self._roi()) != self._drawn_roi:
            self._drawn_roi = roi
            self._square, self._scene = self._laid_out(roi)
        return self._scene.draw(self._lines(seq))

    def _laid_out(self, roi: Roi) -> tuple[Box, Scene]:
        """Return the square that the digit stays in, and the paper around it."""
        place = region.of(roi)
        paper = Region(place.x, place.y, min(place.size, ROI))
        square = region.raw_box(paper, self._capture, self._capture.width, self._capture.height)
        return square, Scene(self._capture.width, self._capture.height, square)

    def close(self) -> None:
        """Wake a waiting reader."""
        self._closed.set()

    def _slot(self, seq: int) -> int | None:
        """Return the number of the digit shown, counted from the start; None while the paper is bare."""
        shown, bare = round(SHOWN_S * self._capture.fps), round(BARE_S * self._capture.fps)
        turn, at = divmod(seq, DIGITS_IN_A_ROW * shown + bare)
        return None if at >= DIGITS_IN_A_ROW * shown else turn * DIGITS_IN_A_ROW + at // shown

    def _lines(self, seq: int) -> list[Points]:
        """Return the pen's lines at frame `seq` in pixels from the square's middle, float32 (n, 2)."""
        digit, slot = self.truth(seq), self._slot(seq)
        if digit is None or slot is None:
            return []
        if self._hand is None or self._hand[0] != slot:
            self._hand = slot, _Hand(digit, np.random.default_rng([self._seed, 1 << 20, slot]))
        return self._hand[1].lines(seq / self._capture.fps, self._square.height)


class _Hand:
    """One digit in one handwriting, and how it sways."""

    def __init__(self, digit: int, rng: np.random.Generator) -> None:
        strokes = digit_strokes(digit, rng)
        every = np.concatenate(strokes)
        low, high = every.min(axis=0), every.max(axis=0)
        height = rng.uniform(0.58, 0.7) / max(float(high[1] - low[1]), 0.5)
        self._strokes = [(line - (low + high) / 2) * height for line in strokes]
        self._phase = rng.uniform(0, 2 * np.pi, 3)
        self._lean_deg = rng.uniform(-5, 5)

    def lines(self, now_s: float, side_px: float) -> list[Points]:
        """Return the lines within a square of `side_px`, in pixels from its middle."""
        angle = np.radians(self._lean_deg + 4 * np.sin(1.3 * now_s + self._phase[0]))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = 0.05 * np.array([np.sin(0.9 * now_s + self._phase[1]), np.sin(1.1 * now_s + self._phase[2])])
        return [((line @ turn.T + shift) * side_px).astype(np.float32) for line in self._strokes]


class Scene:
    """The paper, coded once; each frame codes only what changes, spliced into it between JPEG restart markers."""

    def __init__(self, width: int, height: int, square: Box | None = None) -> None:
        """`square` is where lines may be drawn; None: in the middle."""
        self._square = square or region.box(ROI, width, height)
        across = -(-width // _BLOCK_PX)
        # A restart interval must divide a row of blocks, so that every row has the same seams.
        self._interval = next(n for n in (4, 3, 5, 2, 1) if across % n == 0)
        self._per_row = across // self._interval
        self._pen_px = max(2, round(0.055 * self._square.height))
        paper = _paper(width, height)
        self._window = self._middle(width, height)
        x, y, w, h = self._window
        self._piece = paper[y : y + h, x : x + w].copy()
        self._head, parts = self._code(paper)
        self._still = [part + _marker(i) for i, part in enumerate(parts[:-1])] + [parts[-1] + b"\xff\xd9"]
        # A picture too small for seams around its middle is coded whole.
        self._whole = x + w > width or y + h > (-(-height // _BLOCK_PX) - 1) * _BLOCK_PX
        if self._whole:
            self._window, self._piece = (0, 0, width, height), paper

    def draw(self, lines: list[Points]) -> bytes:
        """Return the frame as a JPEG; `lines` in pixels from the square's middle."""
        x, y, w, h = self._window
        piece = self._piece.copy()
        centre = np.array(self._centre(), np.float32) - (x, y)
        points = [np.round((line + centre) * 16).astype(np.int32) for line in lines]
        cv2.polylines(piece, points, False, _INK, self._pen_px, cv2.LINE_AA, 4)
        head, parts = self._code(cv2.GaussianBlur(piece, (3, 3), 0))
        if self._whole:
            return head + b"".join(part + _marker(i) for i, part in enumerate(parts[:-1])) + parts[-1] + b"\xff\xd9"
        row, column, wide = y // _BLOCK_PX, x // _BLOCK_PX // self._interval, w // _BLOCK_PX // self._interval
        out, done = [self._head], 0
        for line in range(h // _BLOCK_PX):
            at = (row + line) * self._per_row + column
            out += self._still[done:at]
            out += [parts[line * wide + i] + _marker(at + i) for i in range(wide)]
            done = at + wide
        return b"".join(out + self._still[done:])

    def _centre(self) -> tuple[float, float]:
        x, y, width, height = self._square
        return x + width / 2, y + height / 2

    def _middle(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return x, y, width, height (pixels) of the part that changes, on the seams of the coded paper."""
        half, step = 0.58 * self._square.height, self._interval * _BLOCK_PX
        x, y = self._centre()
        left, right = int(max(0, (x - half) // step)), int(-(-(x + half) // step))
        top, bottom = int(max(0, (y - half) // _BLOCK_PX)), int(-(-(y + half) // _BLOCK_PX))
        return left * step, top * _BLOCK_PX, (right - left) * step, (bottom - top) * _BLOCK_PX

    def _code(self, image: npt.NDArray[Any]) -> tuple[bytes, list[bytes]]:
        """Return the header and the coded pieces between restart markers."""
        options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_RST_INTERVAL, self._interval]
        data = cv2.imencode(".jpg", image, options)[1].tobytes()
        scan = data.index(b"\xff\xda")
        start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
        return data[:start], _RESTART.split(data[start:-2])


def _marker(index: int) -> bytes:
    return bytes((0xFF, 0xD0 + index % 8))


def _paper(width: int, height: int) -> Pixels:
    """Return a sheet on a table in a lamp's light, BGR (H, W, 3)."""
    # Painted small and enlarged: it is out of focus anyway, and this saves memory.
    rows, columns = max(height // 4, 8), max(width // 4, 8)
    small = np.full((rows, columns, 3), (52, 74, 98), np.uint8)
    sheet = np.array([[0.14, -0.2], [0.9, -0.2], [0.87, 1.2], [0.1, 1.2]]) * (columns, rows) * 16
    cv2.fillConvexPoly(small, np.round(sheet).astype(np.int32), (222, 232, 236), cv2.LINE_AA, 4)
    y, x = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    light = (1.02 - 0.12 * (x + 0.4) ** 2 - 0.1 * (y + 0.2) ** 2).astype(np.float32)
    lit = np.clip(small * light[:, :, None], 0, 255).astype(np.uint8)
    paper: Pixels = np.asarray(cv2.resize(lit, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    grain = np.random.default_rng(7).integers(0, 5, (128, 128, 1), np.uint8)
    for top in range(0, height, 128):
        for left in range(0, width, 128):
            part = paper[top : top + 128, left : left + 128]
            part += grain[: part.shape[0], : part.shape[1]]
    return paper
